"""test_mpi.py: the MPI backend between real ranks: mpiexec.mpich starts mpi_ranks.c; what the ranks leave is judged.

ctest sets MPI_RANKS (the program), MILLRACE_MPI_MODULE, GUARD; by hand also:
    test_mpi.py storm COUNT [FIRST]         that many storms, from this seed on
Oracle: mpi_ranks.c verifies each byte; here, that the ranks that must come to their end did, and that nothing is left.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

MPIEXEC = "mpiexec.mpich"
OPEN_MPI = "mpiexec.openmpi"
RANKS = os.environ["MPI_RANKS"]
GUARD = os.environ["GUARD"]
MODULE = os.environ["MILLRACE_MPI_MODULE"]
PATIENCE = int(os.environ.get("MILLRACE_TEST_PATIENCE", "1"))
STORM_RANKS = 4
STORMS = 10


def processes_of(folder):
    """Processes that have the folder among their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if os.fsencode(folder) in file.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


class MpiTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-mpi-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, ranks, *arguments, guarded=False, launcher=(MPIEXEC,), environment=()):
        """Runs the ranks to their end; returns the launcher's result. Nothing may be left running."""
        program = [GUARD, RANKS] if guarded else [RANKS]
        mode, *rest = map(str, arguments)
        command = [*launcher, "-n", str(ranks), *program, mode, self.folder, *rest]
        variables = dict(os.environ, **dict(environment))
        # leaks: MPICH is not finalised, see comm_mpi.c
        variables["ASAN_OPTIONS"] = variables.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=250,
                                stdin=subprocess.DEVNULL, check=False)
        deadline = time.monotonic() + 20 * PATIENCE
        while processes_of(self.folder) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(processes_of(self.folder), [], f"left running after: {' '.join(command)}\n{result.stderr}")
        return result

    def reports(self):
        texts = {}
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), encoding="ascii") as file:
                texts[int(name.removeprefix("rank-"))] = file.read()
            os.remove(os.path.join(self.folder, name))
        return texts

    def run_all(self, ranks, *arguments, **how):
        """Every rank comes to its end, and the launcher says so."""
        result = self.start(ranks, *arguments, **how)
        texts = self.reports()
        self.assertEqual(sorted(texts), list(range(ranks)), result.stdout + result.stderr)
        for rank, text in texts.items():
            self.assertTrue(text.startswith("ok"), f"rank {rank}: {text}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, "", "standard output is the job's")
        return texts

    def storm(self, seed):
        result = self.start(STORM_RANKS, "storm", seed, guarded=True, launcher=(MPIEXEC, "-disable-auto-cleanup"))
        texts = self.reports()
        victim = seed % STORM_RANKS
        said = f"seed {seed}, status {result.returncode}\n{result.stdout}{result.stderr}"
        self.assertEqual(sorted(texts), [rank for rank in range(STORM_RANKS) if rank != victim], said)
        for rank, text in texts.items():
            self.assertTrue(text.startswith(f"ok victim {victim}"), f"rank {rank}: {text}\n{said}")
        return texts


class Contract(MpiTest):
    def contract(self, ranks, says, environment=()):
        for text in self.run_all(ranks, "contract", environment=environment).values():
            self.assertIn(says, text)

    def test_the_contract_between_two_ranks(self):
        self.contract(2, "woken")

    def test_the_contract_between_four_ranks(self):
        self.contract(4, "woken")

    def test_who_talks_through_shared_memory_too_polls(self):
        for name, value in (("MPIR_CVAR_NOLOCAL", "0"), ("UCX_TLS", "tcp,self,posix")):
            self.contract(2, "polling", {name: value})

    def test_one_rank_of_a_launcher_speaks_to_itself(self):
        self.run_all(1, "contract")

    def test_without_a_launcher_there_is_one_rank(self):
        result = subprocess.run([RANKS, "contract", self.folder], capture_output=True, text=True, timeout=250,
                                env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"), check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("ok 0 of 1", self.reports()[0])

    def test_a_comm_is_opened_again(self):
        self.run_all(3, "again")

    def test_an_end_without_a_loss_needs_no_option_of_the_launcher(self):
        """Hydra would kill who is slow, if it took the first end for a crash."""
        for _ in range(5):
            self.run_all(4, "again")

    def test_the_launcher_of_run_is_told_nothing(self):
        """Hydra's proxy would not survive a rank that dies before it has the answer."""
        for sharing, told in (("", 3), ("3", 0)):
            result = self.start(3, "again", launcher=(MPIEXEC, "-disable-auto-cleanup", "-verbose"),
                                environment={"MILLRACE_SHARING": sharing})
            texts = self.reports()      # what the launcher's status says of ends that it was not told is chance
            self.assertEqual([texts.get(rank, "")[:2] for rank in range(3)], ["ok"] * 3, result.stderr)
            self.assertEqual(len(re.findall(r"got pmi command .*: finalize", result.stdout + result.stderr)), told)

    def test_ranks_know_their_launcher(self):
        texts = self.run_all(3, "detect")
        self.assertEqual([texts[rank] for rank in range(3)], [f"ok mpiexec.mpich {rank} of 3\n" for rank in range(3)])

    @unittest.skipIf(shutil.which(OPEN_MPI) is None, "no mpiexec.openmpi here")
    def test_open_mpis_launcher_is_named(self):
        launcher = (OPEN_MPI, "--allow-run-as-root", "--oversubscribe")
        result = self.start(2, "contract", launcher=launcher)
        self.assertIn("Open MPI's launcher, whose library cannot be mixed with MPICH", result.stderr)
        self.assertEqual(self.reports(), {})


class Faults(MpiTest):
    def test_each_failing_call_is_survived(self):
        points = {"memory": 101, "dlopen": 201, "init": 401, "send": 402, "receive": 403, "probe": 404}
        for name, hits in (("memory", (1, 2, 3, 4)), ("dlopen", (1,)), ("init", (1,)), ("send", (1, 5)),
                           ("receive", (1, 7)), ("probe", (1, 30))):
            for nth in hits:
                with self.subTest(point=name, nth=nth):
                    launcher = (MPIEXEC, "-disable-auto-cleanup")
                    texts = self.run_all(2, "fault", points[name], nth, launcher=launcher)
                    self.assertIn(", fired", texts[0])
                    self.assertIn(f"{int(name in ('send', 'receive'))} unreachable", texts[0])


class Storm(MpiTest):
    def test_storms(self):
        for seed in range(STORMS):
            with self.subTest(seed=seed):
                self.storm(seed)


def storms(count, first):
    """By hand: many storms, with a line for each that fails and a summary."""
    test = MpiTest()
    noticed, failed, began = {}, 0, time.monotonic()
    for seed in range(first, first + count):
        test.setUp()
        try:
            for text in test.storm(seed).values():
                how = " ".join(text.split(",")[:2]).removeprefix("ok victim ")[2:]
                noticed[how] = noticed.get(how, 0) + 1
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            failed += 1
            print(f"seed {seed}: {problem}", flush=True)
        test.doCleanups()
    print(f"{count - failed} of {count} storms survived in {time.monotonic() - began:.0f} s; by rank: {noticed}")
    return failed == 0


if __name__ == "__main__":
    if shutil.which(MPIEXEC) is None or not os.path.exists(MODULE):
        print(f"skipped: {MPIEXEC} is not installed (Debian: mpich)" if shutil.which(MPIEXEC) is None else
              "skipped: millrace_mpi.so was not built (Debian: libmpich-dev)")
        sys.exit(77)
    if len(sys.argv) > 2 and sys.argv[1] == "storm":
        sys.exit(not storms(int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
    unittest.main()
