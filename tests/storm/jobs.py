"""jobs.py: the jobs that a storm goes over: their data, their answers, and one run of one of them.

A run has a folder, whose name is in the environment of everything that belongs to it. So its processes are found, on
hosts of a Slurm too (hosts.py: their processes are seen from outside), and so is what it leaves.

Oracles: Python's Counter, and its sort; for k-means the bytes of a single rank, which tests/apps/test_kmeans.py holds
against Lloyd's algorithm in Python."""
import collections
import glob
import json
import os
import shutil
import signal
import subprocess
import time

MILLRACE = os.path.abspath(os.environ.get("MILLRACE", "build/release/bin/millrace"))
GUARD = os.path.normpath(os.path.join(os.path.dirname(MILLRACE), "..", "libexec", "millrace", "millrace-guard"))
MARK = "MILLRACE_STORM"
DEADLINE = 3            # seconds of silence after which a rank is lost
RECORD = 100
RANK_MEMORY = 48 << 20  # of each rank, where memory is to be short
PATIENCE = 90           # seconds after which a run hangs
LEAVING = 10            # seconds that what is left after a run of Slurm may take to end
APPS = {"wordcount": ["wordcount", "text", "--sort", "key"],
        "sort": ["sort", "records"],
        "kmeans": ["kmeans", "points", "k=20", "rounds=40", "dim=3"],
        # with little memory the coordinator asks for sums, block after block (engine/joint_dense.c)
        "kmeans of many": ["kmeans", "points", "k=1500", "rounds=4", "dim=3"]}
DEVICE_APPS = {"wordcount": APPS["wordcount"],      # a round on devices takes longer
               "kmeans on devices": ["kmeans", "points", "k=20", "rounds=3", "dim=3"]}


class Failed(Exception):
    """A run did not end as it must; the text says how."""


class NotBegun(Failed):
    """MPICH could not start under srun, which only starts ranks once (`run --ranks` begins again)."""


class Data:
    """Inputs by seed, and the answers."""

    def __init__(self, folder, size):
        self.folder = folder
        for name, kind in {"text": ["zipf", "--words", "50000"], "records": ["records"], "points": ["points"]}.items():
            subprocess.run([MILLRACE, "generate", *kind, "--size", str(size), "--seed", "7", "-o", self.path(name)],
                           check=True)
        with open(self.path("text"), "rb") as text:
            counts = collections.Counter(text.read().split())
        with open(self.path("records"), "rb") as file:
            records = file.read()
        self.answers = {"wordcount": b"".join(b"%s\t%d\n" % pair for pair in sorted(counts.items())),
                        "sort": b"".join(sorted(records[at:at + RECORD] for at in range(0, len(records), RECORD)))}
        for app in ("kmeans", "kmeans of many", "kmeans on devices"):
            alone = self.path(app + ", alone")
            subprocess.run([MILLRACE, "run", *self.words(app), "-o", alone, "-q", "--workers", "device=none"],
                           check=True, env=dict(os.environ, MILLRACE_RECORDS=alone + ".records"))
            self.answers[app] = result_of(alone)

    def path(self, name):
        return os.path.join(self.folder, name)

    def words(self, app):
        words = (APPS | DEVICE_APPS)[app]
        return [self.path(word) if word in ("text", "records", "points") else word for word in words]


def result_of(folder):
    """The bytes of the parts, which must be all that there is beside _SUCCESS."""
    names = sorted(os.listdir(folder))
    parts = [name for name in names if name.startswith("part-")]
    if names != ["_SUCCESS"] + [f"part-{number:05}" for number in range(len(parts))]:
        raise Failed(f"the output consists of {names}")
    result = b""
    for part in parts:
        with open(os.path.join(folder, part), "rb") as file:
            result += file.read()
    return result


