"""What the machine allows at best, measured by bench/limits with as many threads as there are workers."""
import json

from harness import process
from harness.contest import Spread, say, short

REPEATS = 3


def _measure(command):
    """The first run is not counted: it may touch memory that the machine never used before."""
    reports = [json.loads(process.run(command).stdout) for _ in range(1 + REPEATS)][1:]
    rates = Spread.of([report["bytes"] / report["seconds"] for report in reports])
    return {"bytes": reports[0]["bytes"], "seconds": min(r["seconds"] for r in reports),
            "bytes_per_second": rates.median, "least": rates.least, "most": rates.most, "check": reports[0]["check"],
            "command": process.shown(command)}


def measure(context, text):
    """text: a file in the page cache. Returns name -> numbers."""
    workers, size = str(context.workers), str(min(text.stat().st_size, 1 << 30))
    programs = context.build / "bench"
    scratch = context.scratch / "limit.tmp"
    limits = {}
    say("limits of this machine")

    def add(name, program, *arguments):
        limits[name] = _measure([programs / program, *arguments])
        say(f"  {name}: {short(limits[name]['bytes_per_second'] / 1e9)} GB/s")

    for way in ("mmap", "populate", "pread"):
        add(f"{way} + sum", "limit_read", way, text, workers)
    for way in ("mmap", "pread"):
        add(f"{way} + sum, 1 thread", "limit_read", way, text, "1")
    add("memory sum", "limit_memory", "sum", size, workers)
    add("memcpy", "limit_memory", "copy", size, workers)
    for way in ("cached", "synced", "direct"):
        add(f"write {way}", "limit_write", way, scratch, size, workers)
    add("read direct", "limit_read", "direct", scratch, workers)
    scratch.unlink()
    amount = str(1 << (30 if context.quick else 33))
    one, all_ = (_measure([programs / "limit_memory", "compute", amount, threads]) for threads in ("1", workers))
    limits["compute, all threads against one"] = {"ratio": one["seconds"] / all_["seconds"], "command": all_["command"]}
    say(f"  compute, {workers} threads against 1: {short(one['seconds'] / all_['seconds'])}x")
    return limits
