"""Jobs on a real Slurm of three nodes: by millrace sbatch, by srun, and by mpiexec.mpich over a remote shell; a node is
lost in the middle; what only some nodes have. ctest sets MILLRACE, MILLRACE_MPI_MODULE and SLOW_WORDS.

Oracle: Python's Counter, and Slurm's own word on how a job ended."""
import collections
import glob
import json
import os
import shutil
import sys
import tempfile
import unittest

import cluster_test
from cluster_test import PATIENCE, await_true
from slurm import Slurm

MILLRACE = os.environ.get("MILLRACE", "")
GUARD = os.path.join(os.path.dirname(MILLRACE), "..", "libexec", "millrace", "millrace-guard")
MODULE = os.environ.get("MILLRACE_MPI_MODULE", "")
SLOW_WORDS = os.environ.get("SLOW_WORDS", "")
NODES = ["n1", "n2", "n3"]
TEXT = b"".join(b"word%d and word%d are %d words\n" % (number % 977, number % 13, number) for number in range(200000))
EXPECTED = sorted(b"%s\t%d\n" % pair for pair in collections.Counter(TEXT.split()).items())


def setUpModule():
    global slurm
    for missing, reason in [(shutil.which("mpiexec.mpich") is None, "mpiexec.mpich is not installed (Debian: mpich)"),
                            (not os.path.exists(MODULE), "millrace_mpi.so was not built (Debian: libmpich-dev)"),
                            (not os.path.exists(SLOW_WORDS), "SLOW_WORDS does not name slow_words.so")]:
        if missing:
            raise unittest.SkipTest(reason)
    slurm = unittest.enterModuleContext(Slurm(len(NODES), gpus={"n3": 1}))


