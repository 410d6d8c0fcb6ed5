"""The same jobs on 1, 2, 4 and 8 ranks: strong and weak scaling, and what the simulation says about the same runs.

Ranks on one machine share its cores: beyond as many ranks as cores nothing gets faster, and what counts is how much
CPU time all processes together take (launcher and progress of MPI too). Efficiency by CPU time is the CPU time of one
rank / that of N for the same input; for an input that grows with the ranks, N times the CPU time of one / that of N.
Starting N processes and MPI takes the same whatever the job: it is measured by a job with next to nothing to do, and
efficiency is given with it and without. A rank has one worker.
"""
import dataclasses
import functools
import statistics

from harness import apps, data, machine, process, ranks
from harness.contest import say
from simulation import model
from simulation import profile as profiles

RANKS = (1, 2, 4, 8)
SEEDS = 3
STARTS = 3
FEW_TERMS = 1000
RAW_BYTES = 256 << 20
RAW_CHUNK = 256 << 10
# Bytes (or terms) of weak scaling for each rank; strong scaling has the input of 8 ranks for all.
EACH = {"pi": 10**10 // 8, "kmeans": 22_400_000 * 12 // 8, "wordcount": 128 << 20, "sort": 256 << 20}
EACH_QUICK = {"pi": 10**8 // 8, "kmeans": 500_000 * 12 // 8, "wordcount": 8 << 20, "sort": 8 << 20}


def _named(size):
    """As people write it, so that inputs have the names that the other comparisons give them."""
    for unit, name in ((1 << 30, "G"), (1 << 20, "M")):
        if size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


def job(context, app, count, size, **more):
    """app on so many ranks, with an input of this size (bytes, or terms)."""
    make, generated = functools.partial(ranks.job, context, ranks=count, **more), context.data.generated
    if app == "pi":
        return make("pi", [], f"terms={size}", answer=apps.named_numbers(()))
    if app == "kmeans":
        return make("kmeans", [generated("points", _named(size))], "k=100", "dim=3", "rounds=10",
                    answer=apps.centre_table)
    if app == "wordcount":
        return make("wordcount", [generated("zipf", _named(size))])
    return make("sort", [generated("records", _named(size))], memory="8G", answer=context.records)


def strong(context):
    """App and (ranks, side) pairs: one input for all."""
    for app, each in (EACH_QUICK if context.quick else EACH).items():
        yield app, [(count, job(context, app, count, each * RANKS[-1])) for count in RANKS]


def weak(context):
    """The same, with as much input for each rank."""
    for app, each in (EACH_QUICK if context.quick else EACH).items():
        yield app, [(count, job(context, app, count, each * count)) for count in RANKS]


def start_cpu_seconds(context, count):
    """What a job takes that has next to nothing to do: launcher, processes, MPI, plan and commit."""
    side = ranks.job(context, "pi", [], f"terms={FEW_TERMS}", ranks=count)
    seconds = statistics.median(side.run().cpu_seconds for _ in range(STARTS))
    side.clean()
    return seconds


def add_efficiency(context, points, grows):
    """By CPU time, to each point; the first one is of one rank."""
    starts = [start_cpu_seconds(context, point["value"]) for point in points]
    alone, alone_start = points[0]["cpu_seconds"], starts[0]
    for point, start in zip(points, starts):
        times = point["value"] if grows else 1
        point["start_cpu_seconds"] = start
        point["efficiency_with_start"] = times * alone / point["cpu_seconds"]
        point["efficiency"] = times * (alone - alone_start) / max(point["cpu_seconds"] - start, 1e-9)


# ---- and simulated ----------------------------------------------------------------------------------------------


def network(context):
    """What the simulation has to know of this machine's network, as the raw program finds it between two ranks."""
    found = ranks.all_to_all(context, 2, "nap", RAW_BYTES >> (5 if context.quick else 0), RAW_CHUNK)
    preset = model.Cluster(nodes=1, workers=1)
    return {"latency": found["latency_seconds"], "bandwidth": found["bytes"] / found["seconds"] / 2,
            "byte_cpu": found["cpu_seconds"] / found["bytes"], "message": preset.message, "request": preset.request,
            "rename": preset.rename}


def recorded(context):
    """Profiles of one rank with as many workers as there are cores: all cores are busy, as they are with more ranks.
    wordcount on two sizes, which tells how many different keys a size has."""
    found = {}
    for app, each in (EACH_QUICK if context.quick else EACH).items():
        sizes = [each, each * RANKS[-1]] if app == "wordcount" else [each * RANKS[-1]]
        records = []
        for size in sizes:
            side = job(context, app, 1, size, workers=machine.cores())
            records.append(side.run().report["record"])
            side.clean()
        found |= profiles.of_records(records)
    return found


def simulated(profile, known, count, units=None):
    """Seconds of the job on so many ranks with a worker each that share this machine's cores."""
    cluster = model.Cluster(count, 1, cores=machine.cores(), **known)
    times = sorted(model.simulate(profile, cluster, units, seed).seconds for seed in range(1, SEEDS + 1))
    return times[SEEDS // 2]


def compare(context, sweeps):
    """Adds to each point of the measured sweeps what the simulation says, and returns what it was told."""
    try:
        known, found = network(context), recorded(context)
    except (data.Missing, process.Failed, profiles.Unusable) as reason:
        say(f"  not simulated: {reason}")
        return {}
    for name, grows in (("ranks_strong", False), ("ranks_weak", True)):
        for series in sweeps.get(name, []):
            profile = found.get(series["label"])
            for point in series["points"] if profile else []:
                units = round(profile.units * point["value"] / RANKS[-1]) if grows else None
                point["simulated_seconds"] = simulated(profile, known, point["value"], units)
                point["simulation_error"] = point["simulated_seconds"] / point["job_seconds"] - 1
                say(f"  {series['label']}, {point['value']} ranks{', weak' if grows else ''}: "
                    f"{point['job_seconds']:.3f} s measured, {point['simulated_seconds']:.3f} s simulated")
    return {"network": known, "profiles": {app: dataclasses.asdict(profile) for app, profile in found.items()}}
