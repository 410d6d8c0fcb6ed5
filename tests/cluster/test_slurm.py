"""A real Slurm of three nodes: tasks on nodes, statuses, the loss of a node, two at a time, and nothing left."""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import cluster_test
from cluster_test import await_true, processes_of, start_test
from hosts import stop
from slurm import Slurm

NODES = ["n1", "n2", "n3"]

# Each task says that it has begun, waits for the word, and says that it is done.
TASK = """#!/bin/sh
touch "$1/$(uname -n).begun"
until [ -e "$1/go" ]; do sleep 0.05; done
touch "$1/$(uname -n).done"
"""


def setUpModule():
    global slurm
    slurm = unittest.enterModuleContext(Slurm(3))


class Nodes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-slurm-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def script(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), 0o700)
        return self.path(name)

    def start(self, *command):
        process = slurm.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(stop, process)
        return process

    def end(self, process, patience=cluster_test.PATIENCE):
        """The output of a process that ends by itself."""
        out, _ = process.communicate(timeout=patience)
        return out

    def names(self, suffix):
        return sorted(name.split(".")[0] for name in os.listdir(self.folder) if name.endswith(suffix))

    def test_srun_runs_one_task_on_each_node(self):
        names = slurm.succeed("srun", "-N3", "--ntasks-per-node=1", "sh", "-c", "echo $(uname -n) $SLURMD_NODENAME")
        self.assertEqual(sorted(names.splitlines()), [f"{name} {name}" for name in NODES])
        self.assertEqual(slurm.run("srun", "-N1", "sh", "-c", "exit 7").returncode, 7)

    def test_sbatch_waits_and_brings_the_status_of_the_job(self):
        script = self.script("job", '#!/bin/sh\n#SBATCH -N2\nsrun uname -n\nexit "$1"\n')
        for status in (0, 9):
            with self.subTest(status=status):
                run = slurm.run("sbatch", "-W", "-o", self.path("out"), script, str(status))
                self.assertEqual(run.returncode, status, run.stderr)
                with open(self.path("out"), encoding="utf-8") as out:
                    self.assertEqual(len(set(out.read().split()) & set(NODES)), 2)

    def test_scancel_ends_a_job(self):
        job = self.start("srun", "-J", "sleeper", "-N3", self.script("task", TASK), self.folder)
        await_true(lambda: self.names(".begun") == NODES, "tasks run on all nodes")
        slurm.succeed("scancel", "-n", "sleeper")
        self.end(job)
        self.assertNotEqual(job.returncode, 0)
        self.assertEqual(self.names(".done"), [])
        for host in slurm.hosts:
            await_true(lambda: self.folder not in host.run("sh", "-c", "cat /proc/[0-9]*/cmdline").stdout, "all ended")

    def test_a_lost_node_does_not_stop_the_others_and_comes_back(self):
        job = self.start("srun", "-K0", "--no-kill", "-N3", self.script("task", TASK), self.folder)
        await_true(lambda: self.names(".begun") == NODES, "tasks run on all nodes")
        slurm.hosts["n2"].kill()
        self.script("go", "")
        await_true(lambda: self.names(".done") == ["n1", "n3"], "the others are done")
        self.assertIn("Node failure on n2", self.end(job))
        self.assertEqual(self.names(".done"), ["n1", "n3"])
        slurm.boot("n2")
        self.assertEqual(slurm.states()["n2"], "idle")
        self.assertEqual(slurm.succeed("srun", "-w", "n2", "uname", "-n"), "n2\n")

    def test_two_at_a_time_know_nothing_of_each_other(self):
        with Slurm(1, cpus=7) as other:
            job = self.start("srun", "-N3", self.script("task", TASK), self.folder)
            await_true(lambda: self.names(".begun") == NODES, "tasks run on all nodes")
            self.assertEqual(other.succeed("squeue", "-h"), "")
            self.assertEqual(other.succeed("sinfo", "-h", "-N", "-o", "%N %c").split(), ["n1", "7"])
            self.assertEqual(other.succeed("srun", "uname", "-n"), "n1\n")
            self.assertEqual(len(slurm.succeed("squeue", "-h").splitlines()), 1)
            folder = other.hosts.folder
        self.assertEqual(processes_of(folder), [])
        self.assertFalse(os.path.exists(folder))
        self.script("go", "")
        self.assertEqual(self.end(job), "")
        self.assertEqual(job.returncode, 0)

    def test_a_test_that_is_killed_leaves_nothing(self):
        test, folder = start_test(f"""
            from slurm import Slurm
            with Slurm(1) as slurm:
                job = slurm.start("srun", {self.script("task", TASK)!r}, {self.folder!r})
                print(slurm.hosts.folder, flush=True)
                job.wait()
            """)
        self.addCleanup(test.stdout.close)
        self.addCleanup(test.stdin.close)
        self.addCleanup(test.wait)
        self.addCleanup(test.kill)
        await_true(lambda: self.names(".begun") == ["n1"], "the task runs")
        test.send_signal(signal.SIGKILL)
        await_true(lambda: not processes_of(folder) and not os.path.exists(folder), "all is gone")


if __name__ == "__main__":
    cluster_test.main()
