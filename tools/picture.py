#!/usr/bin/env python3
"""Makes a picture of what commands print: runs them in a terminal of its own and draws the last screen as an SVG.

    tools/picture.py docs/demo.svg ./demo.sh              one command
    tools/picture.py --keep 6 14 docs/test.svg './test.sh --quick'
                                                          only the first 6 and the last 14 lines
The text is what the run printed, except that the home folder is shown as ~ and this folder as a dot."""

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from xml.sax.saxutils import escape

COLUMNS, ROWS = 110, 50
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN = 8.0, 19, 13, 18
BACKGROUND, FOREGROUND, PROMPT = "#14181d", "#d5dae0", "#7fb4ff"
COLOURS = {30: "#5c6670", 31: "#ff7b72", 32: "#7ee08a", 33: "#e8c46a", 34: "#7fb4ff", 35: "#d2a8ff", 36: "#76d9e6",
           37: "#f0f4f8", 90: "#8b949e", 91: "#ff9b93", 92: "#9af0a5", 93: "#f5d78a", 94: "#a5cbff", 95: "#e2c5ff",
           96: "#a0ecf5", 97: "#ffffff"}
# A control sequence, another escape, or one character.
TOKEN = re.compile(r"\x1b\[([0-9;?]*)([@-~])|\x1b[^\[]|([\s\S])")


class Screen:
    """The lines that a terminal would show, each a list of (character, style)."""

    def __init__(self):
        self.lines, self.row, self.column, self.style = [[]], 0, 0, (None, False)

    def feed(self, text):
        for token in TOKEN.finditer(text):
            arguments, final, character = token.groups()
            if final == "m":
                self.set_style(arguments)
            elif final == "K":
                self.erase(arguments)
            elif final == "A":
                self.row = max(0, self.row - int(arguments or 1))
            elif final == "G":
                self.column = int(arguments or 1) - 1
            elif character is not None:
                self.put(character)

    def put(self, character):
        if character == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append([])
        elif character == "\r":
            self.column = 0
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character == "\t":
            self.column = (self.column // 8 + 1) * 8
        elif character >= " ":
            line = self.lines[self.row]
            line.extend([(" ", (None, False))] * (self.column + 1 - len(line)))
            line[self.column] = (character, self.style)
            self.column += 1

    def erase(self, arguments):
        line = self.lines[self.row]
        if arguments in ("", "0"):
            del line[self.column:]
        else:
            line.clear()

    def set_style(self, arguments):
        colour, bold = self.style
        for number in [int(part or 0) for part in arguments.split(";")]:
            if number == 0:
                colour, bold = None, False
            elif number == 1:
                bold = True
            elif number == 2:
                colour = COLOURS[90]
            elif number in (22, 39):
                colour, bold = (colour, False) if number == 22 else (None, bold)
            elif number in COLOURS:
                colour = COLOURS[number]
        self.style = (colour, bold)


def run(command):
    """What the command prints on a terminal. Ends this program if the command fails: no picture of a failure."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = dict(os.environ, TERM="xterm-256color", COLUMNS=str(COLUMNS))
    process = subprocess.Popen(["bash", "-c", command], stdin=slave, stdout=slave, stderr=slave, env=environment,
                               start_new_session=True)
    os.close(slave)
    printed = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:     # Linux: EIO when the last writer has gone
            break
        if not piece:
            break
        printed += piece
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()
    os.close(master)
    if process.wait() != 0:
        sys.exit(f"picture.py: {command} ended with status {process.returncode}")
    text = printed.decode("utf-8", "replace")
    for path, short in ((os.getcwd(), "."), (os.path.expanduser("~"), "~")):
        text = text.replace(path + "/", short + "/")
    return text


def pieces(line):
    """The line as (first column, text, style), one piece a style."""
    start = 0
    for i in range(1, len(line) + 1):
        if i == len(line) or line[i][1] != line[start][1]:
            text = "".join(character for character, _ in line[start:i])
            if text.strip():
                yield start, text, line[start][1]
            start = i


def svg(lines):
    width = max([len(line) for line in lines] + [60]) * CELL_WIDTH + 2 * MARGIN
    height = len(lines) * LINE_HEIGHT + 2 * MARGIN
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
           f'viewBox="0 0 {width:.0f} {height}">',
           f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
           f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT_SIZE}" '
           f'fill="{FOREGROUND}">']
    for row, line in enumerate(lines):
        y = MARGIN + row * LINE_HEIGHT + FONT_SIZE
        for column, text, (colour, bold) in pieces(line):
            column += len(text) - len(text.lstrip())
            text = text.strip()
            # textLength keeps the columns straight in whatever monospaced font is there
            out.append(f'<text x="{MARGIN + column * CELL_WIDTH:.0f}" y="{y}" xml:space="preserve" '
                       f'textLength="{len(text) * CELL_WIDTH:.0f}" lengthAdjust="spacingAndGlyphs"'
                       + (f' fill="{colour}"' if colour else "") + (' font-weight="bold"' if bold else "")
                       + f'>{escape(text)}</text>')
    return "\n".join(out + ["</g>", "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", nargs=2, type=int, metavar=("FIRST", "LAST"), help="of each command's lines")
    parser.add_argument("picture")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    lines = []
    for command in arguments.command:
        screen = Screen()
        screen.feed(run(command))
        while screen.lines and not screen.lines[-1]:
            screen.lines.pop()
        shown = screen.lines
        if arguments.keep and len(shown) > sum(arguments.keep):
            first, last = arguments.keep
            gap = [(character, (COLOURS[90], False)) for character in f"... {len(shown) - first - last} more lines"]
            shown = shown[:first] + [gap] + shown[len(shown) - last:]
        lines += [[]] if lines else []
        lines.append([(character, (PROMPT, True)) for character in "$ " + command])
        lines += shown
    with open(arguments.picture, "w", encoding="utf-8") as file:
        file.write(svg(lines))


if __name__ == "__main__":
    main()
