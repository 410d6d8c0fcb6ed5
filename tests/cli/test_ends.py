"""How a job ends when the app, a limit of the system or a place on disk ends it: an exit status, a sentence, and
nothing that looks like a result. ctest sets MILLRACE and SUDDEN_END (sudden_end.c). Oracle: the statuses and words that
are written here; counts are compared with Python's."""
import collections
import functools
import itertools
import json
import os
import pty
import resource
import shutil
import subprocess

import cli_test
from cli_test import MILLRACE, PATIENCE, CliTest

TEXT = b"to be or not to be\nthat is the question\n" * 50000
SUDDEN_END = os.environ.get("SUDDEN_END", "")


class EndsTest(CliTest):
    def setUp(self):
        super().setUp()
        self.file("text", TEXT)

    def assert_left_nothing(self, *but):
        self.assertEqual(sorted(os.listdir(self.folder)), sorted({"burst", "text", *but}))
        self.assertEqual(os.listdir(self.path("burst")), [])


class Limits(EndsTest):
    """What the system grants a process."""

    def start_within(self, kind, limit, *arguments, **environment):
        return subprocess.run([MILLRACE, *arguments], env=dict(self.environment, **environment), cwd=self.folder,
                              preexec_fn=functools.partial(resource.setrlimit, kind, (limit, limit)), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120 * PATIENCE)

    def test_descriptors(self):
        """From the fewest with which the command can be loaded. A pipe is copied into the burst directory."""
        ended = collections.Counter()
        for inputs, limit in itertools.product((["text"], ["text", "/proc/version"]), range(4, 20)):
            run = self.start_within(resource.RLIMIT_NOFILE, limit, "run", "wordcount", *inputs, "-o", "out", "-q", "-w",
                                    "cpu=2,device=none", MILLRACE_RECORDS="")
            ended[run.returncode] += 1
            if run.returncode == 0:
                shutil.rmtree(self.path("out"))
            else:
                self.assertEqual(run.returncode, 4, run.stderr)
                self.assertRegex(run.stderr, "^millrace: .*: Too many open files\n  hint: .* ulimit -n\n$")
            self.assert_left_nothing()
        self.assertEqual(set(ended), {0, 4})


class Apps(EndsTest):
    """The app calls exit() where it ought to return."""

    SENTENCE = f"app {SUDDEN_END} ended the process while its job ran\n  hint: "

    def setUp(self):
        super().setUp()
        self.environment["MILLRACE_RECORDS"] = ""
        self.job = ["run", SUDDEN_END, "text", "-o", "out", "-w", "2", "-q"]

    def assert_sudden_end(self, *arguments, **how):
        run = self.assert_fails(*arguments, exit_status=7, says=self.SENTENCE, **how)
        self.assertFalse(os.path.exists(self.path("out")))
        return run

    def test_wherever_and_however_it_does(self):
        for at in ("plan", "map", "combine", "reduce"):
            for code in ("0", "3"):
                with self.subTest(at=at, code=code):
                    run = self.assert_sudden_end(*self.job, f"at={at}", f"code={code}")
                    self.assertTrue(run.stdout.startswith(b"the app's last words\n"))
        self.assert_sudden_end(*self.job, "at=map", "by=quick")
        run = self.start(*self.job, "at=map", "by=err")         # which has the name of the program before its words
        self.assertEqual((run.returncode, run.stderr.decode().find(f"millrace: {self.SENTENCE}") > 0), (7, True))
        self.assert_sudden_end(*self.job, SUDDEN_END_AT="load")
        self.assert_sudden_end("explain", SUDDEN_END, "text", "at=plan")
        # what is left the next job removes
        self.succeed(*self.job)
        self.assert_left_nothing("out")

    def test_two_workers_that_do_at_once(self):
        for _ in range(5):
            self.assert_sudden_end(*self.job, "at=map", "crowd=2")

    def test_json(self):
        run = self.assert_sudden_end(*self.job, "--json", SUDDEN_END_AT="load")
        got = json.loads(run.stdout)
        self.assertEqual((got["status"], got["exit"]), ("MR_APP_FAILED", 7))
        self.assertEqual(f"{got['error']}\n  hint: {got['hint']}\n", run.stderr.decode()[len("millrace: "):])

    def test_a_bar_is_gone_before_the_sentence(self):
        ours, theirs = pty.openpty()
        run = subprocess.Popen([MILLRACE, *self.job[:-1], "at=map", "nap=1000"], env=self.environment, cwd=self.folder,
                               stdout=subprocess.DEVNULL, stderr=theirs)
        self.addCleanup(run.kill)
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:
            pass                                            # the other end is closed
        os.close(ours)
        self.assertEqual(run.wait(timeout=30 * PATIENCE), 7)
        self.assertIn(b"\rmap  ", text)
        self.assertEqual(text.count(b"\r\x1b[Kmillrace: " + self.SENTENCE.replace("\n", "\r\n").encode()), 1, text)
        self.assertEqual(text.split(b"millrace: ")[1].count(b"\n"), 2, text)        # and nothing is drawn behind it

    def test_a_process_of_its_own_may_end(self):
        self.succeed(*self.job, "at=map", "by=child")
        with open(self.path("out", "part-00000"), "rb") as part:
            self.assertEqual(dict(line.split(b"\t") for line in part.read().splitlines()),
                             {word: b"%d" % count for word, count in collections.Counter(TEXT.split()).items()})
        shutil.rmtree(self.path("out"))
        self.assert_left_nothing()


if __name__ == "__main__":
    if not os.path.exists(SUDDEN_END):
        print("SUDDEN_END does not name sudden_end.so")
        raise SystemExit(77)
    cli_test.main()
