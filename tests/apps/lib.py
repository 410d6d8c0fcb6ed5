"""lib.py: what the app tests share: running the command, data made by seed, and text at its edges.

Oracles live in the tests; they use Python or coreutils, never Millrace. ctest sets MILLRACE, the path of the command;
by hand: MILLRACE=build/release/bin/millrace python3 tests/apps/test_wordcount.py
"""
import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

MILLRACE = os.environ.get("MILLRACE", "millrace")
PATIENCE = int(os.environ.get("MILLRACE_TEST_PATIENCE", "1"))      # sanitizers are slow
LEVELS = {"scalar": "", "sse2": "sse2", "avx2": "avx2 bmi1 bmi2",           # and the CPU flags that each needs
          "avx512": "avx2 bmi1 bmi2 avx512f avx512bw avx512dq avx512vl avx512vbmi avx512_vbmi2 avx512_vpopcntdq gfni"}


def simd_levels():
    """The levels that this machine has."""
    with open("/proc/cpuinfo") as cpuinfo:
        flags = next((set(line.split()) for line in cpuinfo if line.startswith("flags")), set())
    return [level for level, needs in LEVELS.items() if flags.issuperset(needs.split())]


class AppTest(unittest.TestCase):
    """A test of the app `app`, with a folder of its own."""
    app = None
    flags = ()              # for each run, such as ("--sort", "key")
    small_memory = ("--memory", "64M", "--workers", "2")        # flags: with many workers it would be too little

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-app-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.mkdir(self.path("burst"))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def file(self, name, content):
        """Makes a file and returns its path."""
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as out:
            out.write(content)
        return self.path(name)

    def start(self, inputs, params, flags=(), simd=None, stdin=b""):
        """Runs the command to its end; returns what subprocess.run() does."""
        shutil.rmtree(self.path("out"), ignore_errors=True)
        environment = dict(os.environ, MILLRACE_BURST=self.path("burst"), MILLRACE_RECORDS=self.path("records"))
        environment.pop("MILLRACE_SIMD", None)
        if simd is not None:
            environment["MILLRACE_SIMD"] = simd
        command = [MILLRACE, "run", self.app, *inputs, "-o", self.path("out"), "--quiet", *self.flags, *flags, *params]
        return subprocess.run(command, env=environment, input=stdin, capture_output=True, timeout=240 * PATIENCE)

    def run_app(self, inputs, *params, **how):
        """The result of a run that must succeed: its parts, one after the other."""
        run = self.start(inputs, params, **how)
        self.assertEqual(run.returncode, 0, run.stderr.decode(errors="replace"))
        self.assertTrue(os.path.exists(self.path("out", "_SUCCESS")))
        self.assertEqual(os.listdir(self.path("burst")), [], "a run left something in the burst directory")
        return b"".join(read(part) for part in sorted(glob.glob(self.path("out", "part-*"))))

    def run_everywhere(self, inputs, *params):
        """The same, after one worker, many workers, every SIMD level and little memory gave the same bytes."""
        result = self.run_app(inputs, *params, flags=["--workers", "1"])
        variants = [dict(flags=["--workers", "2"]), dict(flags=["--workers", "5"]),
                    dict(flags=self.small_memory)]
        for how in variants + [dict(simd=level) for level in simd_levels()]:
            with self.subTest(app=self.app, params=params, **how):
                self.assert_bytes(self.run_app(inputs, *params, **how), result)
        return result

    def assert_fails(self, inputs, *params, exit_status, says, **how):
        """The run must end with this exit status, name `says` on standard error, and leave no output."""
        run = self.start(inputs, params, **how)
        text = run.stderr.decode(errors="replace")
        self.assertEqual(run.returncode, exit_status, text)
        self.assertIn(says, text)
        self.assertFalse(os.path.exists(self.path("out")))

    def assert_bytes(self, got, want):
        """assertEqual for large results: says where they differ instead of printing them."""
        if got == want:
            return
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        self.fail(f"{len(got)} bytes instead of {len(want)}; from byte {at} on {got[at:at + 120]!r} "
                  f"instead of {want[at:at + 120]!r}")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def zipf_text(size, seed, distinct=50000):
    """About `size` bytes of lines of words whose frequencies follow Zipf's law; some words are long."""
    rng = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgkqjxzETAOIN0123456789-'.,"
    words = ["".join(rng.choices(letters, k=1 + int(rng.expovariate(0.16)))) for _ in range(distinct)]
    chosen = rng.choices(words, weights=[1 / (rank + 1) for rank in range(distinct)], k=size // 6)
    blanks = rng.choices([" ", "\n", "  ", "\t", "\r\n"], weights=[80, 14, 3, 2, 1], k=len(chosen))
    return "".join(word + blank for word, blank in zip(chosen, blanks)).encode()[:size]


def real_files():
    """Text that people wrote: licences, and the sources of Python's library."""
    library = os.path.dirname(os.__file__)
    return sorted(file for file in glob.glob("/usr/share/common-licenses/*") + glob.glob(library + "/*.py")
                  if os.path.isfile(file))


def edge_texts():
    """Name and files of each text that a reader, a splitter or a tokeniser can get wrong."""
    rng = random.Random(12)
    lengths = [*range(1, 70), 127, 128, 255, 256, 257, 4095, 4096, 4097, 70000]
    return {
        "empty file": [b""],
        "one byte": [b"a"],
        "one blank": [b" "],
        "one newline": [b"\n"],
        "no final newline": [b"one two\nthree two"],
        "CRLF": [b"one two\r\nthree\r\n\r\none\r\n"],
        "a lone CR": [b"one\rtwo\rone"],
        "NUL bytes": [b"a\0b \0 a\0b\n\0\0 a"],
        "all bytes": [bytes(range(256)) * 3],
        "runs of blanks": [b" \t\n\v\f\r " * 50 + b"a" + b" \t\n\v\f\r " * 50],
        "empty files between": [b"", b"a b\n", b"", b"b", b""],
        "words that end with their file": [b"ab", b"cd", b"ab cd"],
        "words of many lengths": [b" ".join(b"w" * n + b" v" * (n % 3) for n in lengths)],
        "many small files": [b"word%d common\nlast%d" % (i % 70, i % 7) for i in range(500)],
        "one word of 9 MB": [b"x" * 9_000_000 + b" y"],
        "one line of 12 MB": [b" ".join(rng.choices([b"alpha", b"beta", b"gamma", b"delta"], k=2_200_000))],
    }


def main():
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
