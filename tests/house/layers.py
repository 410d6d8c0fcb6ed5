"""layers.py ROOT COMPILE_COMMANDS: arrows go down only, and each outside library has one room (DESIGN, section 3).

An upward include must really fail: it is tried with the flags that the layer's own files are compiled with."""
import json
import pathlib
import re
import shlex
import subprocess
import sys

from house import LAYERS, finish, read, without_comments

MAY_SEE = {
    "base": [],
    "simd": ["base"],
    "storage": ["base"],
    "net": ["base"],
    "workers": ["base", "simd", "storage"],
    "engine": ["base", "simd", "storage", "net", "workers"],
}
FOLDERS = ["include", *LAYERS, "apps", "cli", "tests", "bench", "examples"]

# what may be named in which folders only; tests and bench may use what they measure
ROOMS = [
    (r"#\s*include\s*<(?:CL/|OpenCL/)", ["workers"]),
    (r"#\s*include\s*<mpi\.h>", ["net/mpi"]),
    (r"#\s*include\s*<liburing", ["storage"]),
    (r"#\s*include\s*<(?:\w*mmintrin|x86intrin|arm_\w+)\.h>|\b__builtin_ia32_\w+|\b_mm\d*_\w+\(", ["simd"]),
    (r"#\s*include\s*<(?:hwloc|numa|omp)", ["workers"]),
]
FREE = ["tests", "bench"]

C_STANDARD = """assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg
    stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype""".split()
APP_EXTRA = {"matmul": ["cblas.h"]}

LINES_MAX = 1000        # DESIGN: of 600 a question, of 1,000 a mistake

root = pathlib.Path(sys.argv[1])
commands = pathlib.Path(sys.argv[2])
problems = []
checked = 0


def sources(folder):
    return sorted(p for p in (root / folder).rglob("*") if p.suffix in (".c", ".h", ".cpp", ".cl", ".inc"))


def place(path, text, offset):
    return f"{path.relative_to(root)}:{text.count(chr(10), 0, offset) + 1}"


def is_in(path, rooms):
    return any(path.is_relative_to(root / room) for room in rooms)


def check_text(path):
    text = read(path)
    code = without_comments(text)
    for match in re.finditer(r'#\s*include\s*"[^"]*\.\./', code):
        problems.append(f"{place(path, text, match.start())}: an include climbs out of its folder")
    for pattern, rooms in ROOMS:
        match = re.search(pattern, code)
        if match and not is_in(path, rooms + FREE):
            problems.append(f"{place(path, text, match.start())}: {match.group()} belongs in {', '.join(rooms)} only")
    lines = text.count("\n")
    if lines > LINES_MAX:
        problems.append(f"{path.relative_to(root)}: {lines} lines; {LINES_MAX} is the limit")


def check_app(path):
    text = read(path)
    app = path.relative_to(root / "apps").parts[0]
    allowed = [f"{name}.h" for name in C_STANDARD] + APP_EXTRA.get(app, [])
    for match in re.finditer(r'#\s*include\s*([<"])([^>"]+)', without_comments(text)):
        own = match.group(1) == '"' and (path.parent / match.group(2)).exists()
        if not (own or match.group(2).startswith("millrace/") or match.group(2) in allowed):
            problems.append(f"{place(path, text, match.start())}: an app uses include/ and standard headers alone, "
                            f"not {match.group(2)}")


def flags_of_layers():
    """Compiler and include flags of one file of each layer."""
    flags = {}
    for entry in json.loads(read(commands)):
        for layer in LAYERS:
            if f" -o {layer}/CMakeFiles/mr_{layer}.dir/" in entry["command"]:
                words = shlex.split(entry["command"])
                include = [w for w in words if w.startswith("-I") and w != "-I"]
                for i, word in enumerate(words):
                    if word in ("-isystem", "-I"):
                        include += [word, words[i + 1]]
                flags[layer] = [words[0], *include]
    return flags


def finds(command, header):
    """Is the header on the include path? cwd: an empty folder would do; / has no headers."""
    return subprocess.run([*command, "-E", "-x", "c", "-o", "/dev/null", "-"], input=f'#include "{header}"\n',
                          text=True, capture_output=True, cwd="/", check=False).returncode == 0


for folder in FOLDERS:
    for path in sources(folder):
        check_text(path)
        checked += 1
        if folder == "apps":
            check_app(path)

flags = flags_of_layers()
for layer in LAYERS:
    if layer not in flags:
        problems.append(f"{layer}: no file in {commands.name}")
        continue
    for other in LAYERS:
        for header in sorted((root / other).glob("*.h")):
            checked += 1
            may = other == layer or other in MAY_SEE[layer]
            if finds(flags[layer], header.name) != may:
                problems.append(f"{layer}/ {'cannot' if may else 'can'} include {other}/{header.name}")

names = {}
for layer in LAYERS:
    for path in sources(layer):
        if path.name in names:
            problems.append(f"{path.relative_to(root)}: {names[path.name]}/ has a file of this name, too")
        names[path.name] = layer

finish(checked, problems)
