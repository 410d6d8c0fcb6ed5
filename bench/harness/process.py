"""Runs one command and measures it.

Seconds are wall-clock time of the whole process, from fork to exit. Peak memory is that of the process tree: for a
single process what the kernel counted, for several the largest sum that a look every 20 ms saw; there, pages that
processes share count once for each.
"""
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading

LOOK_SECONDS = 0.02
PAGE = os.sysconf("SC_PAGE_SIZE")
measure = None  # path of the program that forks and counts; see measure.c for why not here


class Failed(Exception):
    """A command ended with a status other than zero, or never."""


@dataclasses.dataclass
class Finished:
    seconds: float
    peak_rss_bytes: int
    cpu_seconds: float
    stdout: str


def _children(pid):
    found = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            with open(f"{task.path}/children") as file:
                found += [int(child) for child in file.read().split()]
    except (OSError, ValueError):
        pass
    return found


def _descendants_rss(pid):
    """Resident bytes of all descendants of a process, and how many those are."""
    total, count, todo = 0, 0, _children(pid)
    while todo:
        process = todo.pop()
        try:
            with open(f"/proc/{process}/statm") as file:
                total += int(file.read().split()[1]) * PAGE
        except (OSError, IndexError):
            continue
        count += 1
        todo += _children(process)
    return total, count


class _Watch(threading.Thread):
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.processes, self.over = pid, 0, 0, threading.Event()

    def run(self):
        while not self.over.wait(LOOK_SECONDS):
            total, count = _descendants_rss(self.pid)
            self.peak, self.processes = max(self.peak, total), max(self.processes, count)


def shown(command, env=None):
    """The command as a person would type it."""
    words = command if isinstance(command, str) else shlex.join(str(word) for word in command)
    return " ".join([f"{name}={value}" for name, value in (env or {}).items()] + [words])


def run(command, env=None, timeout=3600):
    """command: a list of words, or a string for sh (a pipeline). Raises Failed with the end of standard error."""
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile() as report:
        child = subprocess.Popen([measure, report.name, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 start_new_session=True, env={**os.environ, **(env or {})})
        watch = _Watch(child.pid)
        watch.start()
        try:
            child.wait(timeout)
        except BaseException as reason:     # also Ctrl-C: leave nothing running
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if isinstance(reason, subprocess.TimeoutExpired):
                raise Failed(f"{shown(words, env)}: stopped after {timeout} s") from reason
            raise
        finally:
            watch.over.set()
            watch.join()
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        cost = json.loads(report.read() or '{"status": 127}')
    if cost["status"] != 0:
        raise Failed(f"{shown(words, env)}: status {cost['status']}: {stderr.strip()[-600:]}")
    peak = cost["peak_rss_bytes"]
    return Finished(cost["seconds"], max(peak, watch.peak) if watch.processes > 1 else peak,
                    cost["user_seconds"] + cost["system_seconds"], stdout)
