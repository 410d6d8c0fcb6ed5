"""Two sides in turn, A B A B: a machine that gets slower or faster does so for both. The ratio is taken by pair."""
import dataclasses
import statistics
import sys
import time
from typing import Callable

from harness import process
from harness.data import Missing

SHORT = 5   # seconds of a pair


@dataclasses.dataclass
class Spread:
    """Median, least and most of a few numbers."""
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers):
        return cls(statistics.median(numbers), min(numbers), max(numbers))

    def __str__(self):
        return f"{short(self.median)} ({short(self.least)}..{short(self.most)})"


def short(number):
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


@dataclasses.dataclass
class Contest:
    app: str
    data: str                       # what the input is, for people
    input_bytes: int
    ours: object
    peer: object
    unit: str = "s"                 # of the seconds: "s", "s a round"
    same: Callable = lambda ours, peer: ours == peer

    def __post_init__(self):
        if not self.peer.inputs:
            self.peer.inputs = self.ours.inputs


@dataclasses.dataclass
class Outcome:
    app: str
    data: str
    input_bytes: int
    unit: str
    peer: str
    ours_command: str
    peer_command: str
    ours_runs: list
    peer_runs: list
    same: bool
    answer: dict
    note: str = ""
    skipped: str = ""

    @property
    def ours(self):
        return Spread.of([run.seconds for run in self.ours_runs])

    @property
    def theirs(self):
        return Spread.of([run.seconds for run in self.peer_runs])

    @property
    def ratio(self):
        """Above 1: Millrace is faster."""
        return Spread.of([b.seconds / a.seconds for a, b in zip(self.ours_runs, self.peer_runs)])

    @property
    def ours_rss(self):
        return max(run.peak_rss_bytes for run in self.ours_runs)

    @property
    def peer_rss(self):
        return max(run.peak_rss_bytes for run in self.peer_runs)


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def hold(contest, pairs, budget):
    """Runs the pairs; stops early, after a whole pair, when they have taken `budget` seconds. Each answer is compared:
    ours with the peer's in the same pair, and ours with ours of the pair before. In front of short pairs one is run
    that is not counted: it may touch memory that the machine never used before, at a tenth of the usual speed."""
    outcome = Outcome(contest.app, contest.data, contest.input_bytes, contest.unit, contest.peer.name,
                      contest.ours.shown(), contest.peer.shown(), [], [], True, {}, contest.peer.only)
    begin = time.monotonic()
    say(f"{contest.app}, {contest.data}: against {contest.peer.name}")
    try:
        ours, theirs = contest.ours.run(), contest.peer.run()
        if pairs > 1 and ours.process_seconds + theirs.process_seconds < SHORT:
            ours, theirs = contest.ours.run(), contest.peer.run()
        for pair in range(pairs):
            if pair and (time.monotonic() - begin) * (pair + 1) / pair > budget:
                say(f"  stopped after {pair} of {pairs} pairs: {budget} s are used up")
                break
            if pair:
                ours, theirs = contest.ours.run(), contest.peer.run()
            same = contest.same(ours.answer, theirs.answer) and outcome.answer in ({}, ours.answer)
            outcome.same &= same
            outcome.answer = ours.answer
            outcome.ours_runs.append(ours)
            outcome.peer_runs.append(theirs)
            say(f"  {pair + 1}: {short(ours.seconds)} {contest.unit} against {short(theirs.seconds)}"
                + ("" if same else f"; DIFFERENT ANSWERS: {ours.answer} and {theirs.answer}"))
    except (process.Failed, Missing, OSError) as failure:
        outcome.skipped = str(failure)
        say(f"  failed: {failure}")
    finally:
        contest.ours.clean()
        contest.peer.clean()
    return outcome
