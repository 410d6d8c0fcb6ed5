"""millrace run, explain and apps from outside: operands, bad input, exit statuses, JSON, progress, signals, records.
What the apps count is tested in tests/apps; here a result is only compared with what Python counts."""
import collections
import functools
import glob
import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
import unittest

import cli_test
from cli_test import MILLRACE, PATIENCE, CliTest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "engine"))
import check_trace                                                                                      # noqa: E402

TEXT = b"to be or not to be\nthat is the question\n" * 1000
SLOW_WORDS = os.environ.get("SLOW_WORDS", "")
FIELDS = {"app", "run", "seconds", "input_bytes", "rows", "pairs", "keys", "output", "output_bytes", "peak_rss_bytes",
          "spilled_bytes", "simd", "read_path", "workers", "devices", "device_tasks",
          "device_failures", "ranks", "ranks_lost", "spares", "spares_used", "rounds",
          "partitions", "parts", "stages", "record"}


class Run(CliTest):
    @classmethod
    def setUpClass(cls):
        # what nohup or a shell's & made ignored, the command would leave ignored
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    def setUp(self):
        super().setUp()
        self.file("text", TEXT)

    def result(self, out="out"):
        text = b""
        for part in sorted(glob.glob(self.path(out, "part-*"))):
            with open(part, "rb") as file:
                text += file.read()
        return dict((key, int(value)) for key, value in (line.split(b"\t") for line in text.splitlines()))

    def assert_left_nothing(self, *but):
        self.assertEqual(sorted(os.listdir(self.folder)), sorted({"burst", "text", *but}))
        self.assertEqual(os.listdir(self.path("burst")), [])

    def test_counts_and_leaves_success(self):
        self.succeed("run", "wordcount", "text", "-o", "out", "--quiet")
        self.assertEqual(self.result(), dict(collections.Counter(TEXT.split())))
        self.assertTrue(os.path.exists(self.path("out", "_SUCCESS")))
        self.assertEqual(os.listdir(self.path("burst")), [])

    def test_quiet_is_quiet(self):
        run = self.start("run", "wordcount", "text", "-o", "out", "-q")
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))

    def test_standard_input(self):
        self.succeed("run", "wordcount", "-", "-o", "out", "-q", stdin=b"a b a")
        self.assertEqual(self.result(), {b"a": 2, b"b": 1})

    def test_closed_standard_files_are_not_other_files(self):
        def start(*arguments, closed):
            return subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", MILLRACE, *arguments], cwd=self.folder,
                                  env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=120 * PATIENCE)

        run = start("run", "wordcount", "-", "-o", "out", closed="<&-")
        self.assertEqual(run.returncode, 3)
        self.assertIn(b"could not read standard input: it is closed", run.stderr)
        self.assertFalse(os.path.exists(self.path("out")))
        run = start("run", "wordcount", "text", "-o", "out", "--json", closed="<&- >&-")
        self.assertEqual(run.returncode, 4)
        self.assertIn(b"could not write to standard output", run.stderr)
        run = start("run", "wordcount", "text", "-o", "out", "-q", "--force", closed="<&- >&- 2>&-")
        self.assertEqual(run.returncode, 0)
        self.assertEqual(self.result(), dict(collections.Counter(TEXT.split())))

    def test_files_whose_size_is_not_what_they_hold(self):
        with open("/proc/version", "rb") as file:
            words = file.read().split()
        self.assertEqual(os.path.getsize("/proc/version"), 0)
        self.file("empty", b"")
        self.succeed("run", "wordcount", "text", "/proc/version", "empty", "-o", "out", "-q")
        self.assertEqual(self.result(), dict(collections.Counter(TEXT.split() + words)))
        shorter = "/sys/kernel/mm/transparent_hugepage/enabled"
        if os.path.exists(shorter):
            self.assert_fails("run", "wordcount", shorter, "-o", "other", exit_status=3,
                              says=f"hint: give it to the job through a pipe: cat {shorter} | millrace")

    def test_a_pipe_is_no_side_input(self):
        """And nobody waits for who would write it."""
        os.mkfifo(self.path("pipe"))
        self.assert_fails("run", "string_match", "text", "-o", "out", "patterns=pipe", exit_status=3,
                          says="could not read pipe: it is not a file")

    def test_pipes_by_name(self):
        self.succeed("run", "wordcount", "/dev/stdin", "-o", "out", "-q", stdin=b"a b a")
        self.assertEqual(self.result(), {b"a": 2, b"b": 1})
        os.mkfifo(self.path("pipe"))
        with subprocess.Popen(["sh", "-c", "cat text >pipe"], cwd=self.folder):
            self.succeed("run", "wordcount", "text", "pipe", "-o", "twice", "-q")
        self.assertEqual(self.result("twice"), dict(collections.Counter(2 * TEXT.split())))
        self.assertEqual(os.listdir(self.path("burst")), [])

    @unittest.skipIf(os.path.exists("/burst"), "this machine has a /burst of its own")
    def test_burst_is_a_place_for_inputs_and_outputs(self):
        os.rename(self.path("text"), self.path("burst", "text"))
        self.succeed("run", "wordcount", "/burst/text", "-o", "/burst/out", "-q")
        self.assertEqual(self.result("burst/out"), dict(collections.Counter(TEXT.split())))
        self.assertEqual(sorted(os.listdir(self.path("burst"))), ["out", "text"])
        os.mkfifo(self.path("burst", "pipe"))
        with subprocess.Popen(["sh", "-c", "echo a b a >burst/pipe"], cwd=self.folder):
            self.succeed("run", "wordcount", "/burst/pipe", "-o", "out", "-q")
        self.assertEqual(self.result(), {b"a": 2, b"b": 1})
        self.assert_fails("explain", "wordcount", "/burst/pipe", exit_status=2, says="does not read /burst/pipe:")

    @unittest.skipIf(os.path.exists("/memory"), "this machine has a /memory of its own")
    def test_memory_is_no_place_for_a_command(self):
        self.assert_fails("run", "wordcount", "text", "-o", "/memory/out", exit_status=2, says="ends with the command")
        self.assert_fails("run", "wordcount", "/memory/text", "-o", "out", exit_status=2, says="ends with the command")
        self.assert_left_nothing()

    def test_a_machine_without_sys_is_no_reason_to_complain(self):
        hide = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none /sys && exec "$@"', "sh"]
        try:
            if subprocess.run([*hide, "true"], capture_output=True).returncode != 0:
                self.skipTest("no file system can be mounted here")
        except FileNotFoundError:
            self.skipTest("there is no unshare")
        run = subprocess.run([*hide, MILLRACE, "explain", "pi"], env=self.environment, cwd=self.folder,
                             capture_output=True)
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        self.assertIn(b"CPU workers", run.stdout)

    def test_json_is_one_object_with_all_fields(self):
        got = json.loads(self.succeed("run", "wordcount", "text", "-o", "out", "--json", "--workers", "2"))
        self.assertEqual(set(got), FIELDS)
        words = TEXT.split()
        self.assertEqual((got["app"], got["input_bytes"], got["pairs"], got["keys"], got["workers"], got["output"]),
                         ("wordcount", len(TEXT), len(words), len(set(words)), 2, "out"))
        self.assertEqual(got["parts"], len(glob.glob(self.path("out", "part-*"))))
        self.assertGreater(got["seconds"], 0)
        self.assertGreater(got["peak_rss_bytes"], 1 << 20)
        self.assertEqual(set(got["stages"][0]), {"name", "seconds", "tasks", "bytes"})
        self.assertTrue(os.path.exists(got["record"]))

    def test_names_that_are_no_utf8(self):
        name = os.fsencode(self.folder) + b"/caf\xe9"
        with open(name, "wb") as file:
            file.write(b"x y x")
        json.loads(self.succeed("run", "wordcount", name, "-o", b"\xe9ut", "--json"))
        json.loads(self.succeed("history", "last"))

    def test_the_summary_names_output_and_record(self):
        text = self.succeed("run", "wordcount", "text", "-o", "out").decode()
        self.assertIn("wordcount: 39.1 KiB in ", text)
        self.assertIn("  output  out (", text)
        self.assertIn("  record  " + self.path("records"), text)

    def test_a_job_that_failed_leaves_a_record_and_a_refused_one_none(self):
        self.assert_fails("run", "wordcount", "text", "-o", "out", "split=nothing", exit_status=2, says="split")
        self.assert_fails("run", "wordcount", "text", "-o", "burst", exit_status=2, says="exists")
        self.assert_fails("run", "wordcount", "missing", "-o", "out", exit_status=3, says="missing")
        self.assertFalse(os.path.exists(self.path("records")))
        self.file("odd", b"x" * 101)
        self.assert_fails("run", "sort", "odd", "-o", "out", exit_status=3, says="no multiple")
        record = json.loads(self.succeed("history", "last"))
        self.assertEqual((record["app"], record["status"], record["exit"]), ("sort", "MR_BAD_INPUT", 3))
        self.assertIn("no multiple", record["error"])

    def test_the_record_and_the_trace_of_a_run(self):
        got = json.loads(self.succeed("run", "wordcount", "text", "-o", "out", "--json", "split=letters"))
        record = json.loads(self.succeed("history", "last"))
        self.assertEqual(record["run"], got["run"])
        self.assertEqual(record["settings"], ["split=letters"])
        self.assertEqual(record["params"]["split"], "letters")
        self.assertEqual(record["inputs"], ["text"])
        self.assertEqual(record["command"][1:3], ["run", "wordcount"])
        for field in ("pairs", "keys", "input_bytes", "workers", "simd", "read_path"):
            self.assertEqual(record[field], got[field])
        trace = self.succeed("trace", "last").decode().strip()
        self.assertGreater(check_trace.check(trace)["X"], 0)

    def test_no_records_on_demand(self):
        got = json.loads(self.succeed("run", "wordcount", "text", "-o", "out", "--json", MILLRACE_RECORDS=""))
        self.assertEqual(got["record"], "")
        self.assertFalse(os.path.exists(self.path("records")))

    def test_records_that_cannot_be_written_are_no_failure(self):
        got = json.loads(self.succeed("run", "wordcount", "text", "-o", "out", "--json",
                                      MILLRACE_RECORDS="/dev/null/x"))
        self.assertEqual(got["record"], "")

    def test_a_file_that_looks_like_a_parameter(self):
        self.file("split=letters", b"a1b a1b")
        self.succeed("run", "wordcount", "split=letters", "-o", "one", "-q")
        self.assertEqual(self.result("one"), {b"a1b": 2})
        self.succeed("run", "wordcount", "./split=letters", "-o", "two", "-q", "fold=0")
        self.assertEqual(self.result("two"), {b"a1b": 2})
        os.rename(self.path("split=letters"), self.path("letters"))
        self.succeed("run", "wordcount", "letters", "-o", "three", "-q", "split=letters")
        self.assertEqual(self.result("three"), {b"a": 2, b"b": 2})

    def test_force_replaces_only_after_success(self):
        self.succeed("run", "wordcount", "text", "-o", "out", "-q")
        before = self.result()
        self.assert_fails("run", "wordcount", "text", "-o", "out", exit_status=2, says="out")
        self.file("bad", b"x" * 101)
        self.assert_fails("run", "sort", "bad", "-o", "out", "--force", exit_status=3, says="bad")
        self.assertEqual(self.result(), before)
        self.succeed("run", "wordcount", "-", "-o", "out", "--force", "-q", stdin=b"new")
        self.assertEqual(self.result(), {b"new": 1})

    def test_bad_input_gets_a_sentence_and_leaves_nothing(self):
        self.file("odd", b"x" * 250)
        self.file("broken.so", b"\x7fELF and no more")
        self.file("letter.so", TEXT)
        os.mkdir(self.path("taken"))
        cases = [
            (2, ["nosuchapp", "text"], "nosuchapp"),
            (2, ["./none.so", "text"], "none.so"),
            (2, ["./broken.so", "text"], "broken.so"),
            (2, ["./letter.so", "text"], "letter.so"),
            (2, ["wordcount", "text", "colour=red"], "app wordcount has no parameter 'colour'"),
            (2, ["wordcount", "text", "split=commas"], "parameter split cannot be 'commas'"),
            (2, ["kmeans", "text", "k=0"], "parameter k is out of range: '0'"),
            (2, ["kmeans", "text", "k=many"], "parameter k is no number: 'many'"),
            (2, ["wordcount"], "app wordcount needs an input"),
            (2, ["pi", "text"], "app pi takes no input"),
            (2, ["wordcount", "text", ""], "an argument is empty"),
            (2, ["wordcount", "text", "-o", "taken"], "taken"),
            (2, ["wordcount", "text", "-o", "no/such/parent"], "no/such/parent"),
            (3, ["wordcount", "missing"], "missing"),
            (3, ["wordcount", "text", "also-missing"], "also-missing"),
            (3, ["wordcount", "*.none"], "*.none"),
            (3, ["sort", "odd"], "odd"),
        ]
        for exit_status, arguments, says in cases:
            with self.subTest(arguments=arguments):
                where = [] if "-o" in arguments else ["-o", "out"]
                self.assert_fails("run", *arguments, *where, "--quiet", exit_status=exit_status, says=says,
                                  MILLRACE_RECORDS="")
                self.assert_left_nothing("odd", "broken.so", "letter.so", "taken")
                self.assertEqual(os.listdir(self.path("taken")), [])

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_a_file_without_permission(self):
        os.chmod(self.path("text"), 0)
        self.assert_fails("run", "wordcount", "text", "-o", "out", exit_status=3, says="text: Permission denied")

    def test_a_forced_level_that_does_not_exist(self):
        self.assert_fails("run", "wordcount", "text", "-o", "out", exit_status=2, says="mmx", MILLRACE_SIMD="mmx")

    def test_a_limit_on_files_is_a_sentence(self):
        """The child has SIGXFSZ as a shell leaves it."""
        self.file("data", os.urandom(4000000))
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        run = subprocess.run([MILLRACE, "run", "sort", "data", "-o", "out", "-w", "cpu=1,device=none"],
                             env=dict(self.environment, MILLRACE_READ="pread"), cwd=self.folder, preexec_fn=limit,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120 * PATIENCE)
        self.assertEqual(run.returncode, 4, run.stderr)
        self.assertRegex(run.stderr, "could not write part .*: File too large\n  hint: .* ulimit -f")
        self.assert_left_nothing("data", "records")

    def test_json_after_a_failure(self):
        run = self.assert_fails("run", "wordcount", "missing", "-o", "out", "--json", exit_status=3, says="missing")
        got = json.loads(run.stdout)
        self.assertEqual((got["status"], got["exit"]), ("MR_BAD_INPUT", 3))
        self.assertIn("missing", got["error"])

    @staticmethod
    def is_pending(process, number):
        """It was sent to the process, and none of its threads has taken it."""
        with open(f"/proc/{process}/status", encoding="ascii") as file:
            pending = next(line for line in file if line.startswith("ShdPnd:"))
        return bool(int(pending.split()[1], 16) >> (number - 1) & 1)

    def long_run(self, **how):
        """A job that would take minutes (on two cores, however many there are), when it has begun: it has a place for
        its output. One that is cancelled before leaves no record."""
        run = subprocess.Popen([MILLRACE, "run", "pi", "terms=1e12", "-o", "out", "-w", "cpu=2,device=none"],
                               env=self.environment, cwd=self.folder, **how)
        self.addCleanup(run.kill)
        while run.poll() is None and not glob.glob(self.path(".out.*")):
            time.sleep(0.01)
        time.sleep(0.3)
        self.assertIsNone(run.poll(), "the long run ended")
        return run

    def test_ctrl_c_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            run = self.long_run(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            run.send_signal(number)
            output, text = run.communicate(timeout=30 * PATIENCE)
            self.assertEqual((run.returncode, output), (130, b""), text)
            self.assertIn(b"millrace: ", text)
            self.assertEqual(os.listdir(self.path("burst")), [])
            self.assertFalse([name for name in os.listdir(self.folder) if "out" in name])

    def test_several_signals_at_once_are_one(self):
        """As timeout(1) sends them, to its child and to the child's group, and as a terminal that is closed does."""
        for numbers in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGTERM), (signal.SIGINT,) * 9):
            took = 1
            while took > 0.5:                   # else it was this process that was held up
                run = self.long_run(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                began = time.monotonic()
                for number in numbers:
                    run.send_signal(number)
                    time.sleep(0.001)
                took = time.monotonic() - began
                output, text = run.communicate(timeout=30 * PATIENCE)
            self.assertEqual((run.returncode, output), (130, b""), text)
            self.assertIn(b"millrace: ", text)
            self.assert_left_nothing("records")

    @unittest.skipUnless(os.path.exists(SLOW_WORDS), "SLOW_WORDS does not name slow_words.so")
    def test_a_later_signal_ends_it_at_once(self):
        """A job that cannot be cancelled now, as its only worker naps in the map."""
        os.mkdir(self.path("marks"))
        command = [MILLRACE, "run", SLOW_WORDS, "text", "-o", "out", "-w", "cpu=1,device=none", "nap=99999"]
        run = subprocess.Popen(command, env=dict(self.environment, SLOW_WORDS_MARKS=self.path("marks")),
                               cwd=self.folder, stderr=subprocess.PIPE)
        self.addCleanup(run.kill)
        while run.poll() is None and not os.listdir(self.path("marks")):
            time.sleep(0.01)
        run.send_signal(signal.SIGTERM)
        while self.is_pending(run.pid, signal.SIGTERM):
            time.sleep(0.01)
        time.sleep(1.5)
        self.assertIsNone(run.poll(), "the nap ended")
        run.send_signal(signal.SIGTERM)
        _, text = run.communicate(timeout=30 * PATIENCE)
        run.stderr.close()
        self.assertEqual((run.returncode, text), (130, b""))

    def test_ctrl_c_ends_the_reading_of_a_pipe(self):
        """Whose writer holds back, and which has none."""
        os.mkfifo(self.path("pipe"))
        for name in ("-", "/dev/stdin", "pipe"):
            run = subprocess.Popen([MILLRACE, "run", "wordcount", name, "-o", "out"], env=self.environment,
                                   cwd=self.folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(run.kill)
            run.stdin.write(b"to be")
            run.stdin.flush()
            while run.poll() is None and not glob.glob(self.path("burst", "*", "pipe-0")):
                time.sleep(0.01)
            run.send_signal(signal.SIGTERM)
            self.assertEqual(run.wait(timeout=30 * PATIENCE), 130)
            self.assertIn(b"millrace: cancelled while ", run.stderr.read())
            run.stdin.close()
            run.stderr.close()
            self.assert_left_nothing("pipe")

    def test_a_terminal_gets_a_bar(self):
        ours, theirs = pty.openpty()
        run = self.long_run(stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        text, deadline = b"", time.monotonic() + 60 * PATIENCE
        while b"rows/s" not in text and time.monotonic() < deadline and select.select([ours], [], [], 20 * PATIENCE)[0]:
            text += os.read(ours, 4096)                     # the rate is known when the first task has ended
        run.send_signal(signal.SIGINT)
        try:
            while select.select([ours], [], [], 20 * PATIENCE)[0]:
                text += os.read(ours, 4096)
        except OSError:
            pass                                            # the other end is closed
        os.close(ours)
        self.assertEqual(run.wait(timeout=30 * PATIENCE), 130)
        self.assertRegex(text, rb"\rmap +\[[=> ]*\] +\d+ %  .*rows/s")
        self.assertIn(b"\r\x1b[Kmillrace: ", text)          # the bar is gone before the sentence

    def test_a_pipe_gets_lines(self):
        run = self.long_run(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        line = run.stderr.readline()
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30 * PATIENCE)
        self.assertRegex(line, rb"^millrace: map \d+ %(, .*rows/s.*)?\n")

    def test_explain_reads_and_writes_nothing(self):
        text = self.succeed("explain", "wordcount", "text", "--memory", "256M", "--workers", "2").decode()
        for word in ("split", "worker", "memory", "read", "simd"):
            self.assertIn(word, text.lower())
        self.assert_left_nothing()
        self.assert_fails("explain", "wordcount", "missing", exit_status=3, says="missing")

    def test_explain_leaves_pipes_to_the_run(self):
        os.mkfifo(self.path("pipe"))
        for name, says in (("-", "standard input"), ("/dev/stdin", "/dev/stdin"), ("pipe", "pipe")):
            self.assert_fails("explain", "wordcount", "text", name, exit_status=2,
                              says=f"explain does not read {says}:", stdin=b"a b a")
        self.assert_left_nothing("pipe")

    def test_workers_that_nobody_asked_for_yield_to_the_memory_limit(self):
        self.environment["HWLOC_SYNTHETIC"] = "core:32 pu:2"
        limited = ("wordcount", "text", "-m", "256M")
        stats = json.loads(self.succeed("run", *limited, "-o", "out", "--json"))
        self.assertEqual(self.result(), dict(collections.Counter(TEXT.split())))
        self.assertIn(stats["workers"], range(1, 256 // 10))
        said = f"the memory limit of 256 MiB carries {stats['workers']} of 64"
        with open(stats["record"], encoding="utf-8") as file:
            self.assertIn(said, json.load(file)["worker_note"])
        self.assertRegex(self.succeed("explain", *limited).decode(), r"the memory limit of 256 MiB carries \d+ of 64")
        for command in (["explain"], ["run", "-o", "out2"]):
            self.assert_fails(*command, *limited, "-w", "64", exit_status=2, says="too small: 64 workers need at least")
        self.assert_fails("explain", *limited, exit_status=2, says="too small", MILLRACE_WORKERS="64")
        self.assertIn("64 CPU workers", self.succeed("explain", "wordcount", "text", "-m", "4G").decode())

    def test_apps_lists_all_with_their_parameters(self):
        listed = self.succeed("apps").decode()
        for app in ("wordcount", "sort", "kmeans", "pi", "histogram"):
            self.assertRegex(listed, rf"(?m)^{app} +\S")
        self.assertRegex(self.succeed("apps", "kmeans").decode(), r"(?m)^    k=\d+  .*\(whole number, 1 \.\. ")
        self.assertIn("split=space", self.succeed("apps", "--verbose").decode())

    def own_app(self, name):
        """An own folder of apps, where `name` is wordcount."""
        library = os.path.join(os.path.dirname(os.path.abspath(MILLRACE)), "..", "lib")
        if not os.path.isdir(os.path.join(library, "millrace", "apps")):
            self.skipTest("the apps folder is not beside the command")
        os.mkdir(self.path("apps"))
        os.symlink(os.path.join(library, "millrace", "apps", "wordcount.so"), self.path("apps", name + ".so"))
        return library, self.path("apps")

    def test_an_app_that_cannot_be_loaded_hides_no_other(self):
        _, apps = self.own_app("wordcount")
        self.file("apps/bad.so", b"no shared object")
        run = self.assert_fails("apps", exit_status=2, says="bad.so", MILLRACE_APPS=apps)
        self.assertIn(b"bad                  cannot be loaded", run.stdout)
        self.assertIn(b"\nwordcount ", run.stdout)

    def test_own_apps_come_before_those_of_the_installation(self):
        _, apps = self.own_app("pi")
        listed = self.succeed("apps", MILLRACE_APPS=apps).decode()
        names = [line.split()[0] for line in listed.splitlines()]
        self.assertEqual(names[0], "pi")
        self.assertEqual(sorted(names), sorted(line.split()[0] for line in self.succeed("apps").decode().splitlines()))
        self.assertIn("split=space", self.succeed("apps", "pi", MILLRACE_APPS=apps).decode())
        self.assertRegex(self.succeed("apps", "kmeans", MILLRACE_APPS=apps).decode(), r"(?m)^    k=\d+ ")

    def test_no_apps_at_all_is_an_error(self):
        library, apps = self.own_app("pi")
        for name in filter(lambda name: name.startswith("libmillrace.so"), os.listdir(library)):
            os.symlink(os.path.join(library, name), self.path(name))
        alone = {"LD_LIBRARY_PATH": self.folder}        # a library without an apps folder beside it
        self.assertRegex(self.succeed("apps", MILLRACE_APPS=apps, **alone), rb"\Api +[^\n]+\n\Z")
        self.assert_fails("apps", exit_status=2, says="no apps are in", MILLRACE_APPS=self.path("burst"), **alone)
        self.assert_fails("apps", exit_status=2, says="could not read the apps folder", **alone)
        self.assert_fails("apps", exit_status=2, says="missing", MILLRACE_APPS=self.path("missing"))


if __name__ == "__main__":
    cli_test.main()
