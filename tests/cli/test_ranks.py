"""millrace run --ranks N: what several ranks compute together, and what is left of them when some are killed or stopped
in the middle. ctest sets MILLRACE, MILLRACE_MPI_MODULE, SLOW_WORDS (slow_words.c) and SUDDEN_END (sudden_end.c).

Oracles: Python's Counter and sort; for k-means the bytes of a single rank, whose result test_kmeans.py holds against
NumPy. A rank is met in the middle of its work by the blocks that it has begun and does not go on with before it may
(slow_words.c), not by the clock."""
import collections
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import cli_test
from cli_test import MILLRACE, PATIENCE
from launch_test import LaunchTest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "engine"))
import check_trace                                                                                      # noqa: E402

MPIEXEC = "mpiexec.mpich"
MODULE = os.environ.get("MILLRACE_MPI_MODULE", "")
SLOW_WORDS = os.environ.get("SLOW_WORDS", "")
SUDDEN_END = os.environ.get("SUDDEN_END", "")
TEXT_BYTES = 16 << 20
RANKS = 4
CLOCK_ERROR = 1000      # microseconds by which two ranks of a machine may read their clocks apart
DEADLINE = 5            # seconds of silence after which a rank is lost


def setUpModule():
    """Data by seed, once for all tests."""
    global data, words
    data = tempfile.mkdtemp(prefix="millrace-ranks-")
    unittest.addModuleCleanup(shutil.rmtree, data, ignore_errors=True)
    for name, arguments in {"text": ["zipf", "--words", "50000"], "records": ["records"], "points": ["points"]}.items():
        subprocess.run([MILLRACE, "generate", *arguments, "--size", str(TEXT_BYTES), "--seed", "7", "-o",
                        os.path.join(data, name)], check=True)
    words = count_words()


def count_words():
    with open(os.path.join(data, "text"), "rb") as text:
        counts = collections.Counter(text.read().split())
    return b"".join(b"%s\t%d\n" % pair for pair in sorted(counts.items()))


class RanksTest(LaunchTest):
    def setUp(self):
        super().setUp()
        os.remove(self.path("text"))
        os.mkdir(self.path("programs", "marks"))
        self.environment["SLOW_WORDS_MARKS"] = self.path("programs", "marks")
        # leaks: MPICH is not finalised
        self.environment["ASAN_OPTIONS"] = self.environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"

    def result(self, out="out"):
        """The bytes of the parts, which must be all that there is, one after the other."""
        parts = sorted(glob.glob(self.path(out, "part-*")))
        self.assertEqual(sorted(os.listdir(self.path(out))),
                         ["_SUCCESS"] + [f"part-{number:05}" for number in range(len(parts))])
        result = b""
        for part in parts:
            with open(part, "rb") as file:
                result += file.read()
        return result

    def assert_left_nothing(self, *but):
        self.assert_nothing_runs()
        self.assertEqual(sorted(os.listdir(self.folder)), sorted({"burst", "programs", "records", *but}))
        self.assertEqual(os.listdir(self.path("burst")), [])


