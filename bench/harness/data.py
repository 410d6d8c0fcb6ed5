"""Inputs by seed, made once and kept in a cache folder.

A name tells what is inside: kind, size, seed and the print of the generator (of its first megabyte), so that a changed
generator never meets old files. A file appears under its name only when it is whole.
"""
import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import tarfile

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LINUX_SOURCE = pathlib.Path("/usr/src")
CHUNK = 1 << 20
LOG_BATCH = 1 << 19


class Missing(Exception):
    """An input that cannot be made here; the comparison is skipped, with this sentence."""


def size_bytes(text):
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


class Data:
    def __init__(self, cache, millrace):
        self.cache, self.millrace = pathlib.Path(cache), millrace
        self.cache.mkdir(parents=True, exist_ok=True)
        self.prints, self.commands = {}, []

    def _print(self, kind):
        if kind not in self.prints:
            command = [self.millrace, "generate", kind, "--size", "1M", "--seed", "7"]
            made = subprocess.run(command, capture_output=True)
            if made.returncode != 0 or not made.stdout:
                raise Missing(f"millrace generate {kind} failed: {made.stderr.decode(errors='replace').strip()[-300:]}")
            self.prints[kind] = hashlib.sha256(made.stdout).hexdigest()[:8]
        return self.prints[kind]

    def generated(self, kind, size, *options, seed=7):
        """A file that `millrace generate` makes. kind: zipf, records, points; options: more words of the command."""
        path = self.cache / "-".join([kind, size, f"seed{seed}", *(o.lstrip("-") for o in options), self._print(kind)])
        words = ["generate", kind, "--size", str(size_bytes(size)), "--seed", str(seed), *options, "-o"]
        shown = " ".join(["millrace", *words, path.name])
        if shown not in self.commands:
            self.commands.append(shown)
        if not path.exists():
            made = subprocess.run([self.millrace, *words, path], capture_output=True)
            if made.returncode != 0:
                raise Missing(f"{shown}: {made.stderr.decode(errors='replace').strip()[-300:]}")
        return path

    def folder(self, kind, files, size):
        """A folder of generated files with seeds 1, 2, ..."""
        path = self.cache / f"{kind}-{files}x{size}-{self._print(kind)}"
        if not path.exists():
            temporary = path.with_name(path.name + ".tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            for seed in range(1, files + 1):
                subprocess.run([self.millrace, "generate", kind, "--size", str(size_bytes(size)), "--seed", str(seed),
                                "-o", temporary / f"{seed:03}.txt"], check=True, capture_output=True)
            temporary.rename(path)
        return path

    def patterns(self, text, count):
        """Words of a text, from its middle ranks: neither in each line nor nowhere. Longer than 5 letters."""
        path = self.cache / f"patterns-{count}-{text.name}"
        if not path.exists():
            times = {}
            with open(text, "rb") as file:
                for word in file.read(16 * CHUNK).split():
                    times[word] = times.get(word, 0) + 1
            words = sorted((word for word in times if len(word) > 5), key=lambda word: (-times[word], word))
            if not words:
                raise Missing(f"{text.name} has no word of 6 letters to look for")
            step = max(1, len(words) // count)
            path.write_bytes(b"".join(word + b"\n" for word in words[step // 2::step][:count]))
        return path

    def linux_source(self):
        """Debian's linux-source, unpacked, and all its files in one. Links are removed: each byte is there once; a file
        without a final newline gets one in the concatenation, so that both have the same words."""
        archives = sorted(LINUX_SOURCE.glob("linux-source-*.tar.xz"))
        if not archives:
            raise Missing("Debian's linux-source is not installed")
        folder = self.cache / archives[-1].name.removesuffix(".tar.xz")
        whole = folder.with_suffix(folder.suffix + ".txt")
        if not folder.exists():
            temporary = self.cache / "linux-source.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            with tarfile.open(archives[-1]) as archive:
                archive.extractall(temporary, members=[m for m in archive if m.isreg() or m.isdir()], filter="data")
            temporary.rename(folder)
        if not whole.exists():
            temporary = whole.with_suffix(".tmp")
            with open(temporary, "wb") as out:
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    content = path.read_bytes()
                    out.write(content if not content or content.endswith(b"\n") else content + b"\n")
            temporary.rename(whole)
        return folder, whole

    def web_log(self, lines, name):
        """A log of page views, "TIME ADDRESS REQUEST STATUS SIZE AGENT", compressed as logs are: a few come all day,
        most now and then."""
        path = self.cache / f"weblog-{lines}-{name}.zst"
        if path.exists():
            return path
        zstd = shutil.which("zstd")
        if zstd is None:
            raise Missing("zstd is not there to compress a log")
        draw, users, time = random.Random(f"{lines} {name}"), lines // 40 + 1, 1_700_000_000
        temporary = path.with_suffix(".tmp")
        with subprocess.Popen([zstd, "-q", "-f", "-1", "-o", temporary], stdin=subprocess.PIPE) as packer:
            for first in range(0, lines, LOG_BATCH):
                count = min(LOG_BATCH, lines - first)
                addresses = [int(users * draw.random() ** 3) for _ in range(count)]
                packer.stdin.write("".join(f"{time + i // 64} 10.{who >> 16}.{who >> 8 & 255}.{who & 255} GET "
                                           f"/item/{i % 999} HTTP/1.1 200 {i % 9973} Mozilla/5.0 (X11; Linux x86_64)\n"
                                           for i, who in enumerate(addresses)).encode())
                time += count // 64
        if packer.returncode != 0:
            raise Missing("zstd could not compress a log")
        temporary.rename(path)
        return path

    def matrices(self, n, element):
        """Two n x n matrices with entries in -0.5 .. 0.5, of the seed 7."""
        import array  # pylint: disable=import-outside-toplevel
        import random
        paths = [self.cache / f"matrix-{name}-{n}-{element}" for name in "ab"]
        for seed, path in enumerate(paths):
            if not path.exists():
                random.seed(7 + seed)
                values = array.array({"f32": "f", "f64": "d"}[element], (random.random() - 0.5 for _ in range(n * n)))
                path.with_suffix(".tmp").write_bytes(values.tobytes())
                path.with_suffix(".tmp").rename(path)
        return paths


def warm(path):
    """Reads a file or folder once, so that the measured runs find it in the page cache."""
    paths = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    buffer = bytearray(CHUNK)
    for each in paths:
        with open(each, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def total_bytes(path):
    if path.is_file():
        return path.stat().st_size
    return sum(os.lstat(p).st_size for p in path.rglob("*") if p.is_file())
