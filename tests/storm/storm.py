#!/usr/bin/env python3
"""storm.py: jobs of several ranks, of which ranks, devices and nodes die at random moments. Each of them must end with
the answer that it has when nobody dies, to the byte, and leave nothing: no process, no file in a burst directory,
nothing beside the output.

    storm.py bounded                    a minute's worth: ctest
    storm.py long                       500 of them and more: ./test.sh --storm
    storm.py SCENARIO [COUNT]           so many of one
    storm.py SCENARIO --again SEED      one that failed
    storm.py ... --seed N               other ones; the day's number is the default of long

A run is its scenario and its seed: from them come the app, the number of ranks, and of spares among them, their
memory, who dies, when, and of what (strikes.py). Of one that fails the folder is kept, with what was done, what it
said and, if it hung, all stacks. MILLRACE_STORM_SAYS=1: a line of each run.

This process looks at the clock 20 times a second. Where it sees that the machine as a whole stood still for longer
than ranks have patience, a run that failed says nothing, and is done again."""
import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cluster"))

import strikes  # noqa: E402
from hosts import Skip  # noqa: E402
from jobs import APPS, DEADLINE, DEVICE_APPS, MILLRACE, RANK_MEMORY, Data, Failed, NotBegun, Run  # noqa: E402
from slurm import Slurm  # noqa: E402

MODULE = os.environ.get("MILLRACE_MPI_MODULE",
                        os.path.join(os.path.dirname(MILLRACE), "..", "lib", "millrace", "millrace_mpi.so"))
OPENCL = os.environ.get("OCL_ICD_VENDORS", "")
# name: (runs of the long storm, of the bounded one)
SCENARIOS = {"kill": (150, 6),      # any ranks are killed
             "first": (110, 4),     # rank 0 among them, killed or stopped
             "stop": (80, 3),       # ranks are stopped, for shorter or longer than the deadline, or for ever
             "start": (60, 3),      # ranks are killed while MPI starts
             "helper": (40, 1),     # device processes are killed
             "node": (60, 1),       # whole nodes under Slurm
             "link": (30, 1)}       # the network of one is cut for a while
NODES = 4
WORKERS = ("cpu=0,device=all", "cpu=1,device=all")     # of ranks with devices
BOUNDED_BYTES, LONG_BYTES = 16 << 20, 48 << 20
KEEPS = ({}, {"MILLRACE_KEEP": "0"}, {"MILLRACE_KEEP": "1"})       # what was sent: engine/outbox.c
TURNS = 10              # of a run while the machine stands still
SETTLES = 3             # seconds that Slurm has to see that a job has ended


class Clock(threading.Thread):
    """Notices when the whole machine stands still."""
    EVERY = 0.05

    def __init__(self):
        super().__init__(daemon=True)
        self.gaps = []

    def run(self):
        last = time.monotonic()
        while True:
            time.sleep(self.EVERY)
            now = time.monotonic()
            if now - last > DEADLINE / 4:
                self.gaps.append((now, now - last))
            last = now

    def longest(self, since):
        return max((gap for moment, gap in self.gaps if moment >= since), default=0.0)


