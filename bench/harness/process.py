"""Runs one command and measures it.

Seconds are wall-clock time of the whole process, from fork to exit. Peak memory is that of the process tree: for a
single process what the kernel counted, for several the largest sum that a look every 20 ms saw; there, pages that
processes share count once for each. The largest process of several is known by its own peak, which the kernel keeps: a
look misses only what it gained in its last 20 ms. Where there are so many processes that looking takes long, looks are
rarer: they take a tenth of the time of a core at most.
"""
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time

LOOK_SECONDS = 0.02
LOOK_SHARE = 0.1
measure = None  # path of the program that forks and counts; see measure.c for why not here


class Failed(Exception):
    """A command ended with a status other than zero, or never."""


@dataclasses.dataclass
class Finished:
    seconds: float
    peak_rss_bytes: int
    cpu_seconds: float
    stdout: str
    largest_rss_bytes: int      # of one process


def _children(pid):
    found = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            with open(f"{task.path}/children") as file:
                found += [int(child) for child in file.read().split()]
    except (OSError, ValueError):
        pass
    return found


def _memory_of(process):
    """Resident bytes of a process now, and at most so far; nothing of one that has ended."""
    now = most = 0
    with open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                most = int(line.split()[1]) << 10
            elif line.startswith("VmRSS:"):
                now = int(line.split()[1]) << 10
                break
    return now, most


class _Watch(threading.Thread):
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.largest, self.processes, self.over = pid, 0, 0, 0, threading.Event()

    def run(self):
        wait = LOOK_SECONDS
        while not self.over.wait(wait):
            begin = time.thread_time()
            self.look()
            wait = max(LOOK_SECONDS, (time.thread_time() - begin) / LOOK_SHARE)

    def look(self):
        """At all descendants."""
        total, count, todo = 0, 0, _children(self.pid)
        while todo:
            process = todo.pop()
            try:
                now, most = _memory_of(process)
            except (OSError, ValueError):
                continue
            total, count = total + now, count + 1
            self.largest = max(self.largest, most)
            todo += _children(process)
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
                    cost["user_seconds"] + cost["system_seconds"], stdout, max(peak, watch.largest))
