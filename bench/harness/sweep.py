"""How Millrace's time follows workers, input size, memory limit and ranks. plot.py draws what these return."""
import dataclasses
import functools
import statistics
import subprocess

from harness import apps, process, scaling
from harness.contest import Spread, say, short
from harness.data import UNITS, Missing, size_bytes


def _point(side, repeats):
    runs = []
    for _ in range(repeats):
        runs.append(side.run())
    side.clean()
    spread = Spread.of([run.seconds for run in runs])
    return {"seconds": spread.median, "least": spread.least, "most": spread.most,
            "cpu_seconds": statistics.median(run.cpu_seconds for run in runs),
            "job_seconds": statistics.median(run.report.get("seconds", 0) for run in runs),
            "peak_rss_bytes": max(run.peak_rss_bytes for run in runs),
            "largest_rss_bytes": max(run.largest_rss_bytes for run in runs),
            "spilled_bytes": runs[0].report.get("spilled_bytes", 0), "command": side.shown()}


def _series(label, unit, points, repeats):
    """points: (x, side) pairs. A point that fails is left out, and named."""
    series = {"label": label, "x": unit, "points": []}
    for x, side in points:
        try:
            series["points"].append({"value": x, **_point(side, repeats)})
            say(f"  {label}, {x:g} {unit}: {short(series['points'][-1]['seconds'])} s")
        except (process.Failed, Missing) as failure:
            say(f"  {label}, {x:g} {unit}: {failure}")
    return series


def workers(context):
    """x: workers; each app at the size of its contest."""
    text, read = context.text(), apps.named_numbers(())
    counts = sorted({1, 2, *(w for w in (4, 8, 16, 32, 64, 128) if w <= context.workers), context.workers})
    jobs = [("wordcount", [text], [], {}),
            ("string_match", [text], [f"patterns={context.data.patterns(text, 100)}"], {"answer": read}),
            ("histogram", [text], [], {}),
            ("black_scholes", [context.options()], [], {"answer": read}),
            ("pi", [], [f"terms={context.sizes['terms']}"], {"answer": read})]
    for app, inputs, params, more in jobs:
        make = functools.partial(context.ours, app, inputs, *params, **more)
        yield _series(app, "workers", [(n, make(workers=n)) for n in counts], context.pairs)


def input_size(context):
    """x: MiB of text; Millrace beside the peers that are here."""
    sizes = ["4M", "16M", "64M"] if context.quick else ["16M", "64M", "256M", "1G", "4G"]
    ours, theirs = [], {"duckdb": [], "polars": []}
    for size in sizes:
        sized = dataclasses.replace(context)
        sized.sizes = {**context.sizes, "text": size}
        mib = size_bytes(size) / UNITS["M"]
        ours.append((mib, sized.ours("wordcount", [sized.text()])))
        for peer in theirs:
            if not context.missing(f"python:{peer}") and size_bytes(size) <= 1 << 30:
                theirs[peer].append((mib, sized.python_peer(peer, f"wordcount_{peer}.py", sized.text())))
    yield _series("millrace", "MiB of text", ours, context.pairs)
    for peer, points in theirs.items():
        if points:
            yield _series(peer, "MiB of text", points, min(context.pairs, 2))


def memory_limit(context):
    """x: --memory in MiB. The largest limit needs no spill."""
    limits = [64, 128, 256] if context.quick else [128, 192, 256, 384, 512, 768, 1024, 2048]
    text = context.text()
    records = context.data.generated("records", "64M" if context.quick else "1G")
    for app, path, answer in (("wordcount", text, None), ("sort", records, context.records)):
        make = functools.partial(context.ours, app, [path], answer=answer)
        yield _series(app, "MiB of --memory", [(limit, make(memory=f"{limit}M")) for limit in limits], context.pairs)


def _over_ranks(context, jobs, grows):
    for app, sides in jobs(context):
        series = _series(app, "ranks", sides, min(context.pairs, 3))
        if series["points"] and series["points"][0]["value"] == 1:
            scaling.add_efficiency(context, series["points"], grows)
        yield series


def ranks_strong(context):
    """x: ranks of one worker; one input for all."""
    yield from _over_ranks(context, scaling.strong, False)


def ranks_weak(context):
    """x: ranks of one worker; as much input for each."""
    yield from _over_ranks(context, scaling.weak, True)


SWEEPS = {sweep.__name__: sweep for sweep in (workers, input_size, memory_limit, ranks_strong, ranks_weak)}


def run_all(context, journal, only):
    """only: beginnings of names; empty for all."""
    for name, sweep in SWEEPS.items():
        if only and not name.startswith(tuple(only)):
            continue
        say(f"\nsweep: {name.replace('_', ' ')}")
        try:
            for series in sweep(context):
                journal.add(journal.sweeps.setdefault(name, []), series)
        except Missing as reason:
            say(f"  skipped: {reason}")
    if any(series["points"] for name, found in journal.sweeps.items() if name.startswith("ranks_") for series in found):
        journal.recorded = scaling.compare(context, journal.sweeps)
        journal.save()


def plot(context, results, folder):
    """Draws with matplotlib, in a process of its own: this one stays small."""
    if context.missing("python:matplotlib"):
        say("no plots: matplotlib is not installed; run bench/setup")
        return
    subprocess.run([context.python, context.root / "bench/harness/plot.py", results, folder], check=False)
