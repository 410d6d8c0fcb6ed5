"""millrace run --ranks N, the process that starts ranks: what it tells the launcher, what it makes of the end, signals,
and what it leaves. Mostly with a stand-in for mpiexec.mpich, which does what each test needs; oracle: the words and
statuses that are written here. What ranks compute together is tested in test_ranks.py."""
import glob
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import unittest

import cli_test
from cli_test import MILLRACE, PATIENCE
from launch_test import LaunchTest

MPIEXEC = "mpiexec.mpich"
RUN = ("run", "wordcount", "text", "-o", "out")
CORES = len(os.sched_getaffinity(0))


class Fake(LaunchTest):
    def setUp(self):
        super().setUp()
        self.put_program(MPIEXEC)

    def fake(self, script, *arguments, ranks=2, **how):
        return self.start(*RUN, "--ranks", str(ranks), *arguments, FAKE=script, **how)


class Words(Fake):
    def test_the_launcher_gets_the_command_of_a_rank(self):
        tricky = ["a b", "it's", "$HOME", "x\ny", "*", '"']
        for name in tricky:
            self.file(name, b"x")
        self.start("run", "wordcount", *tricky, "-o", "out", "--ranks", "4", "-m", "4G", "--workers",
                   "cpu=9,device=pocl-0:2,all", "--sort", "value", "-f", "--parts=3", "split=letters", FAKE="")
        words = self.words_of(MPIEXEC)
        at = words.index("-n")
        self.assertEqual(words[:at + 2], ["-launcher", "fork", "-rmk", "user", "-disable-auto-cleanup", "-n", "4"])
        guard, millrace, *rest = words[at + 2:]
        self.assertTrue(guard.endswith("/libexec/millrace/millrace-guard") and os.access(guard, os.X_OK), guard)
        self.assertTrue(os.path.samefile(millrace, MILLRACE))
        self.assertEqual(rest[0], "run")
        end = rest.index("--")
        self.assertEqual(sorted(rest[1:end]), ["--force", f"--memory={1 << 30}", "--output=out", "--parts=3",
                                               "--sort=value", "--workers=cpu=2,device=pocl-0:2,all"])
        self.assertEqual(rest[end + 1:], ["wordcount", *tricky, "split=letters"])

    def test_workers_are_divided_and_devices_are_not(self):
        for given, gets in [("8", "cpu=2"), ("cpu=2", "cpu=1"), ("cpu=0,device=all", "cpu=0,device=all"),
                            ("device=none", "device=none"), ("device=gpu", "device=gpu")]:
            with self.subTest(given=given):
                self.fake("", "--workers", given, ranks=4)
                self.assertIn(f"--workers={gets}", self.words_of(MPIEXEC))
        self.fake("", ranks=4, MILLRACE_WORKERS="12")
        self.assertIn("--workers=cpu=3", self.words_of(MPIEXEC))
        self.fake("", ranks=4)
        self.assertNotIn("--workers", " ".join(self.words_of(MPIEXEC)))
        self.assertEqual(self.environment_of(MPIEXEC)["MILLRACE_SHARING"], "4")

    def test_spares_are_started_beside_the_ranks_and_get_no_part_of_the_machine(self):
        for ranks, spares in ((4, 2), (1, 1)):
            self.fake("", "--spares", str(spares), "-m", "4G", "-w", "8", ranks=ranks)
            words = self.words_of(MPIEXEC)
            self.assertEqual(words[words.index("-n") + 1], str(ranks + spares))
            end = words.index("--")
            self.assertLessEqual({f"--memory={(4 << 30) // ranks}", f"--workers=cpu={8 // ranks}"}, set(words[:end]))
            self.assertFalse([word for word in words[:end] if word.startswith(("--ranks", "--spares"))])
            environment = self.environment_of(MPIEXEC)
            self.assertEqual((environment["MILLRACE_SHARING"], environment["MILLRACE_SPARES"]),
                             (str(ranks), str(spares)))
        self.fake("", MILLRACE_SPARES="1")      # the command says it
        self.assertEqual(self.environment_of(MPIEXEC)["MILLRACE_SPARES"], "0")
        text = self.succeed("explain", "wordcount", "text", "--ranks", "4", "--spares", "2").decode()
        self.assertTrue(text.startswith("spares     2, each of which takes the place of a rank that is lost\nranks  "))

    def test_mistakes_with_spares(self):
        for command in (RUN, ("explain", "wordcount", "text")):
            for arguments, sentence in [(["--spares", "1"], "--spares is for ranks that --ranks starts\n  hint: add "),
                                        (["--ranks", "2", "--spares=-1"], "--spares cannot be '-1'"),
                                        (["--ranks", "2", "--spares", "1025"], "the range is 0 .. 1024"),
                                        (["--ranks", "1000", "--spares", "25"], "up to 1024 together are possible")]:
                with self.subTest(command=command[0], arguments=arguments):
                    self.assert_fails(*command, *arguments, exit_status=2, says=sentence)
        self.assert_fails(*RUN, "--ranks", "3", "--spares", "1", exit_status=2, says="--spares is for ranks that ",
                          PMI_FD="9", PMI_RANK="0", PMI_SIZE="3")
        self.assert_fails("run", "wordcount", "-", "-o", "out", "--ranks", "1", "--spares", "1", exit_status=2,
                          says="2 ranks cannot read the same standard input")
        for given in ("3", "-1", "some"):
            self.assert_fails(*RUN, exit_status=2, says=f"MILLRACE_SPARES is '{given}', and the launcher started 3 "
                              "ranks: 0 to 2 can be spares", PMI_FD="9", PMI_RANK="0", PMI_SIZE="3",
                              MILLRACE_SPARES=given)
        self.assertFalse(os.path.exists(self.path(f"{MPIEXEC}.words")))
        self.succeed(*RUN, "-q", MILLRACE_SPARES="3")       # no launcher: nobody to stand by

    @unittest.skipIf(CORES < 2, "one core cannot be divided")
    def test_explain_divides_the_machine(self):
        def workers(*arguments):
            text = self.succeed("explain", "wordcount", "text", *arguments).decode()
            return int(next(line for line in text.splitlines() if line.startswith("workers")).split()[1])
        self.assertEqual(workers("--ranks", "2"), max(1, min(CORES // 2, workers())))
        self.assertEqual(workers("--ranks", "1024", "-m", "64G"), 1)
        text = self.succeed("explain", "wordcount", "text", "--ranks", "4", "-m", "4G").decode()
        self.assertIn("ranks      4 on this machine", text)
        self.assertIn("limit 1024 MiB", text)

    def test_explain_plans_for_as_many_ranks(self):
        command = ("explain", "wordcount", "text", "-o", "out", "--sort", "key")

        def explain(*arguments):
            return self.succeed(*command, "-w", "4", *arguments).decode()
        self.assertIn("each partition is sorted, then all are merged", explain())
        text = explain("--ranks", "4")          # each rank writes its own range of the keys
        self.assertIn("by range", text)
        self.assertNotIn("merged", text)
        self.assert_fails(*command, "--parts", "3", "--ranks", "4", exit_status=2,
                          says="3 parts are too few for 4 ranks")

    def test_one_rank_needs_no_launcher(self):
        self.succeed(*RUN, "--ranks", "1", "-q")
        self.assertTrue(os.path.exists(self.path("out", "_SUCCESS")))
        self.assertFalse(os.path.exists(self.path(f"{MPIEXEC}.words")))

    def test_descriptors(self):
        """Three, and two to print past the launcher; input is empty."""
        script = 'ls /proc/$$/fd >"$FAKE_FOLDER/fds"; cat | wc -c >"$FAKE_FOLDER/input"; ' \
                 'readlink /proc/$$/fd/3 >"$FAKE_FOLDER/out-is"; printf "  0\\n" >>"$MILLRACE_VERDICT"'
        with open(self.path("printed"), "wb") as out, open("/dev/zero", "rb") as other:
            command = ["bash", "-c", 'exec "$@" 9<&0', "sh", MILLRACE, *RUN, "--ranks", "2"]
            subprocess.run(command, env=dict(self.environment, FAKE=script), stdin=other, stdout=out, check=True,
                           cwd=self.folder, timeout=60 * PATIENCE)
        with open(self.path("fds"), encoding="ascii") as file:
            self.assertLessEqual(set(file.read().split()), {"0", "1", "2", "3", "4", "255"})    # 255: bash's own
        with open(self.path("input"), encoding="ascii") as file:
            self.assertEqual(int(file.read()), 0)
        with open(self.path("out-is"), encoding="ascii") as file:
            self.assertEqual(file.read().strip(), self.path("printed"))
        self.assertEqual(self.environment_of(MPIEXEC)["MILLRACE_OUTPUT"], "3,4")

    def test_the_only_rank_of_a_launcher_may_start_others(self):
        """As in a shell of an interactive step, on a site whose srun always offers pmi2."""
        self.fake("", PMI_FD="9", PMI_RANK="0", PMI_SIZE="1", SLURM_STEP_NUM_TASKS="1", HYDRA_HOST_FILE="/nowhere")
        environment = self.environment_of(MPIEXEC)
        self.assertEqual([name for name in environment if name.startswith(("PMI_", "HYDRA_"))], [])

    def test_mistakes(self):
        os.mkfifo(self.path("pipe"))
        cases = [(["pipe", "--ranks", "2"], "2 ranks cannot read the same pipe\n  hint: put it into a file"),
                 (["/dev/stdin", "--ranks", "2"], "2 ranks cannot read the same /dev/stdin"),
                 (["-", "--ranks", "2"], "2 ranks cannot read the same standard input"),
                 (["--ranks", "0"], "--ranks is out of range: '0'"),
                 (["--ranks", "1025"], "--ranks is out of range: '1025'\n  hint: the range is 1 .. 1024"),
                 (["--ranks", "some"], "--ranks cannot be 'some'"),
                 (["--ranks", "1000", "-m", "1M"], "1048576 bytes of memory are too little for 1000 ranks"),
                 (["--ranks", "2", "-w", "none"], "--workers cannot be 'none'")]
        for arguments, sentence in cases:
            with self.subTest(arguments=arguments):
                self.assert_fails(*RUN, *arguments, exit_status=2, says=sentence)
        self.assertFalse(os.path.exists(self.path(f"{MPIEXEC}.words")))

    def test_a_missing_launcher_names_the_package(self):
        run = self.assert_fails(*RUN, "--ranks", "2", "--json", exit_status=4, says="Debian: the package mpich",
                                PATH="/nonexistent")
        self.assertEqual(json.loads(run.stdout)["status"], "MR_NO_WORKER")


class Verdict(Fake):
    def test_the_ranks_say_how_it_ended_and_not_the_launcher(self):
        for lines, launcher, truth in [(["  0"], 0, 0), (["  0"], 9, 0), (["  0"], 137, 0), (["  3"], 0, 3),
                                       (["130"], 90, 130), (["  6", "  0"], 9, 0), (["  4", "  3"], 3, 4),
                                       (["256"], 137, 0), (["256", "  4"], 0, 4), (["  4", "256"], 0, 4),
                                       (["256", "  6", "  0"], 9, 0),
                                       (["# rank 1: was away", "  0"], 6, 0)]:
            with self.subTest(lines=lines, launcher=launcher):
                script = "".join(f'echo "{line}" >>"$MILLRACE_VERDICT"; ' for line in lines) + f"exit {launcher}"
                run = self.fake(script)
                self.assertEqual((run.returncode, run.stdout, run.stderr), (truth, b"", b""))

    def test_only_a_job_has_a_verdict(self):
        self.environment["MILLRACE_VERDICT"] = self.path("verdict")
        self.succeed("apps")
        self.assertFalse(os.path.exists(self.path("verdict")))
        for arguments, line in [([*RUN, "-q"], b"  0\n"), ([*RUN, "-q"], b"  2\n"), (["run", "-x"], b"  2\n")]:
            self.start(*arguments)
            with open(self.path("verdict"), "rb") as file:
                self.assertEqual(file.read(), line)
            os.remove(self.path("verdict"))

    def test_no_verdict_is_a_failure_of_its_own(self):
        for script, says in [("exit 0", "the launcher ended with status 0"), ("exit 9", "ended with status 9"),
                             ("kill -KILL $$", "died of signal 9"),
                             ("echo one; echo two >&2; exit 5",
                              "the launcher ended with status 5, and the last that was heard is: two"),
                             ('echo "# rank 2: was away" >>"$MILLRACE_VERDICT"; echo noise; exit 6',
                              "ended with status 6, and the last that was heard is: rank 2: was away")]:
            with self.subTest(script=script):
                run = self.fake('echo + >>"$MILLRACE_VERDICT"; ' + script, "--json", ranks=3)
                self.assertEqual(run.returncode, 6)
                self.assertIn("millrace: none of the 3 ranks was left to say how the job ended; ", run.stderr.decode())
                self.assertIn(says, run.stderr.decode())
                self.assertEqual(json.loads(run.stdout)["status"], "MR_NETWORK_FAILED")

    # How often it was started; what a guard says of a rank that was killed.
    COUNTS = 'echo >>"$FAKE_FOLDER/starts"; starts=$(wc -l <"$FAKE_FOLDER/starts"); '
    DIED = "echo millrace-guard: rank died of signal 9 >&2; "

    def starts(self):
        with open(self.path("starts"), "rb") as file:
            count = len(file.read())
        os.remove(self.path("starts"))
        return count

    def test_ranks_that_do_not_come_together_are_started_again(self):
        again = "millrace: a rank was lost while the ranks started; start "
        for loss in ("exit 255", self.DIED + "exit 0", self.DIED + "sleep 1000", "kill -KILL $$",
                     'echo "# rank 1: not all came" >>"$MILLRACE_VERDICT"; sleep 1000'):
            with self.subTest(loss=loss):
                run = self.fake(self.COUNTS + f'[ $starts -gt 1 ] || {{ {loss}; }}; echo + >>"$MILLRACE_VERDICT"; '
                                              f'echo "  0" >>"$MILLRACE_VERDICT"')
                self.assertEqual((run.returncode, self.starts()), (0, 2), run.stderr)
                self.assertEqual(run.stderr.decode().count(again), 1)
                self.assertIn(again + "2 of 3\n", run.stderr.decode())
                self.assert_nothing_runs()

    def test_not_more_than_twice_again(self):
        run = self.fake(self.COUNTS + self.DIED + "exit 255", "--json")
        self.assertEqual((run.returncode, self.starts()), (6, 3))
        self.assertIn("millrace: the 2 ranks did not come together, in 3 starts; the last", run.stderr.decode())
        self.assertEqual(json.loads(run.stdout)["status"], "MR_NETWORK_FAILED")

    def test_what_began_or_was_wrong_is_not_started_again(self):
        for script, status in [('echo + >>"$MILLRACE_VERDICT"; ' + self.DIED + "exit 255", 6), ("exit 127", 6),
                               ('echo "  3" >>"$MILLRACE_VERDICT"; ' + self.DIED + "exit 3", 3)]:
            with self.subTest(script=script):
                run = self.fake(self.COUNTS + script)
                self.assertEqual((run.returncode, self.starts()), (status, 1), run.stderr)

    def test_a_rank_that_dies_while_others_work_stops_nobody(self):
        script = self.COUNTS + self.DIED + 'until grep -q died "$FAKE_FOLDER/heard"; do sleep 0.01; done; ' \
                                           'echo + >>"$MILLRACE_VERDICT"; sleep 3; echo "  0" >>"$MILLRACE_VERDICT"'
        with open(self.path("heard"), "wb") as heard:
            process = self.begin(*RUN, "--ranks", "2", stderr=heard, environment={"FAKE": script})
        self.assertEqual((process.wait(60 * PATIENCE), self.starts()), (0, 1))

    def test_what_ranks_print_goes_past_the_launcher(self):
        run = self.fake('echo noise; echo complaint >&2; echo result >&3; echo progress >&4; '
                        'echo "  0" >>"$MILLRACE_VERDICT"')
        self.assertEqual((run.returncode, run.stdout), (0, b"result\n"))
        self.assertEqual(sorted(run.stderr.split()), [b"complaint", b"noise", b"progress"])


class Ends(Fake):
    WAITS = 'trap \'echo TERM >>"$FAKE_FOLDER/got"; echo "130" >>"$MILLRACE_VERDICT"; exit 1\' TERM; ' \
            'touch "$FAKE_FOLDER/begun"; while :; do sleep 0.02; done'
    DEAF = 'trap \'touch "$FAKE_FOLDER/told"\' TERM; touch "$FAKE_FOLDER/begun"; setsid sleep 1000 & ' \
           'while :; do sleep 0.02; done'

    def begin_fake(self, script, **how):
        process = self.begin(*RUN, "--ranks", "2", environment={"FAKE": script}, **how)
        self.await_file("begun")
        return process

    def test_a_first_signal_lets_the_ranks_end_the_job(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                process = self.begin_fake(self.WAITS)
                process.send_signal(number)
                self.assertEqual(process.wait(60 * PATIENCE), 130)
                with open(self.path("got"), encoding="ascii") as file:
                    self.assertEqual(file.read(), "TERM\n")
                self.assert_nothing_runs()
                os.remove(self.path("got"))
                os.remove(self.path("begun"))

    def test_a_second_signal_ends_everything_unless_it_is_an_echo(self):
        process = self.begin_fake(self.DEAF)
        process.send_signal(signal.SIGSTOP)         # so that it gets them together, however slowly they are sent
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        self.await_file("told")
        time.sleep(1.2)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60 * PATIENCE), 130)
        self.assert_nothing_runs()

    def test_what_was_ignored_stays_ignored(self):
        process = self.begin_fake(self.WAITS, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60 * PATIENCE), 130)

    def test_a_launcher_that_waits_for_a_stopped_rank_is_not_waited_for(self):
        began = time.monotonic()
        run = self.fake('echo "  0" >>"$MILLRACE_VERDICT"; sleep 1000 & kill -STOP $!; wait')
        self.assertEqual(run.returncode, 0)
        self.assertLess(time.monotonic() - began, 60 * PATIENCE)
        self.assert_nothing_runs()

    def test_what_the_launcher_leaves_is_ended(self):
        run = self.fake('echo "  0" >>"$MILLRACE_VERDICT"; setsid sleep 1000 </dev/null >/dev/null 2>&1 3>&1 4>&1 &')
        self.assertEqual(run.returncode, 0)
        self.assert_nothing_runs()

    def test_the_launcher_dies_with_the_command(self):
        process = self.begin_fake(': >"$FAKE_FOLDER/begun"; exec sleep 1000')
        self.await_true(lambda: len(self.processes()) == 2, "the command and its launcher run")
        process.kill()
        process.wait()
        self.await_true(lambda: not self.processes(), "the launcher ends")


class Real(LaunchTest):
    """Two processes of MPICH's launcher."""

    def setUp(self):
        super().setUp()
        # leaks: MPICH is not finalised
        self.environment["ASAN_OPTIONS"] = self.environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"

    def test_one_rank_says_what_is_wrong(self):
        run = self.assert_fails("run", "wordcount", "nothing", "-o", "out", "--ranks", "2", exit_status=3,
                                says="could not find input nothing")
        self.assertEqual(run.stdout, b"")
        self.assert_nothing_runs()

    def test_too_little_memory_is_told_for_all_ranks(self):
        run = self.assert_fails(*RUN, "--ranks", "2", "-m", "16M", exit_status=2,
                                says="a memory limit of 8 MiB, which is the part of one of 2 ranks, is too small: ")
        needed, total = re.search(r" at least (\d+) MiB\n.* to (\d+) MiB in all", run.stderr.decode()).groups()
        self.assertEqual(int(total), 2 * int(needed))

    def test_wrong_usage_under_a_launcher_is_said_once(self):
        for arguments, says in [(["--ranks", "3"], "--ranks is 3, but a launcher started 2"),
                                (["--forse"], "has no option --forse"), (["-"], "2 ranks cannot read the same")]:
            run = subprocess.run([MPIEXEC, "-disable-auto-cleanup", "-n", "2", MILLRACE, *RUN, *arguments],
                                 env=self.environment, cwd=self.folder, capture_output=True, text=True,
                                 stdin=subprocess.DEVNULL, timeout=60 * PATIENCE)
            self.assertEqual(run.returncode, 2)
            self.assertEqual(run.stderr.count("millrace: "), 1, run.stderr)
            self.assertIn(says, run.stderr)

    def test_signals_reach_real_ranks_and_nothing_is_left(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            with self.subTest(signal=number.name):
                process = self.begin("run", "pi", "terms=1e12", "-o", "out", "--ranks", "2")
                # a job that has not begun leaves no record
                self.await_true(lambda: process.poll() is not None or glob.glob(self.path(".out.*")),
                                "the ranks have a place for the output")
                time.sleep(0.3)
                process.send_signal(number)
                out, err = process.communicate(timeout=60 * PATIENCE)
                if number != signal.SIGKILL:
                    self.assertEqual((process.returncode, out), (130, b""), err)
                    self.assertEqual(err.count(b"millrace: "), 1, err)
                    self.assert_nothing_runs()
                    self.assertEqual(sorted(os.listdir(self.folder)), ["burst", "programs", "records", "text"])
                self.await_true(lambda: not self.processes(), "all ends")
                self.assertFalse(os.path.exists(self.path("out")))

    def test_a_terminal_gets_a_bar(self):
        terminal, end = pty.openpty()
        self.addCleanup(os.close, terminal)
        process = self.begin("run", "pi", "terms=1e12", "-o", "out", "--ranks", "2", stdout=end, stderr=end,
                             environment={"TERM": "xterm"})
        os.close(end)
        shown = b""
        deadline = time.monotonic() + 60 * PATIENCE
        while b"\rmap" not in shown and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 4096)
        process.terminate()
        self.assertEqual(process.wait(60 * PATIENCE), 130)
        self.assertIn(b"\rmap", shown)


if __name__ == "__main__":
    if "Real" in sys.argv and shutil.which(MPIEXEC) is None:
        print(f"skipped: {MPIEXEC} is not installed (Debian: mpich)")
        sys.exit(77)
    cli_test.main()
