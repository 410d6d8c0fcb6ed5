"""test_harness.py BUILD: the harness measures and compares what it says. The oracles are commands of known cost."""
import pathlib
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import types
import unittest
import unittest.mock

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from harness import apps, contest, process, ranks, scaling, side, sweep  # noqa: E402

process.measure = BUILD / "bench/measure"
MIB = 1 << 20
HOLD_100_MIB = [sys.executable, "-S", "-c", "a = b'x' * (100 << 20)"]
HOLD_BESIDE = """
import os, sys, time
memory = b"x" * (100 << 20)
open(sys.argv[1], "w").close()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
time.sleep(4)
"""     # from when both have their memory both keep it, for longer than the harness may be kept from looking


class Processes(unittest.TestCase):
    def test_seconds_are_those_of_the_whole_process(self):
        begin = time.monotonic()
        seconds = process.run(["sleep", "0.5"]).seconds
        self.assertGreaterEqual(seconds, 0.5)
        self.assertLessEqual(seconds, time.monotonic() - begin)

    def test_memory_is_the_childs_and_not_the_harness(self):
        ballast = bytearray(200 * MIB)
        self.assertLess(process.run(["true"]).peak_rss_bytes, 50 * MIB)
        self.assertGreater(process.run(HOLD_100_MIB).peak_rss_bytes, 100 * MIB)
        self.assertEqual(len(ballast), 200 * MIB)

    def test_memory_of_a_tree_is_the_sum(self):
        with tempfile.TemporaryDirectory() as folder:
            marks = [f"{folder}/one", f"{folder}/other"]
            one, other = (shlex.join([sys.executable, "-S", "-c", HOLD_BESIDE, *order])
                          for order in (marks, reversed(marks)))
            done = process.run(f"{one} & {other} & wait", timeout=120)
            self.assertGreater(done.peak_rss_bytes, 200 * MIB)
            self.assertGreater(done.largest_rss_bytes, 100 * MIB)
            self.assertLess(done.largest_rss_bytes, 150 * MIB)

    def test_the_largest_of_one_is_its_peak(self):
        done = process.run(HOLD_100_MIB)
        self.assertEqual(done.largest_rss_bytes, done.peak_rss_bytes)

    def test_what_is_touched_is_all_of_it(self):
        done = process.run([BUILD / "bench/limit_memory", "touch", str(100 * MIB), "2"])
        found = side.last_object(done.stdout)
        self.assertGreaterEqual(found["bytes"], 100 * MIB)
        self.assertGreaterEqual(done.peak_rss_bytes, found["bytes"])
        words = found["bytes"] // 8
        self.assertEqual(int(found["check"], 16), words * 0x0101010101010101 % (1 << 64))      # each is 1

    def test_a_failure_says_what_and_why(self):
        with self.assertRaisesRegex(process.Failed, "status 1: .*no-such-file"):
            process.run(["cat", "no-such-file"])
        with self.assertRaisesRegex(process.Failed, "status 127"):
            process.run(["no-such-command"])
        with self.assertRaisesRegex(process.Failed, "stopped after"):
            process.run(["sleep", "30"], timeout=0.2)


class Fixed:
    """A side whose runs take what a list says."""
    only, shown, clean, inputs = "", lambda self: self.name, lambda self: None, ()

    def __init__(self, name, seconds, answer, log, process_seconds=60):
        self.name, self.seconds, self.result, self.log = name, list(seconds), answer, log
        self.process_seconds = process_seconds

    def run(self):
        self.log.append(self.name)
        return side.Sample(self.seconds.pop(0), self.process_seconds, 0, 0, {}, self.result)


