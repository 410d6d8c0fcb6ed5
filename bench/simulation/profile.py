"""What the simulation takes from a recorded run: how long tasks took, what they sent on, what was done besides.

A record names its trace, which has each task with its duration (engine/trace.h). Records of the same app on inputs of
several sizes also tell how many different keys an input of a size has: that is what a combining job sends.
"""
import dataclasses
import json
import math
import pathlib

SMALLEST_TEXT = 1 << 20     # bytes of a task; a task over rows is a block at least
PAIR_HEAD = 8               # bytes that a pair has on its way, beyond its text
HEAPS = 0.6                 # different keys grow with this power of the input if just one size was recorded
DISTINCT = 0.99             # of the pairs have keys of their own: nothing was combined
DENSE_VALUE = 32            # bytes of a key in a dense table: three sums and a count, as k-means has


class Unusable(Exception):
    """A record that the simulation cannot use; a sentence."""


@dataclasses.dataclass
class Profile:
    app: str
    units: int                      # of the input: bytes of text, blocks of rows
    input_bytes: int
    smallest: int                   # units of a task
    workers: int                    # that it was recorded with
    rounds: int
    tasks: list                     # of map: [units, seconds]
    reduces: list                   # seconds of each
    reduce_seconds: float           # of reduce, merge and sort tasks together
    partitions: int
    parts: int                      # files of the output
    start_seconds: float            # of the job, outside its stages
    commit_seconds: float
    seconds: float                  # of the job as it was recorded
    distinct: list                  # [units, different keys], in order; empty: pairs are not combined
    pair_bytes: float               # on their way
    unit_pairs: float               # pairs that a unit emits
    table_bytes: float = 0          # dense: what a block sends at the end of a round; 0: pairs are sent

    @property
    def dense(self):
        return self.table_bytes > 0

    @property
    def unit_seconds(self):
        """Of one worker."""
        return sum(seconds for _, seconds in self.tasks) / sum(units for units, _ in self.tasks)

    def sent_bytes(self, units):
        """What one worker sends on, also to itself, that maps so many units in one epoch."""
        if self.dense or units <= 0:
            return 0
        pairs = units * self.unit_pairs
        return self.pair_bytes * (min(pairs, self._keys(units)) if self.distinct else pairs)

    def _keys(self, units):
        """On a line through the recorded points, both axes logarithmic."""
        points = [(math.log(x), math.log(keys)) for x, keys in self.distinct]
        at = math.log(units)
        if len(points) == 1:
            return math.exp(points[0][1] + HEAPS * (at - points[0][0]))
        i = next((i for i in range(1, len(points) - 1) if points[i][0] >= at), len(points) - 1)
        (x0, y0), (x1, y1) = points[i - 1], points[i]
        return math.exp(y0 + (y1 - y0) / (x1 - x0) * (at - x0))

    def recorded_bytes(self):
        """What all workers sent on in the recorded run."""
        return self.workers * self.sent_bytes(self.units / self.workers)


def _spans(record):
    path = record.get("trace")
    if not path:
        raise Unusable(f"run {record.get('run')} left no trace")
    try:
        trace = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as reason:
        raise Unusable(f"the trace of run {record.get('run')}: {reason}") from reason
    if trace["otherData"].get("dropped"):
        raise Unusable(f"the trace of run {record['run']} has lost events: take a smaller input")
    return [event for event in trace["traceEvents"] if event["ph"] == "X" and event.get("cat") == "task"]


def of_record(path):
    """path: of a record (`millrace run --json` prints it), of one rank without devices."""
    try:
        record = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as reason:
        raise Unusable(f"{path}: {reason}") from reason
    if record.get("exit") != 0 or record.get("devices") or record.get("ranks", 1) != 1:
        raise Unusable(f"{path}: a run of one rank is needed that ended well and had no devices")
    spans = _spans(record)
    tasks = [[span["args"]["bytes"], span["dur"] / 1e6] for span in spans if span["name"] == "map"]
    if not tasks or not sum(units for units, _ in tasks):
        raise Unusable(f"{path}: its trace has no map task")
    rounds = max(1, record["rounds"])
    units = sum(units for units, _ in tasks) // rounds
    others = [span for span in spans if span["name"] not in ("map", "flush")]
    stages = {stage["name"]: stage["seconds"] for stage in record["stages"]}
    keys, pairs = record["keys"], record["pairs"]
    dense = pairs == 0
    combined = not dense and keys < DISTINCT * pairs
    return Profile(
        app=record["app"], units=units, input_bytes=record["input_bytes"],
        smallest=SMALLEST_TEXT if units == record["input_bytes"] else 1, workers=record["workers"], rounds=rounds,
        tasks=tasks, reduces=[span["dur"] / 1e6 for span in others if span["name"] == "reduce"],
        reduce_seconds=sum(span["dur"] for span in others) / 1e6, partitions=record["partitions"],
        parts=record["parts"], start_seconds=max(0.0, record["seconds"] - sum(stages.values())),
        commit_seconds=stages.get("commit", 0.0), seconds=record["seconds"],
        distinct=[[units, keys]] if combined else [],
        pair_bytes=PAIR_HEAD + (record["output_bytes"] / keys if keys else 0),
        unit_pairs=pairs / units, table_bytes=DENSE_VALUE * max(1, keys) if dense else 0)


def of_records(paths):
    """One profile of each app: task times of its largest input, different keys of all of them."""
    found = {}
    for path in paths:
        profile = of_record(path)
        known = found.get(profile.app)
        larger, smaller = (known, profile) if known and known.units >= profile.units else (profile, known)
        if smaller and larger.distinct:
            larger.distinct = [list(point) for point in sorted({tuple(point) for point in
                                                                larger.distinct + smaller.distinct})]
        found[profile.app] = larger
    return found


def to_dict(profile):
    return dataclasses.asdict(profile)


def of_dict(fields):
    return Profile(**fields)