class Together(RanksTest):
    CASES = {"wordcount": ["wordcount", "text", "--sort", "key"],
             "by value": ["wordcount", "text", "--sort", "value"],
             "small memory": ["wordcount", "text", "--sort", "key", "--memory", "256M"],
             "sort": ["sort", "records"],
             "many parts": ["sort", "records", "--parts", "13"],
             "inverted index": ["inverted_index", "text", "--sort", "key"],
             "kmeans": ["kmeans", "points", "k=20", "rounds=4", "dim=3"],
             "histogram": ["histogram", "points"],
             "pi": ["pi", "terms=3e8"]}

    def compute(self, case, ranks):
        app, *arguments = [os.path.join(data, word) if word in ("text", "records", "points") else word
                           for word in self.CASES[case]]
        stats = json.loads(self.succeed("run", app, *arguments, "-o", "out", "--json", "--ranks", str(ranks)))
        self.assertEqual((stats["ranks"], stats["ranks_lost"]), (ranks, 0))
        self.assert_left_nothing("out")
        result = self.result()
        self.assertEqual(stats["parts"], len(glob.glob(self.path("out", "part-*"))))
        shutil.rmtree(self.path("out"))
        return result

    def test_many_ranks_compute_what_one_does(self):
        with open(os.path.join(data, "records"), "rb") as file:
            records = file.read()
        records = b"".join(sorted(records[at:at + 100] for at in range(0, len(records), 100)))
        known = {"wordcount": words, "small memory": words, "sort": records, "many parts": records}
        for case in self.CASES:
            expected = known.get(case) or self.compute(case, 1)
            for ranks in (1, 2, RANKS):
                with self.subTest(case=case, ranks=ranks):
                    self.assertTrue(self.compute(case, ranks) == expected, "the results differ")

    def test_more_ranks_than_cores_and_than_input(self):
        with open(self.path("few"), "wb") as file:
            file.write(b"to be or not to be\n")
        self.succeed("run", "wordcount", "few", "-o", "out", "--ranks", "9", "-q", "--sort", "key")
        self.assertEqual(self.result(), b"be\t2\nnot\t1\nor\t1\nto\t2\n")
        self.file("empty", b"")
        self.succeed("run", "wordcount", "empty", "-o", "none", "--ranks", "3", "-q")
        self.assertEqual(self.result("none"), b"")

    def test_each_rank_takes_its_share_of_the_machine(self):
        """Whole cores of a made-up machine of eight with two threads each, also without the command's help."""
        with open(self.path("few"), "wb") as file:
            file.write(b"to be or not to be\n")
        self.environment["HWLOC_SYNTHETIC"] = "numa:2 core:4 pu:2"
        command = (MILLRACE, "run", "wordcount", "few", "-o", "out", "--json", "-f")
        for words in ((*command, "--ranks", "3"), (MPIEXEC, "-n", "3", *command)):
            printed = subprocess.run(words, env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, check=True)
            with open(json.loads(printed.stdout)["record"], encoding="utf-8") as file:
                record = json.load(file)
            self.assertEqual([rank["workers"] for rank in record["ranks"]], [4, 6, 6])
            self.assertIn("share 1 of 3: 4 of 16 CPUs", record["worker_note"])
            self.assertEqual(record["command"][1:], list(words[words.index(MILLRACE) + 1:]))

    def test_a_failure_is_said_once_and_leaves_nothing(self):
        cases = [(["wordcount", "nothing", "-o", "out"], 3, "could not find input nothing"),
                 (["no_such_app", "x", "-o", "out"], 2, "could not load app no_such_app"),
                 (["wordcount", os.path.join(data, "text"), "-o", "out", "splot=1"], 2, "splot"),
                 (["wordcount", os.path.join(data, "text"), "-o", "none/out"], 2, "could not make output none/out"),
                 (["wordcount", os.path.join(data, "text"), "-o", "out", "-m", "32M"], 2, "too small")]
        for arguments, status, says in cases:
            with self.subTest(arguments=arguments):
                self.assert_fails("run", *arguments, "--ranks", "3", exit_status=status, says=says)
                self.assert_nothing_runs()
                self.assertFalse(os.path.exists(self.path("out")))
                self.assertEqual(os.listdir(self.path("burst")), [])

    def test_a_result_that_cannot_be_printed_is_a_failure(self):
        """Rank 0 waits in front of a full pipe until rank 1 has ended; then nobody reads the pipe any more."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        os.set_blocking(writer, False)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        process = self.begin("run", "wordcount", os.path.join(data, "text"), "-o", "out", "--json", "--ranks", "2",
                             stdout=writer)
        self.await_true(lambda: os.path.exists(self.path("out")) and list(self.ranks()) == [0], "rank 1 has ended")
        os.close(reader)
        _, err = process.communicate(timeout=120 * PATIENCE)
        self.assertEqual((process.returncode, err), (4, b"millrace: could not write to standard output\n"))
        self.assert_left_nothing("out")

    def test_an_output_that_exists_is_replaced_only_on_demand(self):
        arguments = ("run", "wordcount", os.path.join(data, "text"), "-o", "out", "--ranks", "2", "-q", "--sort", "key")
        os.mkdir(self.path("out"))
        self.file("out/_SUCCESS", b"")
        self.assert_fails(*arguments, exit_status=2, says="exists")
        self.assertEqual(os.listdir(self.path("out")), ["_SUCCESS"])
        self.succeed(*arguments, "--force")
        self.assertTrue(self.result() == words)

    def check_record(self, ranks, rounds):
        """The record and the trace of the last run; nobody was lost."""
        record = json.loads(self.succeed("history", "last"))
        parts = record["ranks"]
        self.assertEqual([part["rank"] for part in parts], list(range(ranks)))
        self.assertEqual((len({part["pid"] for part in parts}), record["losses"]), (ranks, []))
        self.assertEqual({(part["host"], part["lost"]) for part in parts}, {(socket.gethostname(), False)})
        self.assertIn(record["pid"], [part["pid"] for part in parts])
        for number in ("input_bytes", "rows", "pairs", "keys", "output_bytes", "spilled_bytes"):
            self.assertEqual(sum(part[number] for part in parts), record[number], number)
        self.assertEqual(sum(part["sent_bytes"] for part in parts), sum(part["received_bytes"] for part in parts))
        self.assertGreater(sum(part["sent_bytes"] for part in parts), 0)
        self.assertGreater(sum(part["works"] for part in parts), rounds - 1)
        # the kernel counts pages of many threads loosely, and was not asked at one moment
        self.assertAlmostEqual(max(part["peak_rss_bytes"] for part in parts), record["peak_rss_bytes"], delta=8 << 20)
        check_trace.check(record["trace"])
        with open(record["trace"], encoding="ascii") as file:
            trace = json.load(file)
        self.assertEqual(trace["otherData"]["dropped"], 0)
        names = {event["pid"]: event["args"]["name"] for event in trace["traceEvents"]
                 if event["name"] == "process_name"}
        self.assertEqual(names, {part["rank"] + 1: f"rank {part['rank']} on {part['host']}" for part in parts})
        spans = collections.defaultdict(list)
        for event in trace["traceEvents"]:
            if event["ph"] == "X":
                spans[event["name"]].append((event["ts"], event["ts"] + event["dur"], event["pid"] - 1))
        for part in parts:
            maps = [end - begin for begin, end, rank in spans["map"] if rank == part["rank"]]
            self.assertEqual(len(maps), part["map_tasks"])
            self.assertAlmostEqual(sum(maps) * 1e-6, part["map_seconds"], places=5)
        self.assertLessEqual(max(end for some in spans.values() for _, end, _ in some), record["seconds"] * 1e6)
        return spans

    def test_one_record_and_one_trace_tell_of_all_ranks(self):
        for case, rounds in (("wordcount", 1), ("sort", 1), ("kmeans", 4)):
            with self.subTest(case=case):
                self.compute(case, 3)
                spans = self.check_record(3, rounds)
                # on one clock: nobody reduces before all have mapped, and nobody commits before all have reduced
                order = [spans[name] for name in ("map", "reduce", "commit") if spans[name]]
                for early, late in zip(order, order[1:]):
                    self.assertLess(max(end for _, end, _ in early), min(begin for begin, _, _ in late) + CLOCK_ERROR)
                self.assertEqual([rank for _, _, rank in spans["commit"]], [0])

    def test_packed_pairs_come_to_the_same(self):
        for case in ("wordcount", "sort"):
            expected = self.compute(case, 1)
            for packed in ("0", "1"):
                with self.subTest(case=case, packed=packed):
                    self.environment["MILLRACE_LZ4"] = packed
                    self.assertTrue(self.compute(case, 3) == expected, "the results differ")
                    self.check_record(3, 1)
                    parts = json.loads(self.succeed("history", "last"))["ranks"]
                    saved = sum(part["saved_bytes"] for part in parts)
                    raw = saved + sum(part["sent_bytes"] for part in parts)
                    self.assertEqual(saved > raw // 5, packed == "1")
                    self.assertEqual(saved == 0, packed == "0")
        self.environment["MILLRACE_LZ4"] = "perhaps"
        self.assert_fails("run", "wordcount", os.path.join(data, "text"), "-o", "out", "--ranks", "2", exit_status=2,
                          says="MILLRACE_LZ4=perhaps is unknown")
        self.assertFalse(os.path.exists(self.path("out")))

    def test_a_single_rank_leaves_the_record_of_one(self):
        self.compute("wordcount", 1)
        record = json.loads(self.succeed("history", "last"))
        self.assertFalse({"ranks", "losses"} & set(record))

    def test_ranks_under_a_launcher_that_somebody_typed(self):
        run = subprocess.run([MPIEXEC, "-disable-auto-cleanup", "-n", "3", MILLRACE, "run", "wordcount",
                              os.path.join(data, "text"), "-o", "out", "--sort", "key", "--json"],
                             env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=120 * PATIENCE)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(json.loads(run.stdout)["ranks"], 3)
        self.assertTrue(self.result() == words)


class Devices(RanksTest):
    """Ranks on nodes that differ: those whose number is in `without` find no driver."""

    HIDDEN = {"OCL_ICD_VENDORS": "/nonexistent"}

    def setUp(self):
        super().setUp()
        self.environment["XDG_CACHE_HOME"] = self.path("programs", "cache")
        listed = json.loads(self.succeed("devices", "--json"))["devices"]
        self.all, self.cpus = len(listed), sum(device["type"] == "cpu" for device in listed)
        if self.cpus == 0:
            self.skipTest("no OpenCL device of type cpu (Debian: pocl-opencl-icd)")

    def words_of_kmeans(self, times):
        """Over the same points so many times."""
        app, points, *parameters = Together.CASES["kmeans"]
        return [app, *[os.path.join(data, points)] * times, *parameters]

    def start_ranks(self, workers, without, times=1):
        """workers: of each rank."""
        words = [MPIEXEC, "-disable-auto-cleanup"]
        for rank, spec in enumerate(workers):
            words += [":"] if rank > 0 else []
            words += ["-n", "1"]
            for name, value in self.HIDDEN.items() if rank in without else ():
                words += ["-env", name, value]
            words += [MILLRACE, "run", *self.words_of_kmeans(times), "-o", "out", "--json", "--workers", spec]
        return subprocess.run(words, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=120 * PATIENCE)

    def devices_of_ranks(self, workers, without, times):
        """(devices, did tasks on them) of each rank, whose result is that of one rank without a device."""
        run = self.start_ranks(workers, without, times)
        self.assertEqual(run.returncode, 0, run.stderr)
        parts = json.loads(self.succeed("history", "last"))["ranks"]
        result = self.result()
        shutil.rmtree(self.path("out"))
        self.succeed("run", *self.words_of_kmeans(times), "-o", "out", "-q", "--workers", "1")
        self.assertTrue(result == self.result(), "the results differ")
        shutil.rmtree(self.path("out"))
        return [(part["devices"], part["device_tasks"] > 0) for part in parts]

    def test_a_rank_without_a_device_does_without(self):
        """A device that is alone on its rank does what this rank is given. On a busy machine the others may have done
        all before it is ready: then there is more to be done."""
        for workers, without, expected in [
                (["cpu=0,device=all", "1"], {1}, [(self.all, True), (0, False)]),
                (["cpu=1,device=all"] * 3, {0, 1, 2}, [(0, False)] * 3),
                (["cpu=1,device=cpu", "cpu=0,device=cpu", "cpu=1,device=cpu"], {0, 2},
                 [(0, False), (self.cpus, True), (0, False)])]:
            with self.subTest(workers=workers, without=without):
                for times in (1, 2, 4, 8, 16):
                    found = self.devices_of_ranks(workers, without, times)
                    self.assertEqual([devices for devices, _ in found], [devices for devices, _ in expected])
                    if found == expected:
                        break
                self.assertEqual(found, expected)

    def test_a_device_that_no_rank_has_is_a_mistake(self):
        for workers, without, says in [
                (["cpu=1,device=cpu"] * 2, {0, 1}, b"there is no device cpu on any of 2 ranks"),
                (["cpu=1,device=gup"] * 2, (), b"there is no device gup on any of 2 ranks"),
                (["cpu=1,device=cpu", "cpu=0,device=cpu"], {1},
                 b"no CPU workers were asked for, and there is no device cpu here")]:
            with self.subTest(workers=workers, without=without):
                run = self.start_ranks(workers, without)
                self.assertIn(says, run.stderr + run.stdout)
                self.assertFalse(os.path.exists(self.path("out")))
                self.await_true(lambda: not self.processes(), "all has ended")      # mpiexec does not wait for it


class Losses(RanksTest):
    def begin_slow(self, spares=0, **environment):
        """Every rank that is no spare has begun its second block, and stays there until go_on()."""
        self.hold_at(2)
        process = self.begin("run", SLOW_WORDS, os.path.join(data, "text"), "-o", "out", "--json", "--ranks",
                             str(RANKS - spares), "--spares", str(spares), "nap=70", environment=environment)
        self.await_blocks(process, 2, RANKS, spares)
        return process

    def hold_at(self, block):
        with open(self.path("programs", "marks", "hold.new"), "w", encoding="ascii") as file:
            file.write(str(block))
        os.rename(file.name, self.path("programs", "marks", "hold"))

    def go_on(self):
        try:
            os.remove(self.path("programs", "marks", "hold"))
        except FileNotFoundError:
            pass

    def await_blocks(self, process, least, ranks, spares=0):
        """So many ranks are there, and those that are no spares have begun so many blocks."""
        self.await_true(lambda: process.poll() is not None or self.blocks_of_ranks(ranks, spares) >= least, "all map")
        self.assertIsNone(process.poll(), "it is over too soon")

    def blocks_of_ranks(self, count, spares):
        ranks = self.ranks()
        marks = [self.path("programs", "marks", str(pid)) for rank, pid in ranks.items() if rank < RANKS - spares]
        return min((os.path.getsize(mark) if os.path.exists(mark) else 0 for mark in marks), default=0) \
            if len(ranks) == count else 0

    def end(self, process, lost, status=0, spares=(0, 0)):
        """spares: how many there were, and how many were used."""
        self.go_on()
        out, err = process.communicate(timeout=120 * PATIENCE)
        self.assertEqual(process.returncode, status, err)
        stats = json.loads(out)
        self.assertEqual((stats["ranks"], stats["ranks_lost"]), (RANKS, lost), err)
        self.assertEqual((stats["spares"], stats["spares_used"]), spares)
        lines = sorted(self.result().splitlines(keepends=True))     # no order was asked for: a sort would map a sample
        self.assertTrue(b"".join(lines) == b"".join(sorted(words.splitlines(keepends=True))), "the results differ")
        self.assert_left_nothing("out")
        shutil.rmtree(self.path("out"))
        record = json.loads(self.succeed("history", "last"))
        self.assertEqual(len(record["losses"]), lost)
        self.assertTrue(all(loss["why"] for loss in record["losses"]))
        self.assertEqual((record["spares"], record["spares_used"]), spares)
        self.assertEqual([part["rank"] for part in record["ranks"] if part["spare"]],
                         list(range(RANKS - spares[0], RANKS)))
        for part in record["ranks"]:
            if part["spare"] and not part["lost"]:
                self.assertEqual((part["works"] > 0, part["map_tasks"] > 0, part["sent_bytes"] > 0),
                                 (part["took_place"],) * 3, part)
        self.assertEqual(sum(part["took_place"] for part in record["ranks"]), spares[1])
        lost_ranks = {loss["rank"] for loss in record["losses"]}
        self.assertEqual({part["rank"] for part in record["ranks"] if part["lost"]}, lost_ranks)
        self.assertTrue(all(part["host"] for part in record["ranks"] if not part["lost"]))
        check_trace.check(record["trace"])
        return lost_ranks

    def test_any_rank_may_be_killed(self):
        for victim in range(RANKS):
            with self.subTest(victim=victim):
                process = self.begin_slow()
                os.kill(self.ranks()[victim], signal.SIGKILL)
                self.assertEqual(self.end(process, 1), {victim})

    def test_a_spare_takes_the_place_of_a_rank_that_is_killed(self):
        for victims, used in (([0], 1), ([RANKS - 1], 0), ([0, 1], 2), ([RANKS - 2, 0], 1)):
            with self.subTest(victims=victims):
                process = self.begin_slow(spares=2)
                ranks = self.ranks()
                for victim in victims:
                    os.kill(ranks[victim], signal.SIGKILL)
                self.assertEqual(self.end(process, len(victims), spares=(2, used)), set(victims))

    def test_spares_under_a_launcher_that_somebody_typed(self):
        command = ["run", "wordcount", os.path.join(data, "text"), "-o", "out", "--sort", "key", "--json", "--force"]
        alone = json.loads(self.succeed(*command))
        for working, spares in ((2, 1), (1, 2)):
            with self.subTest(working=working, spares=spares):
                run = subprocess.run([MPIEXEC, "-disable-auto-cleanup", "-n", "3", MILLRACE, *command],
                                     env=dict(self.environment, MILLRACE_SPARES=str(spares)), cwd=self.folder,
                                     stdin=subprocess.DEVNULL, capture_output=True, timeout=120 * PATIENCE)
                self.assertEqual(run.returncode, 0, run.stderr)
                stats = json.loads(run.stdout)
                self.assertEqual((stats["ranks"], stats["spares"], stats["spares_used"]), (3, spares, 0))
                self.assertTrue(self.result() == words)
                parts = json.loads(self.succeed("history", "last"))["ranks"]
                self.assertEqual([part["map_tasks"] > 0 for part in parts[working:]], [False] * spares)
                self.assertEqual([part["workers"] for part in parts], [max(1, alone["workers"] // working)] * 3)

    def test_all_but_one_may_be_killed(self):
        for survivor in (0, RANKS - 1):
            with self.subTest(survivor=survivor):
                process = self.begin_slow()
                for rank, pid in sorted(self.ranks().items()):
                    if rank != survivor:
                        os.kill(pid, signal.SIGKILL)
                self.end(process, RANKS - 1)

    def test_one_after_the_other(self):
        process = self.begin_slow()
        os.kill(self.ranks()[0], signal.SIGKILL)
        self.hold_at(5)
        self.await_blocks(process, 5, RANKS - 1)
        os.kill(self.ranks()[1], signal.SIGKILL)
        self.end(process, 2)

    def test_a_rank_that_stops_is_given_up(self):
        for victim in (0, 2):
            with self.subTest(victim=victim):
                process = self.begin_slow()
                os.kill(self.ranks()[victim], signal.SIGSTOP)
                self.end(process, 1)

    def test_a_rank_that_wakes_up_changes_nothing(self):
        process = self.begin_slow()
        victim = self.ranks()[1]
        os.kill(victim, signal.SIGSTOP)
        self.go_on()
        self.await_true(lambda: os.path.exists(self.path("out")) or process.poll() is not None, "the others are done")
        try:
            os.kill(victim, signal.SIGCONT)
        except ProcessLookupError:          # it had its time
            pass
        self.end(process, 1)

    def test_a_pause_is_no_loss(self):
        deadline = 4 * DEADLINE         # the pause is shorter than that, however long this process is held up, too
        process = self.begin_slow(MILLRACE_DEADLINE=str(deadline))
        victim = self.ranks()[1]
        os.kill(victim, signal.SIGSTOP)
        self.go_on()
        time.sleep(deadline / 5)
        os.kill(victim, signal.SIGCONT)
        self.end(process, 0)

    def test_when_all_are_killed_there_is_no_result(self):
        process = self.begin_slow()
        for pid in self.ranks().values():
            os.kill(pid, signal.SIGKILL)
        out, err = process.communicate(timeout=120 * PATIENCE)
        self.assertEqual(process.returncode, 6, err)
        self.assertRegex(err.decode(), re.compile("^millrace: none of the 4 ranks was left to say how the job", re.M))
        self.assertEqual(json.loads(out)["status"], "MR_NETWORK_FAILED")
        self.assertFalse(os.path.exists(self.path("out")))
        self.assert_nothing_runs()

    def test_a_rank_whose_app_ends_the_process_is_lost(self):
        for victim in (0, 1):
            with self.subTest(victim=victim):
                process = self.begin("run", SUDDEN_END, os.path.join(data, "text"), "-o", "out", "--json", "--ranks",
                                     str(RANKS), "at=map", "nap=30", environment={"SUDDEN_END_RANK": str(victim)})
                self.assertEqual(self.end(process, 1), {victim})

    def test_when_the_app_ends_all_processes_it_is_named(self):
        command = ["run", SUDDEN_END, os.path.join(data, "text"), "-o", "out", "--json", "at=map"]
        sentence = f"app {SUDDEN_END} ended the process while its job ran"
        process = self.begin(*command, "--ranks", "2")
        out, err = process.communicate(timeout=120 * PATIENCE)
        self.assertEqual(process.returncode, 6, err)
        failure = json.loads(out.splitlines()[-1])      # the app has printed, too
        self.assertEqual((failure["status"], failure["exit"]), ("MR_NETWORK_FAILED", 6))
        self.assertRegex(failure["error"], f"^none of the 2 ranks was left .*: rank [01]: {re.escape(sentence)}$")
        self.assertFalse(os.path.exists(self.path("out")))
        self.assert_nothing_runs()
        run = subprocess.run([MPIEXEC, "-disable-auto-cleanup", "-n", "2", MILLRACE, *command], env=self.environment,
                             cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120 * PATIENCE)
        self.assertNotEqual(run.returncode, 0)
        for rank in range(2):
            self.assertIn(f"millrace: rank {rank} on {socket.gethostname()}: {sentence}\n", run.stderr.decode())
        self.assertNotIn(b"{", run.stdout)
        self.assertFalse(os.path.exists(self.path("out")))

    def test_a_killed_launcher_takes_all_with_it(self):
        process = self.begin_slow()
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
            os.kill(int(children.read().split()[0]), signal.SIGKILL)
        self.assertIn(process.wait(60 * PATIENCE), (0, 6))
        self.assert_nothing_runs()


if __name__ == "__main__":
    for missing, reason in [(shutil.which(MPIEXEC) is None, f"{MPIEXEC} is not installed (Debian: mpich)"),
                            (not os.path.exists(MODULE), "millrace_mpi.so was not built (Debian: libmpich-dev)"),
                            (not os.path.exists(SLOW_WORDS), "SLOW_WORDS does not name slow_words.so")]:
        if missing:
            print(f"skipped: {reason}")
            sys.exit(77)
    cli_test.main()
