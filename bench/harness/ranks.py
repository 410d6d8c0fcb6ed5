"""The claims about ranks: the same job on several processes that talk through MPI, all on this machine.

Before each run on either side memory is touched: see docs/scaling.md.

A side on N ranks has N workers, one for each rank, and N times the memory of one: `--workers` and `--memory` are what
the machine gives to all. Its time is that of `millrace run --ranks N`, launcher and start of MPI included, unless a
claim says otherwise. A run counts only if the job says that it ran on so many ranks and lost as many as were killed.
"""
import dataclasses
import functools
import itertools
import os
import pathlib
import shlex
import signal
import statistics
import threading
import uuid

from harness import apps, data, process, side
from harness.contest import Contest, Spread, short

MIB = 1 << 20
MARK = "MILLRACE_BENCH_JOB"             # in the environment of a job's processes: how they are found
MRMPI_MEMORY = "7G"                     # what MR-MPI's two ranks may take: 7 pages of 512 MB each
RAW_CHUNKS = (256 << 10, 1 << 20, 4 << 20)
TOUCHED = 6 << 30                       # bytes, before each run
TIMEOUT, RAW_TIMEOUT = 600, 120         # ranks that wait for each other for ever are a failure, too
TRANSPORT = {"UCX_TLS": "tcp,self", "UCX_MEM_EVENTS": "n"}


@dataclasses.dataclass
class Ranked(side.Command):
    """A run on so many ranks."""
    ranks: int = 1
    lost: int = 0
    stage: str = ""                     # its seconds count; empty: those of the whole process

    def run(self):
        sample = super().run()
        found = sample.report.get("ranks"), sample.report.get("ranks_lost")
        if found != (self.ranks, self.lost):
            raise process.Failed(f"{self.shown()}: it says that it ran on {found[0]} ranks and lost {found[1]}; "
                                 f"{self.ranks} and {self.lost} were meant")
        if self.stage:
            sample.seconds = sum(stage["seconds"] for stage in sample.report["stages"] if stage["name"] == self.stage)
        return sample


def touch(context):
    """What runs just before each side: it takes memory from the machine, and leaves it to whoever comes next."""
    return [context.build / "bench/limit_memory", "touch", str(64 * MIB if context.quick else TOUCHED),
            str(context.workers)]


def job(context, app, inputs, *params, ranks, workers=None, memory=None, kind=Ranked, env=None, **more):
    """A side on so many ranks, with a worker each unless told otherwise."""
    fields = {name: more.pop(name) for name in ("lost", "stage", "seconds_in") if name in more}
    made = context.ours(app, inputs, *params, workers=workers or ranks, memory=memory, env=env, **more)
    made = kind(**vars(made), ranks=ranks, **fields)
    at = made.command.index("--json")
    made.command[at:at] = ["--ranks", str(ranks)]
    made.timeout = TIMEOUT
    made.before = touch(context)
    made.name = f"millrace, {ranks} rank{'s' if ranks > 1 else ''}"
    return made


def processes_of(mark):
    """The ranks of a job, by number: those programs whose environment has the mark and a rank."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.path.basename(os.readlink(folder / "exe")) != "millrace":
                continue
            variables = dict(entry.split(b"=", 1) for entry in (folder / "environ").read_bytes().split(b"\0")
                             if b"=" in entry)
        except OSError:                 # it has just ended
            continue
        if variables.get(MARK.encode()) == mark.encode() and b"PMI_RANK" in variables:
            found[int(variables[b"PMI_RANK"])] = int(folder.name)
    return found


class Killer(threading.Thread):
    """Kills one rank of a job, `seconds` after the first of them was there."""

    def __init__(self, mark, victim, seconds):
        super().__init__(daemon=True)
        self.mark, self.victim, self.seconds, self.killed, self.over = mark, victim, seconds, False, threading.Event()

    def run(self):
        while not processes_of(self.mark):
            if self.over.wait(0.002):
                return
        if self.over.wait(self.seconds):
            return
        try:
            os.kill(processes_of(self.mark)[self.victim], signal.SIGKILL)
            self.killed = True
        except (KeyError, ProcessLookupError):
            pass                        # it has ended


@dataclasses.dataclass
class Killed(Ranked):
    """A run in which one rank is killed; another one each time, rank 0 first."""
    lost: int = 1
    seconds_in: float = 0

    def __post_init__(self):
        self.victims = itertools.cycle(range(self.ranks))

    def run(self):
        mark = uuid.uuid4().hex
        self.env = self.env | {MARK: mark}
        killer = Killer(mark, next(self.victims), self.seconds_in)
        killer.start()
        try:
            sample = super().run()
        finally:
            killer.over.set()
            killer.join()
        if not killer.killed:
            raise process.Failed(f"{self.shown()}: it ended before rank {killer.victim} could be killed")
        return sample


def all_to_all(context, ranks, way, bytes_each, chunk, **env):
    """One run of the raw program. Its launcher's status means nothing: ranks end without MPI_Finalize."""
    if reason := context.missing("built:limit_alltoall", "program:mpiexec.mpich"):
        raise data.Missing(reason)
    command = ["mpiexec.mpich", "-disable-auto-cleanup", "-n", str(ranks), str(context.build / "bench/limit_alltoall"),
               way, str(bytes_each), str(chunk)]
    env = TRANSPORT | env
    process.run(touch(context))
    found = side.last_object(process.run(f"{shlex.join(command)} || true", env, timeout=RAW_TIMEOUT).stdout)
    if not found:
        raise process.Failed(f"{process.shown(command, env)}: it printed no result")
    return found | {"command": process.shown(command, env)}