class Contests(unittest.TestCase):
    def hold(self, a, b, answers=({"rows": 1}, {"rows": 1}), budget=60):
        self.log = []
        return contest.hold(contest.Contest("app", "data", 0, Fixed("A", a, answers[0], self.log),
                                            Fixed("B", b, answers[1], self.log)), len(a), budget)

    def test_sides_take_turns_and_ratios_are_of_pairs(self):
        outcome = self.hold([1, 2, 4], [3, 4, 40])
        self.assertEqual("".join(self.log), "ABABAB")
        self.assertEqual((outcome.ratio.median, outcome.ratio.least, outcome.ratio.most), (3, 2, 10))
        self.assertTrue(outcome.same)

    def test_the_first_of_short_pairs_does_not_count(self):
        ours, theirs = (Fixed(name, seconds, {}, [], 1) for name, seconds in (("A", [9, 1, 1]), ("B", [1, 2, 2])))
        outcome = contest.hold(contest.Contest("app", "data", 0, ours, theirs), 2, 60)
        self.assertEqual([run.seconds for run in outcome.ours_runs + outcome.peer_runs], [1, 1, 2, 2])

    def test_inputs_are_read_before_each_run(self):
        log = []
        ours, theirs = (side.Command(name, ["true"], answer=lambda *_, name=name: log.append(name) or {}, inputs=inputs)
                        for name, inputs in (("A", ["i"]), ("B", [])))
        with unittest.mock.patch.object(side, "warm", log.append):
            contest.hold(contest.Contest("app", "data", 0, ours, theirs), 2, 60)
        self.assertEqual("".join(log), 3 * "iAiB")

    def test_a_wrong_answer_shows(self):
        self.assertFalse(self.hold([1], [9], ({"rows": 1}, {"rows": 2})).same)

    def test_a_spent_budget_leaves_one_pair(self):
        self.assertEqual(len(self.hold([1, 1, 1], [1, 1, 1], budget=0).ours_runs), 1)

    def test_what_comes_before_a_run_does_not_count(self):
        with tempfile.TemporaryDirectory() as folder:
            mark = pathlib.Path(folder, "mark")
            first = ["sh", "-c", f"sleep 0.5; echo >> {mark}"]
            command = side.Command("", ["sh", "-c", f"printf '{{\"lines\": %d}}' $(wc -l < {mark})"], before=first,
                                   answer=lambda report, _: report["lines"])
            for lines in (1, 2):
                begin = time.monotonic()
                sample = command.run()
                self.assertEqual(sample.answer, lines)
                self.assertLessEqual(sample.process_seconds + 0.5, time.monotonic() - begin)


class Digests(unittest.TestCase):
    def digest(self, kind, *contents):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for index, content in enumerate(contents):
                paths.append(pathlib.Path(folder) / str(index))
                paths[-1].write_bytes(content)
            return side.last_object(process.run([BUILD / "bench/digest", *kind, *paths]).stdout)

    def test_lines_in_any_order_and_any_files(self):
        rows = [b"%d\t%d\n" % (i, i * i) for i in range(1000)]
        whole = self.digest(["lines"], b"".join(rows))
        random.Random(1).shuffle(rows)
        self.assertEqual(whole["rows"], 1000)
        self.assertEqual(self.digest(["lines"], b"".join(rows[:300]), b"".join(rows[300:])), whole)

    def test_a_changed_missing_or_repeated_line_shows(self):
        whole = self.digest(["lines"], b"a\t1\nb\t2\nc\t3\n")["checksum"]
        for other in (b"a\t1\nb\t2\nc\t4\n", b"a\t1\nb\t2\n", b"a\t1\nb\t2\nc\t3\nc\t3\n", b"a\t2\nb\t1\nc\t3\n"):
            self.assertNotEqual(self.digest(["lines"], other)["checksum"], whole)

    def test_counted_lines_are_those_of_uniq(self):
        lines = self.digest(["lines"], b"mill\t17\nrace car\t4\n")
        self.assertEqual(self.digest(["counted"], b"      1 \n     17 mill\n      4 race car\n"), lines)

    def test_order_of_records_is_seen_over_files(self):
        low, high = b"a" * 100, b"b" * 100
        self.assertTrue(self.digest(["records", "100"], low + high, high)["sorted"])
        self.assertFalse(self.digest(["records", "100"], low + high, low)["sorted"])
        self.assertEqual(self.digest(["records", "100"], low + high)["rows"], 2)


