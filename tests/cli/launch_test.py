"""launch_test.py: what the tests of ranks share: stand-ins for launchers, and looking for what is left running."""
import os
import subprocess
import time

import cli_test
from cli_test import CliTest, PATIENCE

# Writes down how it was called; what it does after that a test says with FAKE.
RECORDER = """#!/bin/bash
printf '%s\\0' "$@" >"$FAKE_FOLDER/${0##*/}.words"
env -0 >"$FAKE_FOLDER/${0##*/}.environment"
eval "$FAKE"
"""


class LaunchTest(CliTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("programs"))
        self.environment.update(FAKE_FOLDER=self.folder, FAKE="", PATH=self.path("programs") + ":" + os.environ["PATH"])
        for name in ("MILLRACE_WORKERS", "MILLRACE_VERDICT", "MILLRACE_OUTPUT", "MILLRACE_SHARING", "MILLRACE_SPARES"):
            self.environment.pop(name, None)
        self.file("text", b"to be or not to be\n" * 100)

    def put_program(self, name, text=RECORDER):
        self.file(os.path.join("programs", name), text.encode())
        os.chmod(self.path("programs", name), 0o700)

    def words_of(self, name):
        with open(self.path(f"{name}.words"), "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]

    def environment_of(self, name):
        with open(self.path(f"{name}.environment"), "rb") as file:
            return dict(os.fsdecode(pair).split("=", 1) for pair in file.read().split(b"\0")[:-1])

    def begin(self, *arguments, **how):
        """The command in a session of its own, as a Popen; nothing of it is left after the test."""
        environment = dict(self.environment, **how.pop("environment", {}))
        process = subprocess.Popen([cli_test.MILLRACE, *arguments], env=environment, cwd=self.folder,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how})
        for pipe in filter(None, (process.stdout, process.stderr)):
            self.addCleanup(pipe.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def processes(self):
        """What runs for this test: its folder is in the environment, which is empty for a moment of exec()."""
        mark = b"FAKE_FOLDER=" + os.fsencode(self.folder)
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/stat", "rb") as stat:
                    if mark in environ.read().split(b"\0") and b") Z" not in stat.read():
                        found.append(int(pid))
            except OSError:     # it has just ended
                pass
        return found

    def ranks(self):
        """The process of each rank that runs for this test: not its guard, which has the same environment."""
        found = {}
        for pid in self.processes():
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    rank = next((pair[9:] for pair in file.read().split(b"\0") if pair.startswith(b"PMI_RANK=")), None)
                if rank is not None and os.path.samefile(f"/proc/{pid}/exe", cli_test.MILLRACE):
                    found[int(rank)] = pid
            except OSError:
                pass
        return found

    def await_true(self, condition, what):
        deadline = time.monotonic() + 100 * PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.01)

    def await_file(self, name):
        self.await_true(lambda: os.path.exists(self.path(name)), f"{name} is there")

    def assert_nothing_runs(self):
        self.assertEqual(self.processes(), [])
