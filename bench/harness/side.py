"""One side of a comparison: a command, how its answer is read, and what counts as its time.

Time is the whole process for Millrace and for native programs. A peer that has to start an interpreter or a JVM first
reports the seconds of its query itself ("seconds" in its last line of output), and those count: see peers/peer.py.
"""
import dataclasses
import json
import os
import pathlib
import shutil
from typing import Callable

from harness import process
from harness.data import warm


@dataclasses.dataclass
class Sample:
    seconds: float              # what counts, see above
    process_seconds: float
    peak_rss_bytes: int
    cpu_seconds: float
    report: dict                # what the command printed as JSON
    answer: dict = dataclasses.field(default_factory=dict)
    largest_rss_bytes: int = 0  # of one process


def last_object(text):
    for line in reversed(text.strip().split("\n")):
        if line.startswith("{") or line.startswith("}"):
            try:
                return json.loads(line)
            except ValueError:
                break
    try:
        return json.loads(text)
    except ValueError:
        return {}


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclasses.dataclass
class Command:
    name: str
    command: list | str
    answer: Callable = lambda report, out: {}   # (what it printed, where it wrote) -> what must be equal
    out: pathlib.Path | None = None             # removed before each run
    env: dict = dataclasses.field(default_factory=dict)
    inner: bool = False                         # the command's own seconds count
    inputs: list = dataclasses.field(default_factory=list)      # files and folders that it reads; a peer's: ours
    only: str = ""                              # why this peer does less or more work than the app, if so
    timeout: float = 3600                       # seconds
    before: list = dataclasses.field(default_factory=list)      # a command that runs just before; it does not count

    def shown(self):
        return process.shown(self.command, self.env)

    def run(self):
        """One run; what lies in self.out afterwards stays there until the next. It finds its inputs in the page cache:
        a machine may give pages back at any time, and Millrace reads what is not cached past the cache, so one cold
        run would make all later ones cold."""
        if self.out:
            remove(self.out)
        for path in self.inputs:
            warm(path)
        os.sync()  # nobody writes back the bytes of the run before
        if self.before:
            process.run(self.before)
        done = process.run(self.command, self.env, self.timeout)
        report = last_object(done.stdout)
        seconds = report.get("seconds", done.seconds) if self.inner else done.seconds
        sample = Sample(seconds, done.seconds, done.peak_rss_bytes, done.cpu_seconds, report,
                        largest_rss_bytes=done.largest_rss_bytes)
        sample.answer = self.answer(report | {"stdout": done.stdout}, self.out)
        return sample

    def clean(self):
        if self.out:
            remove(self.out)


@dataclasses.dataclass
class PerRound:
    """Seconds of one round of an iteration: the difference of a run with many rounds and one with few. Start, reading
    and writing are in both and cancel."""
    few: Command
    many: Command
    rounds: int                                 # how many more rounds `many` is asked for; it may need fewer

    name = property(lambda self: self.few.name)
    only = property(lambda self: self.few.only)
    inputs = property(lambda self: self.few.inputs)

    def shown(self):
        return f"({self.many.shown()}) minus ({self.few.shown()}), by {self.rounds}"

    def run(self):
        few = self.few.run()
        sample = self.many.run()
        if sample.seconds <= few.seconds:
            raise process.Failed(f"{self.rounds} rounds more took no longer: too little input to measure a round")
        done = sample.report.get("rounds", self.rounds) - few.report.get("rounds", 0)
        sample.seconds = (sample.seconds - few.seconds) / done
        return sample

    def clean(self):
        self.many.clean()