class Run:
    """One job: on this machine, as somebody would type it (`run --ranks`), or by srun on the nodes of a Slurm."""

    def __init__(self, folder, data, app, ranks, more=(), environment=None, slurm=None, nodes=(), spares=0):
        self.folder, self.data, self.app, self.ranks, self.slurm, self.nodes = folder, data, app, ranks, slurm, nodes
        self.more, self.spares = list(more), spares         # spares: the highest of `ranks`
        self.out = os.path.join(folder, "output", "out")
        self.burst = os.path.join(folder, "burst") if slurm is None else os.path.join(slurm.hosts.local, "burst")
        self.environment = {MARK: folder, "MILLRACE_BURST": self.burst, "MILLRACE_DEADLINE": str(DEADLINE),
                            "MILLRACE_RECORDS": os.path.join(folder, "records"), "LC_ALL": "C", **(environment or {})}
        self.process = None
        self.began = 0.0
        self.did = []
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(os.path.dirname(self.out))
        for host in self._hosts():
            os.makedirs(os.path.join(host.disk, "burst"), exist_ok=True)
        if slurm is None:
            os.mkdir(self.burst)

    def _hosts(self):
        return [self.slurm.hosts[name] for name in self.nodes] if self.slurm is not None else []

    def start(self):
        words = ["run", *self.data.words(self.app), *self.more, "-o", self.out, "--json"]
        self.began = time.monotonic()
        with open(os.path.join(self.folder, "stdout"), "wb") as out, \
                open(os.path.join(self.folder, "stderr"), "wb") as err:
            if self.slurm is None:
                ranks = ["--ranks", str(self.ranks - self.spares), "--spares", str(self.spares)]
                self.process = subprocess.Popen([MILLRACE, *words, *ranks], stdout=out, stderr=err,
                                                stdin=subprocess.DEVNULL, cwd=self.folder, start_new_session=True,
                                                env=dict(os.environ, **self.environment))
            else:
                count = len(self.nodes)
                self.process = self.slurm.start("srun", f"-N{count}", f"-n{self.ranks}", "-w", ",".join(self.nodes),
                                                f"--ntasks-per-node={self.ranks // count}", "-K0", "--no-kill",
                                                "--mpi=pmi2", GUARD, MILLRACE, *words, stdout=out, stderr=err,
                                                env=self.environment, cwd=self.folder)

    def note(self, *what):
        self.did.append(f"{time.monotonic() - self.began:7.3f} s  " + " ".join(map(str, what)))

    def has_begun(self):
        """The ranks are together: one of them has claimed a place for the output."""
        return len(os.listdir(os.path.dirname(self.out))) > 0

    def is_over(self):
        return self.process.poll() is not None

    # ---- processes

    def processes(self):
        """(process, environment) of what runs for this run."""
        mark = f"{MARK}={self.folder}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/stat", "rb") as stat:
                    variables = environ.read().split(b"\0")
                    if mark in variables and b") Z" not in stat.read():
                        found.append((int(pid), variables))
            except OSError:     # it has just ended
                pass
        return found

    def of_program(self, program, word=b""):
        """(process, rank) of what runs this program, as a rank or for one, with this word among its arguments."""
        found = []
        for pid, variables in self.processes():
            rank = next((int(pair[9:]) for pair in variables if pair.startswith(b"PMI_RANK=")), None)
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as words:
                    if rank is not None and os.path.basename(os.readlink(f"/proc/{pid}/exe")) == program and \
                            word in words.read():
                        found.append((pid, rank))
            except OSError:
                pass
        return found

    def rank_processes(self):
        return {rank: pid for pid, rank in self.of_program("millrace")}

    def stacks(self):
        """What hangs, as gdb sees it."""
        for rank, pid in self.rank_processes().items():
            with open(os.path.join(self.folder, f"stacks-{rank}"), "wb") as file:
                subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 14"], stdout=file,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False, timeout=60)

    def kill_all(self):
        for pid, _ in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    # ---- the end

    def judge(self, dead_nodes=()):
        """After its end. Raises Failed; returns what the job says of itself."""
        self.note("ended with status", self.process.returncode)
        self._assert_nothing_runs()
        if self.slurm is None and self.process.returncode != 0:     # srun tells of lost ranks, not of the job
            raise Failed(f"it ended with status {self.process.returncode}")
        if not os.path.isdir(self.out):
            with open(os.path.join(self.folder, "stderr"), encoding="utf-8", errors="replace") as file:
                begun = self.slurm is None or "Fatal error in internal_Init" not in file.read()
            raise (Failed if begun else NotBegun)("there is no output")
        if result_of(self.out) != self.data.answers[self.app]:
            raise Failed("the answer is wrong")
        left = sorted(set(os.listdir(os.path.dirname(self.out))) - {"out"})
        for folder in [self.burst] if self.slurm is None else \
                [os.path.join(host.disk, "burst") for host in self._hosts() if host.name not in dead_nodes]:
            left += [path for path in glob.glob(os.path.join(folder, "**"), recursive=True) if not os.path.isdir(path)]
        if left:
            raise Failed(f"it left {left}")
        return self._stats()

    def _assert_nothing_runs(self):
        end = time.monotonic() + (LEAVING if self.slurm is not None else 0)
        while self.processes():
            if time.monotonic() > end:
                raise Failed(f"it left running: {[pid for pid, _ in self.processes()]}")
            time.sleep(0.1)

    def _stats(self):
        with open(os.path.join(self.folder, "stdout"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        for line in reversed(lines):
            try:
                return json.loads(line)
            except ValueError:
                continue
        return {}