class Jobs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-jobs-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        with open(self.path("text"), "wb") as file:
            file.write(TEXT)
        self.burst = os.path.join(slurm.hosts.local, "burst")           # another one on each node
        for host in slurm.hosts:
            host.succeed("mkdir", "-p", self.burst)
        os.mkdir(self.path("marks"))
        self.environment = {"SLOW_WORDS_MARKS": self.path("marks"), "MILLRACE_RECORDS": self.path("records"),
                            "MILLRACE_BURST": self.burst}

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def submit(self, *arguments, nodes=len(NODES)):
        """The number of the job."""
        return slurm.succeed(MILLRACE, "sbatch", *arguments, "-o", self.path("out"), "--nodes", str(nodes),
                             env=self.environment, cwd=self.folder).strip()

    def state(self, job):
        words = slurm.succeed("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if word.startswith(("JobState=", "ExitCode=")))

    def end(self, job, state, status):
        """What the job printed."""
        await_true(lambda: self.state(job)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"), "the job has ended",
                   2 * PATIENCE)
        with open(self.path(f"slurm-{job}.out"), encoding="utf-8") as file:
            said = file.read()
        self.assertEqual(self.state(job), {"JobState": state, "ExitCode": f"{status}:0"}, said)
        self.assertEqual([name for name in os.listdir(self.folder) if "verdict" in name], [])
        return said

    def assert_result(self):
        parts = sorted(glob.glob(self.path("out", "part-*")))
        self.assertIn("_SUCCESS", os.listdir(self.path("out")))
        result = b""
        for part in parts:
            with open(part, "rb") as file:
                result += file.read()
        lines = sorted(result.splitlines(keepends=True))
        self.assertTrue(lines == EXPECTED, "the results differ")

    def assert_left_nothing(self, *nodes):
        for name in nodes or NODES:
            host = slurm.hosts[name]
            await_true(lambda host=host: "millrace" not in host.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout, name)
            self.assertEqual(host.succeed("ls", self.burst), "")

    def test_a_batch_job(self):
        said = self.end(self.submit("wordcount", self.path("text")), "COMPLETED", 0)
        self.assertEqual(said.count("wordcount: "), 1, said)
        self.assertIn(f"ranks   {len(NODES)}, 0 lost", said)
        self.assert_result()
        self.assert_left_nothing()

    def test_two_ranks_on_each_node(self):
        said = self.end(self.submit("wordcount", self.path("text"), "--ranks-per-node", "2"), "COMPLETED", 0)
        self.assertIn(f"ranks   {2 * len(NODES)}, 0 lost", said)
        self.assert_result()
        self.assert_left_nothing()

    def test_nodes_of_two_kinds_do_one_job(self):
        job = self.submit("wordcount", self.path("text"), "--ranks-per-node", "2", "--burst", self.burst, "--and",
                          "nodes=1 devices=gpu:1", nodes=2)
        said = self.end(job, "COMPLETED", 0)
        self.assertEqual(said.count("wordcount: "), 1, said)
        self.assertIn(f"ranks   {2 * len(NODES)}, 0 lost", said)
        components = slurm.succeed("scontrol", "-o", "show", "job", job).splitlines()
        with_gpu = [line for line in components if "gpu:1" in line]
        self.assertEqual([("NodeList=n3 " in line, f"HetJobId={job} " in line) for line in with_gpu], [(True, True)])
        self.assert_result()
        self.assert_left_nothing()

    def test_a_batch_job_that_fails(self):
        said = self.end(self.submit("wordcount", self.path("nothing")), "FAILED", 3)
        self.assertEqual(said.count("millrace: "), 1, said)
        self.assertFalse(os.path.exists(self.path("out")))

    def test_an_input_that_a_node_cannot_see(self):
        shared = os.path.join(slurm.hosts.local, "text")
        for name in ("n1", "n3"):
            shutil.copy(self.path("text"), os.path.join(slurm.hosts[name].disk, "text"))
        said = self.end(self.submit("wordcount", shared), "FAILED", 3)
        self.assertIn("n2", said)
        self.assertFalse(os.path.exists(self.path("out")))
        self.assert_left_nothing()

    def test_a_burst_directory_that_a_node_cannot_make(self):
        place = os.path.join(slurm.hosts.local, "file", "burst")
        with open(os.path.join(slurm.hosts["n2"].disk, "file"), "w", encoding="ascii"):
            pass
        self.addCleanup(os.remove, os.path.join(slurm.hosts["n2"].disk, "file"))
        said = self.end(self.submit("wordcount", self.path("text"), "--burst", place), "FAILED", 4)
        self.assertIn(f"a node cannot make the burst directory {place}", said)
        self.assertFalse(os.path.exists(self.path("out")))

    def test_srun_by_hand(self):
        slurm.succeed("srun", "-N3", "-K0", "--no-kill", "--mpi=pmi2", GUARD, MILLRACE, "run", "wordcount",
                      self.path("text"), "-o", self.path("out"), "-q", env=self.environment)
        self.assert_result()
        self.assert_left_nothing()

    def test_ranks_on_one_node_divide_it(self):
        """Two on one node and one on another, of made-up machines of eight cores with two threads each."""
        slurm.succeed("srun", "-N2", "-n3", "-O", "--distribution=block", "--mpi=pmi2", MILLRACE, "run", "wordcount",
                      self.path("text"), "-o", self.path("out"),
                      env=dict(self.environment, HWLOC_SYNTHETIC="numa:2 core:4 pu:2"))
        self.assert_result()
        record = [path for path in glob.glob(self.path("records", "*.json")) if not path.endswith(".trace.json")]
        with open(record[0], encoding="utf-8") as file:
            ranks = json.load(file)["ranks"]
        hosts = [rank["host"] for rank in ranks]
        self.assertEqual(len(set(hosts)), 2)
        self.assertEqual([rank["workers"] for rank in ranks], [16 // hosts.count(host) for host in hosts])

    def test_srun_without_pmi_is_refused(self):
        run = slurm.run("srun", "-N2", "--mpi=none", MILLRACE, "run", "wordcount", self.path("text"), "-o",
                        self.path("out"), env=self.environment)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("that cannot find each other; use srun --mpi=pmi2", run.stderr)
        self.assertFalse(os.path.exists(self.path("out")))

    def test_mpiexec_over_a_remote_shell(self):
        exported = [word for name, value in self.environment.items() for word in ("-genv", name, value)]
        slurm.succeed("mpiexec.mpich", "-disable-auto-cleanup", "-launcher", "ssh", "-launcher-exec", slurm.hosts.rsh,
                      "-rmk", "user", "-hosts", ",".join(NODES), "-ppn", "1", *exported, GUARD, MILLRACE, "run",
                      "wordcount", self.path("text"), "-o", self.path("out"), "-q")
        self.assert_result()
        self.assert_left_nothing()

    def lose_a_node(self, *arguments, nodes=len(NODES), ranks=len(NODES)):
        """Not the first one, on which the script runs; of two kinds, that is where the device is. No rank goes beyond its
        second block (slow_words.c) before that."""
        hold = self.path("marks", "hold")
        with open(hold, "w", encoding="ascii") as file:
            file.write("2")
        job = self.submit(SLOW_WORDS, self.path("text"), "nap=300", "--workers", "1", *arguments, nodes=nodes)
        await_true(lambda: sum(mark.stat().st_size for mark in os.scandir(self.path("marks")) if mark.path != hold)
                   >= 2 * ranks, "the ranks map")
        slurm.hosts["n2"].kill(silently=True)
        os.remove(hold)
        self.addCleanup(slurm.boot, "n2")
        said = self.end(job, "COMPLETED", 0)
        self.assert_result()
        self.assert_left_nothing(*set(NODES) - {"n2"})
        return said

    def test_a_lost_node(self):
        self.assertIn(f"ranks   {len(NODES)}, 1 lost", self.lose_a_node())

    def test_a_lost_node_of_another_kind(self):
        self.assertIn(f"ranks   {len(NODES)}, 1 lost", self.lose_a_node("--and", "nodes=1 devices=gpu:1", nodes=2))

    def test_a_spare_node_takes_the_place_of_a_lost_one(self):
        self.assertIn("ranks   2 and 1 spare (1 used), 1 lost", self.lose_a_node("--spares", "1", nodes=2, ranks=2))


if __name__ == "__main__":
    cluster_test.main()