class Ranks(unittest.TestCase):
    def printing(self, report):
        return ranks.Ranked("millrace", ["echo", report], ranks=4)

    def test_a_job_that_ran_on_other_ranks_does_not_count(self):
        self.assertEqual(self.printing('{"ranks": 4, "ranks_lost": 0}').run().report["ranks"], 4)
        for report in ('{"ranks": 1, "ranks_lost": 0}', '{"ranks": 4, "ranks_lost": 1}', "{}"):
            with self.assertRaisesRegex(process.Failed, "4 and 0 were meant"):
                self.printing(report).run()

    def test_ranks_that_never_end_are_a_failure(self):
        with self.assertRaisesRegex(process.Failed, "stopped after 0.2 s"):
            ranks.Ranked("millrace", ["sleep", "30"], ranks=4, timeout=0.2).run()

    def test_the_seconds_of_a_stage(self):
        side_ = self.printing('{"ranks": 4, "ranks_lost": 0, "stages": [{"name": "map", "seconds": 7}]}')
        side_.stage = "map"
        self.assertEqual(side_.run().seconds, 7)

    def test_one_rank_is_killed_and_no_other(self):
        with tempfile.TemporaryDirectory() as folder:
            program = shutil.copy(shutil.which("sleep"), f"{folder}/millrace")
            started = [subprocess.Popen([program, "60"], env={ranks.MARK: mark, "PMI_RANK": str(rank)})
                       for mark, rank in (("this", 0), ("this", 1), ("this", 2), ("other", 1))]
            started.append(subprocess.Popen([program, "60"], env={ranks.MARK: "this"}))     # who started them
            try:
                while len(ranks.processes_of("this")) < 3:
                    time.sleep(0.01)
                self.assertEqual(ranks.processes_of("this"), {rank: started[rank].pid for rank in range(3)})
                killer = ranks.Killer("this", 1, 0.05)
                killer.start()
                killer.join()
                self.assertTrue(killer.killed)
                self.assertEqual(started[1].wait(), -9)
                self.assertEqual([child.poll() for child in started], [None, -9, None, None, None])
            finally:
                for child in started:
                    child.kill()
                    child.wait()

    def test_a_job_that_ends_before_the_loss_does_not_count(self):
        early = ranks.Killed("millrace", ["echo", '{"ranks": 4, "ranks_lost": 1}'], ranks=4, seconds_in=60)
        with self.assertRaisesRegex(process.Failed, "before rank 0 could be killed"):
            early.run()

    @unittest.skipUnless((BUILD / "bench/limit_alltoall").exists() and shutil.which("mpiexec.mpich"), "no MPICH")
    def test_raw_mpi_sends_what_it_says(self):
        context = types.SimpleNamespace(build=BUILD, quick=True, workers=2, missing=lambda *_: "")
        for way in ("nap", "keep"):
            found = ranks.all_to_all(context, 3, way, 1 << 20, 1 << 16)
            self.assertEqual((found["ranks"], found["bytes"]), (3, 6 << 20))
            self.assertEqual(found["check"], 2 * sum(range(16)))
            self.assertGreater(found["seconds"], 0)


class Scaling(unittest.TestCase):
    """CPU seconds: 2 for the start of each rank, 8 for the job on one; on four ranks the job takes 10."""

    def efficiency(self, grows, *cpu_seconds):
        points = [{"value": value, "cpu_seconds": seconds} for value, seconds in zip((1, 4), cpu_seconds)]
        with unittest.mock.patch.object(scaling, "start_cpu_seconds", lambda _, count: 2.0 * count):
            scaling.add_efficiency(None, points, grows)
        return [(point["efficiency"], point["efficiency_with_start"]) for point in points]

    def test_of_one_input(self):
        self.assertEqual(self.efficiency(False, 10.0, 18.0), [(1, 1), (0.8, 10 / 18)])

    def test_of_an_input_that_grows(self):
        self.assertEqual(self.efficiency(True, 10.0, 48.0), [(1, 1), (0.8, 40 / 48)])

    def test_inputs_have_the_names_of_other_comparisons(self):
        self.assertEqual([scaling._named(size) for size in (1 << 30, 128 << 20, 268_800_000)],
                         ["1G", "128M", "268800000"])

    def test_only_the_sweeps_that_are_asked_for(self):
        called = []
        names = ("workers", "ranks_strong", "ranks_weak")
        sweeps = {name: lambda _, name=name: called.append(name) or () for name in names}
        journal = types.SimpleNamespace(sweeps={})
        with unittest.mock.patch.object(sweep, "SWEEPS", sweeps):
            sweep.run_all(None, journal, ["ranks"])
        self.assertEqual(called, ["ranks_strong", "ranks_weak"])


class Answers(unittest.TestCase):
    def test_close_numbers(self):
        self.assertTrue(apps.close(1e-6, {"x": 1.0}, {"x": 1.0 + 1e-7}))
        self.assertFalse(apps.close(1e-6, {"x": 1.0}, {"x": 1.0 + 1e-5}))
        self.assertFalse(apps.close(1e-6, {"x": 1.0}, {"y": 1.0}))


if __name__ == "__main__":
    unittest.main()