class Storm:
    def __init__(self, folder, size):
        self.folder = folder
        self.data = Data(folder, size)
        self.clock = Clock()
        self.clock.start()
        self.lengths = {}               # of jobs that nobody disturbs, in seconds from begin to end
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.slurm = None

    # ---- one run

    def make(self, scenario, seed, folder):
        """The run, and the generator with which it goes on."""
        rng = random.Random(f"{scenario} {seed}")
        app, more, environment = rng.choice(sorted(APPS)), [], {}
        if scenario in ("node", "link"):
            nodes = [f"n{number + 1}" for number in range(rng.randint(2, NODES))]
            ranks = len(nodes) * rng.choice((1, 2))
            return Run(folder, self.data, app, ranks, ["--workers", "1"], dict(KEEPS[seed % len(KEEPS)]), self.slurm,
                       nodes), rng
        ranks = rng.randint(2, 8)
        spares = min(rng.choice((0, 0, 0, 1, 2)), ranks - 1) if scenario != "helper" else 0
        if rng.random() < {"kmeans": 0, "kmeans of many": 1}.get(app, 0.5):
            more += ["--memory", str((ranks - spares) * RANK_MEMORY)]
        if app == "sort":
            more += rng.choice(([], ["--parts", "8"], ["--parts", "13"]))
        if scenario == "helper":
            app, ranks, more = rng.choice(sorted(DEVICE_APPS)), rng.randint(2, 4), ["--workers", rng.choice(WORKERS)]
            environment = {"MILLRACE_DEVICE_BACKOFF_MS": "10", "MILLRACE_DEVICE_FORGET_MS": "0",
                           "XDG_CACHE_HOME": os.path.join(self.folder, "cache"), "MILLRACE_TOKENS": folder + ".tokens"}
        environment.update(KEEPS[seed % len(KEEPS)])
        return Run(folder, self.data, app, ranks, more, environment, spares=spares), rng

    def length(self, scenario, seed, run):
        """How long such a job is when nobody disturbs it; that must end well, too."""
        kind = (run.slurm is not None, scenario == "helper", run.app)
        if kind not in self.lengths:
            calm = self.make(scenario, seed, run.folder + ".calm")[0]
            try:
                calm.start()
                strikes.await_begin(calm)
                begun = time.monotonic()
                strikes.follow(calm, [], None)
                self.lengths[kind] = max(0.1, time.monotonic() - begun)
                calm.judge()
            except Failed as problem:
                self.keep(scenario, seed, calm, f"undisturbed, {problem}")
                raise
            finally:
                calm.kill_all()
            shutil.rmtree(calm.folder)
        return self.lengths[kind]

    def strike(self, scenario, run, rng, length):
        """How many hits there were, and which nodes died."""
        if scenario == "kill":
            return strikes.strike_ranks(run, rng, length), ()
        if scenario == "first":
            return strikes.strike_ranks(run, rng, length, stops=0.25, first=True), ()
        if scenario == "stop":
            return strikes.strike_ranks(run, rng, length, stops=0.8), ()
        if scenario == "start":
            return strikes.strike_at_start(run, rng), ()
        if scenario == "helper":
            return strikes.strike_helpers(run, rng, length), ()
        if scenario == "node":
            dead = strikes.strike_nodes(run, rng, length)
            return len(dead), dead
        return strikes.strike_link(run, rng, length), ()

    def once(self, scenario, seed):
        """One run, from its seed to the judgement: whether it was struck at all."""
        run, rng = self.make(scenario, seed, os.path.join(self.folder, f"{scenario}-{seed}"))
        try:
            length = self.length(scenario, seed, run)
            began = time.monotonic()
            hits, dead = self.strike(scenario, run, rng, length)
            stats = run.judge(dead)
        except BaseException as problem:
            self.keep(scenario, seed, run, problem)
            raise
        finally:
            run.kill_all()
            self.repair(run)
        if os.environ.get("MILLRACE_STORM_SAYS"):
            print(f"{scenario} {seed}: {run.app}, {run.ranks} ranks, lost {stats.get('ranks_lost')}, "
                  f"spares {run.spares}, used {stats.get('spares_used')}, "
                  f"{time.monotonic() - began:.1f} s: {'; '.join(run.did)}", flush=True)
        with self.lock:
            self.counts["ranks lost"] += stats.get("ranks_lost", 0)
            self.counts["spares used"] += stats.get("spares_used", 0)
            self.counts["tasks on devices"] += stats.get("device_tasks", 0)
            self.counts["devices failed"] += stats.get("device_failures", 0)
        shutil.rmtree(run.folder)
        shutil.rmtree(run.folder + ".tokens", ignore_errors=True)
        return hits > 0

    def repair(self, run):
        """Nodes that died come back, with empty disks; so does what Slurm gave up while its cable was out."""
        if run.slurm is None:
            return
        end = time.monotonic() + SETTLES
        while any(state not in ("idle", "down") for state in run.slurm.states().values()) and time.monotonic() < end:
            time.sleep(0.2)
        states = run.slurm.states()
        for name in run.nodes:
            host = run.slurm.hosts[name]
            if host.is_up() and states[name] != "idle":
                host.kill()
            shutil.rmtree(os.path.join(host.disk, "burst"), ignore_errors=True)
            if not host.is_up():
                run.slurm.boot(name)

    def keep(self, scenario, seed, run, problem):
        gap = self.clock.longest(run.began)
        if isinstance(problem, strikes.Hang):
            run.stacks()
        job = " ".join([f"{run.app}, {run.ranks} ranks, {run.spares} of them spares", *run.nodes, *run.more])
        lines = [f"{scenario} {seed}: {problem}", job, *run.did, f"longest pause of the machine: {gap:.2f} s"]
        with open(os.path.join(run.folder, "storm"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def show(self, folder):
        print("FAILED, see", folder)
        for name in (os.path.join(place, name) for place in (folder + ".calm", folder) for name in ("storm", "stderr")):
            if os.path.exists(name):
                with open(name, encoding="utf-8", errors="replace") as file:
                    print("    " + file.read()[-2000:].replace("\n", "\n    "), flush=True)

    # ---- many

    def lane(self, scenario, count, first, failures):
        """count runs that were struck, from this seed on."""
        struck, seed, missed = 0, first, 0
        while struck < count and missed < count + 10:
            for turn in range(TURNS):
                began = time.monotonic()
                try:
                    hit = self.once(scenario, seed)
                    struck, missed = struck + hit, missed + (not hit)
                    break
                except Failed as problem:
                    again = "MPICH did not start under srun" if isinstance(problem, NotBegun) else \
                        "the machine stood still" if self.clock.longest(began) > DEADLINE / 2 else None
                    if again is not None and turn + 1 < TURNS:
                        self.counts[f"done again as {again}"] += 1
                        continue
                    struck += 1
                    failures.append((scenario, seed, str(problem)))
                    self.show(os.path.join(self.folder, f"{scenario}-{seed}"))
                    break
            seed += 1
        return struck

    def go(self, plan, first):
        """plan: {scenario: count}. What runs on this machine goes one by one, and nodes beside it."""
        failures, done, skipped = [], {}, {}
        began = time.monotonic()

        def local():
            for scenario in (name for name in plan if name not in ("node", "link")):
                if scenario == "helper" and not os.path.isdir(OPENCL):
                    skipped[scenario] = "OCL_ICD_VENDORS names no folder of OpenCL platforms"
                    continue
                done[scenario] = self.lane(scenario, plan[scenario], first, failures)

        def nodes():
            names = [name for name in plan if name in ("node", "link")]
            if not names:
                return
            try:
                with Slurm(NODES) as self.slurm:
                    for scenario in names:
                        done[scenario] = self.lane(scenario, plan[scenario], first, failures)
            except Skip as reason:
                skipped.update({name: str(reason) for name in names})

        def guarded(lane):
            try:
                lane()
            except BaseException:
                failures.append((lane.__name__, 0, traceback.format_exc()))
                print(traceback.format_exc(), flush=True)
        lanes = [threading.Thread(target=guarded, args=(lane,)) for lane in (local, nodes)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        for scenario, count in done.items():
            bad = sum(1 for name, _, _ in failures if name == scenario)
            print(f"{scenario:8} {count:4} runs, {bad} failed")
        for scenario, reason in skipped.items():
            print(f"{scenario:8} skipped: {reason}")
        print(f"{sum(done.values())} runs, {time.monotonic() - began:.0f} s, seed {first}, {len(failures)} failed; "
              + ", ".join(f"{what}: {number}" for what, number in sorted(self.counts.items())))
        return failures, done


def parse():
    parser = argparse.ArgumentParser(description="Jobs of which ranks, devices and nodes die at random moments.")
    parser.add_argument("what", choices=["bounded", "long", *SCENARIOS])
    parser.add_argument("count", nargs="?", type=int, default=10)
    parser.add_argument("--seed", type=int, help="the first")
    parser.add_argument("--again", type=int, metavar="SEED", help="this run alone")
    return parser.parse_args()


def main():
    given = parse()
    if shutil.which("mpiexec.mpich") is None or not os.path.exists(MODULE):
        print("skipped: mpiexec.mpich or millrace_mpi.so is missing (Debian: mpich, libmpich-dev)")
        return 77
    first = given.seed if given.seed is not None else int(time.time() // 86400) if given.what == "long" else 1
    column = {"long": 0, "bounded": 1}
    plan = {name: counts[column[given.what]] for name, counts in SCENARIOS.items()} if given.what in column else \
        {given.what: given.count}
    if given.again is not None:
        plan, first = {given.what: 1}, given.again
    folder = tempfile.mkdtemp(prefix="millrace-storm-")
    failures, done = Storm(folder, LONG_BYTES if given.what != "bounded" else BOUNDED_BYTES).go(plan, first)
    if failures:
        print(f"what failed is kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0 if done else 77


if __name__ == "__main__":
    sys.exit(main())
