"""cli_test.py: what the tests of the command share. ctest sets MILLRACE, the path of the command; by hand:

    MILLRACE=build/release/bin/millrace python3 tests/cli/test_help.py
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

MILLRACE = os.environ.get("MILLRACE", "millrace")
PATIENCE = int(os.environ.get("MILLRACE_TEST_PATIENCE", "1"))      # sanitizers are slow


class CliTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-cli-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.mkdir(self.path("burst"))
        self.environment = dict(os.environ, MILLRACE_BURST=self.path("burst"), MILLRACE_RECORDS=self.path("records"),
                                MILLRACE_TOKENS=self.path("tokens"), LC_ALL="C")
        for name in ("MILLRACE_SIMD", "MILLRACE_FAULT", "MILLRACE_APPS"):
            self.environment.pop(name, None)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def file(self, name, content):
        with open(self.path(name), "wb") as out:
            out.write(content)
        return self.path(name)

    def start(self, *arguments, stdin=b"", **environment):
        return subprocess.run([MILLRACE, *arguments], env=dict(self.environment, **environment), input=stdin,
                              capture_output=True, cwd=self.folder, timeout=120 * PATIENCE)

    def succeed(self, *arguments, **how):
        """Standard output of a command that must succeed."""
        run = self.start(*arguments, **how)
        self.assertEqual(run.returncode, 0, run.stderr.decode(errors="replace"))
        return run.stdout

    def assert_fails(self, *arguments, exit_status, says, **how):
        """The command must end with this status and a sentence in our form."""
        run = self.start(*arguments, **how)
        text = run.stderr.decode(errors="replace")
        self.assertEqual(run.returncode, exit_status, text)
        self.assertIn(says, text)
        sentences = [line for line in text.splitlines() if line.startswith("millrace: ")]
        self.assertEqual(len(sentences), 1, text)
        return run


def main():
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