def bytes_per_second(found):
    return found["bytes"] / found["seconds"]


class Raw:
    """What a raw MPI program reaches between so many ranks: the best of some ways to do it."""

    def __init__(self, context, ranks, bytes_each):
        """bytes_each: from each rank to each other one."""
        self.context, self.ranks, self.bytes_each, self.best = context, ranks, bytes_each, {}

    def measure(self):
        for way, chunk, put in itertools.product(("nap", "spin"), RAW_CHUNKS, ("n", "y")):
            found = all_to_all(self.context, self.ranks, way, self.bytes_each, chunk, UCX_TCP_PUT_ENABLE=put)
            if bytes_per_second(found) > self.rate:
                self.best = found | {"chunk": chunk, "put": put}

    def measure_kept(self):
        """Bytes per second of a program that keeps what it receives, as a shuffle must; by the best way."""
        chunk, put = self.best["chunk"], self.best["put"]
        runs = [all_to_all(self.context, self.ranks, "keep", self.bytes_each, chunk, UCX_TCP_PUT_ENABLE=put)
                for _ in range(3)]
        return statistics.median(map(bytes_per_second, runs))

    @property
    def rate(self):
        """Bytes per second of all ranks together."""
        return bytes_per_second(self.best) if self.best else 0


class Claims:
    def __init__(self, must):
        self.must, self.context = must, must.context
        self.text = [self.context.text()]
        self.job = functools.partial(job, self.context)

    def slower(self, claim, outcome, most):
        """How much longer the side A takes than B."""
        if outcome.skipped:
            return self.must.verdict(claim, f"<= {most}x", "failed", False, outcome.skipped)
        times = Spread.of([ours.seconds / theirs.seconds for ours, theirs in zip(outcome.ours_runs, outcome.peer_runs)])
        return self.must.verdict(claim, f"<= {most}x", f"{times}x: {outcome.ours} against {outcome.theirs} s",
                                 times.median <= most and outcome.same, "" if outcome.same else "the answers differ")

    # ---- two ranks ----------------------------------------------------------------------------------------------

    def mrmpi(self):
        context = self.context
        if reason := context.missing("built:wordcount_mrmpi", "program:mpiexec.openmpi"):
            raise data.Missing(reason)
        launcher = ["mpiexec.openmpi", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "-n", "2"]
        theirs = context.peer("mrmpi", [*launcher, context.build / "bench/wordcount_mrmpi", *self.text,
                                        context.scratch / "peer"], before=touch(context))
        ours = self.job("wordcount", self.text, ranks=2, memory=MRMPI_MEMORY)
        outcome = self.must.hold(Contest("wordcount", f"Zipf text, {context.sizes['text']}, 2 ranks",
                                         self.text[0].stat().st_size, ours, theirs))
        self.must.claim_ratio("wordcount on 2 ranks against MR-MPI's with as much memory", outcome, 10)

    def one_rank(self):
        outcome = self.must.pair("wordcount", "2 ranks against 1 rank, 2 workers each",
                                 self.job("wordcount", self.text, ranks=2),
                                 self.job("wordcount", self.text, ranks=1, workers=2), "millrace, 1 rank, 2 workers",
                                 pairs=2 * self.context.pairs)
        self.slower("wordcount, 2 ranks against one with 2 workers", outcome, 1.15)

    # ---- the shuffle --------------------------------------------------------------------------------------------

    def shuffle(self):
        """See docs/scaling.md for what is compared, and why the time is a difference."""
        context, ranks = self.context, 4
        size = "64M" if context.quick else "2G"
        path = context.data.generated("records", size)
        crossing = path.stat().st_size * (ranks - 1) / ranks
        raw = Raw(context, ranks, int(crossing / (ranks * (ranks - 1))))
        sides = {name: self.job("sort", [path], ranks=count, workers=ranks, memory="8G", stage="map", env=env,
                                answer=context.records)
                 for name, count, env in (("ranks", ranks, TRANSPORT), ("one", 1, {}))}
        raw.measure()
        outcome = self.must.pair("sort", f"{size}, map stage of {ranks} ranks against 1 rank with {ranks} workers",
                                 sides["ranks"], sides["one"], f"millrace, 1 rank, {ranks} workers",
                                 pairs=2 * context.pairs)
        raw.measure()
        if outcome.skipped:
            raise process.Failed(outcome.skipped)
        stage, alone = outcome.ours.median, outcome.theirs.median
        added = (statistics.median(run.cpu_seconds for run in outcome.ours_runs) -
                 statistics.median(run.cpu_seconds for run in outcome.peer_runs))
        rate, kept = crossing / max(stage - alone, 1e-9), raw.measure_kept()
        share = rate / raw.rate
        self.must.verdict(
            f"sort of {size} on {ranks} ranks, its shuffle against raw MPI's all-to-all", ">= 0.7 of its rate",
            f"{short(share)}: {short(rate / 1e9)} of {short(raw.rate / 1e9)} GB/s",
            share >= 0.7 and outcome.same,
            f"{short(rate / kept)} of raw MPI that keeps what it receives as a shuffle does, {short(kept / 1e9)} GB/s; "
            f"{short(crossing / MIB)} MiB cross; map stage {short(stage)} s, {short(alone)} s in one process; the "
            f"whole stage has {short(raw.best['seconds'] / stage)} of the raw rate; CPU "
            f"time of a byte that crosses {short(1e9 * added / crossing)} ns, start of MPI included, raw "
            f"{short(1e9 * raw.best['cpu_seconds'] / raw.best['bytes'])} ns; `{raw.best['command']}`")
        self.memory_kept(f"sort of {size} on {ranks} ranks, --memory 8G", outcome.ours_runs, 2 << 30)

    def memory_kept(self, claim, runs, limit):
        """limit: of one rank."""
        largest = max(run.largest_rss_bytes for run in runs)
        spilled = max(run.report.get("spilled_bytes", 0) for run in runs)
        self.must.verdict(f"{claim}, memory of the largest rank", f"<= {1.15 * limit / MIB:.0f} MiB",
                          f"{largest / MIB:.0f} MiB", largest <= 1.15 * limit,
                          f"{spilled / MIB:.0f} MiB spilled; all processes together "
                          f"{max(run.peak_rss_bytes for run in runs) / MIB:.0f} MiB")

    def memory(self):
        """The limit is kept where it hurts: the pairs do not fit."""
        context = self.context
        path = context.data.generated("records", "64M" if context.quick else "2G")
        total = 256 if context.quick else 1024
        tight = self.job("sort", [path], ranks=4, memory=f"{total}M", answer=context.records)
        runs = [tight.run() for _ in range(2)]
        tight.clean()
        self.memory_kept(f"sort on 4 ranks, --memory {total}M", runs, total / 4 * MIB)
        self.must.verdict(f"sort on 4 ranks, --memory {total}M, the parts in order", "sorted",
                          str(runs[0].answer.get("sorted")), all(run.answer.get("sorted") for run in runs))

    # ---- many ranks ---------------------------------------------------------------------------------------------

    def many(self):
        ranks = 8 if self.context.quick else 64
        outcome = self.must.pair("wordcount", f"{ranks} ranks against 1",
                                 self.job("wordcount", self.text, ranks=ranks),
                                 self.job("wordcount", self.text, ranks=1, workers=self.context.workers),
                                 "millrace, 1 rank", pairs=1)
        if outcome.skipped:
            raise process.Failed(outcome.skipped)
        largest = max(run.largest_rss_bytes for run in outcome.ours_runs)
        self.must.verdict(f"wordcount on {ranks} ranks", "the answer of one rank",
                          "the same" if outcome.same else "another one", outcome.same,
                          f"{outcome.ours} s; one rank {outcome.theirs} s; the largest rank {largest / MIB:.0f} MiB, "
                          f"all processes together {outcome.ours_rss / MIB:.0f} MiB")
        small = [self.context.data.generated("zipf", "64K")]
        idle, alone = (self.job("wordcount", small, ranks=count).run() for count in (ranks, 1))
        self.must.verdict(f"memory of a rank with next to nothing to do, {ranks} ranks", "<= 24 MiB",
                          f"{idle.largest_rss_bytes / MIB:.1f} MiB", idle.largest_rss_bytes <= 24 * MIB,
                          f"peak of the largest rank, libraries included; without ranks and MPI "
                          f"{alone.largest_rss_bytes / MIB:.1f} MiB")

    # ---- losses -------------------------------------------------------------------------------------------------

    def four_ranks(self):
        """Name and maker of the jobs on 4 ranks."""
        context = self.context
        records = context.data.generated("records", "64M" if context.quick else "2G")
        return (("wordcount", functools.partial(self.job, "wordcount", self.text, ranks=4)),
                ("sort", functools.partial(self.job, "sort", [records], ranks=4, memory="8G", answer=context.records)))

    def insurance(self):
        for app, make in self.four_ranks():
            outcome = self.must.pair(app, "4 ranks, sent chunks kept against forgotten", make(),
                                     make(env={"MILLRACE_KEEP": "0"}), "millrace, MILLRACE_KEEP=0",
                                     pairs=2 * self.context.pairs)
            self.slower(f"{app} on 4 ranks, what was sent is kept against forgotten", outcome, 1.08)

    def loss(self):
        """Pairs of a run with a loss and one without; each run kills another rank."""
        for app, make in self.four_ranks():
            undisturbed = statistics.median(make().run().seconds for _ in range(3))
            killed = make(kind=Killed, seconds_in=undisturbed / 2, lost=1)
            killed.name = "millrace, a rank killed half-way"
            outcome = self.must.pair(app, "4 ranks, one killed half-way, against undisturbed", killed, make(),
                                     "millrace, undisturbed", pairs=max(4, self.context.pairs))
            self.slower(f"{app} on 4 ranks, one of them killed half-way", outcome, 1.5)

    # ---- what ranks cost ----------------------------------------------------------------------------------------

    def pi(self):
        """Start, of processes and MPI, is the same for any number of terms, and is subtracted."""
        terms = self.context.sizes["rank_terms"]
        make = functools.partial(self.job, "pi", [], answer=apps.named_numbers(()))
        four, one = (make(f"terms={terms}", ranks=count) for count in (4, 1))
        start = {count: statistics.median(make("terms=1000", ranks=count).run().cpu_seconds for _ in range(3))
                 for count in (4, 1)}
        outcome = self.must.pair("pi", f"{terms:,} terms, 4 ranks against 1, a worker each", four, one,
                                 "millrace, 1 rank", functools.partial(apps.close, 1e-13), pairs=2 * self.context.pairs)
        if outcome.skipped:
            raise process.Failed(outcome.skipped)
        pairs = [(four.cpu_seconds, one.cpu_seconds) for four, one in zip(outcome.ours_runs, outcome.peer_runs)]
        share = Spread.of([(one - start[1]) / (four - start[4]) for four, one in pairs])
        whole = Spread.of([one / four for four, one in pairs])
        self.must.verdict(f"pi, {terms:,} terms, 1 -> 4 ranks, by CPU time", ">= 0.97 efficient", f"{share}",
                          share.median >= 0.97 and outcome.same,
                          f"start takes {short(start[4])} and {short(start[1])} s of CPU; with it {whole}; "
                          f"{outcome.ours} against {outcome.theirs} s on {os.cpu_count()} cores")

    def all(self):
        for measure in (self.mrmpi, self.one_rank, self.shuffle, self.memory, self.many, self.insurance, self.loss,
                        self.pi):
            try:
                measure()
            except (data.Missing, process.Failed) as reason:
                name = measure.__name__.replace("_", " ")
                self.must.verdict(f"ranks: {name}", "holds", "not run", False, str(reason))
