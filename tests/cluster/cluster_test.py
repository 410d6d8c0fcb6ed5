"""cluster_test.py: what the tests of the fixtures share."""
import os
import select
import subprocess
import sys
import textwrap
import time
import unittest

from hosts import HERE

PATIENCE = 60       # seconds that a busy machine may take for what takes a moment


def await_true(condition, what, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {patience} s: {what}")
        time.sleep(0.02)


def read_within(file, seconds):
    """What an unbuffered pipe has within so many seconds; empty: nothing."""
    ready, _, _ = select.select([file], [], [], seconds)
    return os.read(file.fileno(), 1 << 16) if ready else b""


def processes_of(folder):
    """The processes of a world, by what they have in their environment."""
    mark = f"MILLRACE_WORLD={folder}".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if mark in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:     # it has just ended
            pass
    return found


def start_test(program):
    """A test of its own, as a process: runs the program, which prints the folder of its world when that is made."""
    test = subprocess.Popen([sys.executable, "-B", "-c", textwrap.dedent(program)], cwd=HERE, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    folder = test.stdout.readline().strip()
    if not folder:
        test.communicate()
        raise AssertionError("the test within the test died")
    return test, folder


def main():
    result = unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]], exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    ran = result.testsRun - len(result.skipped)
    sys.exit(0 if ran > 0 else 77)
