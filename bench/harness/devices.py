"""The claims about OpenCL devices: kernels end to end, mixes with CPU workers, start-up, failure, overlap of transfers.

Devices are those of tools/opencl.sh, or of OCL_ICD_VENDORS if that is set. Tokens, compiled kernels and measured speeds
lie in folders of this call, so that neither other jobs nor earlier calls count. Before a side is measured it runs once:
that compiles its kernels and finds the lane count. What counts is the job's map stage, which begins before the device
is ready, except where a claim says otherwise.
"""
import dataclasses
import json
import os
import pathlib
import re
import signal
import statistics
import tempfile
import threading

from harness import data, process, side
from harness.contest import Contest, Spread, short

INTEL, POCL = "intel-0", "pocl-0"
RAW_RUNS = 3
RAW_LINE = re.compile(r"^ {2}(?P<kernel>\S.*\S) +by hand, (?P<options>[^:]+): (?P<rate>\d+) M rows/s$")
LAUNCH_SECONDS = {INTEL: 11e-6, POCL: 138e-6}      # an empty kernel, from enqueueing it until it is known to be done
READY_SECONDS = 0.150
EXECUTABLE = 0o755
ONE_THREAD_EACH = {"POCL_DEVICES": "pthread pthread", "POCL_MAX_PTHREAD_COUNT": "1"}


def map_seconds(report):
    return sum(stage["seconds"] for stage in report.get("stages", []) if stage["name"] == "map")


@dataclasses.dataclass
class MapStage(side.Command):
    """A run whose map stage counts."""

    def run(self):
        sample = super().run()
        sample.seconds = map_seconds(sample.report)
        if not sample.seconds:
            raise process.Failed(f"{self.shown()}: no map stage in what it printed")
        return sample


def record_of(sample):
    return json.loads(pathlib.Path(sample.report["record"]).read_text())


def spans_of(sample, device, name):
    """Begin and end, in seconds, of a device's spans of this name: those of all its lanes in the trace."""
    events = json.loads(pathlib.Path(record_of(sample)["trace"]).read_text())["traceEvents"]
    lanes = {event["tid"] for event in events
             if event["name"] == "thread_name" and event["args"]["name"].split(":")[0] == device}
    return [(event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6)
            for event in events if event["ph"] == "X" and event["tid"] in lanes and event["name"] == name]


class Killer(threading.Thread):
    """Kills one of the device processes of a job, `seconds` after the first of them began."""

    def __init__(self, tokens, seconds):
        super().__init__(daemon=True)
        self.tokens, self.seconds, self.killed, self.over = tokens, seconds, None, threading.Event()

    def processes(self):
        """The device processes are known by their folder of tokens."""
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (os.path.basename(os.readlink(folder / "exe")) == "millrace-device" and
                        f"MILLRACE_TOKENS={self.tokens}\0".encode() in (folder / "environ").read_bytes()):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def run(self):
        while not self.processes():
            if self.over.wait(0.002):
                return
        if not self.over.wait(self.seconds):
            for victim in self.processes()[-1:]:
                os.kill(victim, signal.SIGKILL)
                self.killed = victim


class Devices:
    def __init__(self, must, home):
        self.must, self.context, self.home = must, must.context, home
        self.tokens = home / "tokens"
        self.tokens.mkdir(mode=0o700)
        vendors = self.context.root / ".venv-opencl/icd"
        self.env = {"MILLRACE_TOKENS": str(self.tokens), "XDG_CACHE_HOME": str(home / "cache")}
        if "OCL_ICD_VENDORS" not in os.environ and vendors.exists():
            self.env["OCL_ICD_VENDORS"] = str(vendors)
        self.found = self.devices()

    # ---- what the claims are made of --------------------------------------------------------------------------------

    def devices(self, **env):
        """Identifiers of the devices."""
        try:
            report = process.run([self.context.millrace, "devices", "--json"], self.env | env).stdout
        except process.Failed:      # none: that is no error here
            return []
        return [device["id"] for device in json.loads(report)["devices"]]

    def inputs(self, app):
        context, sizes = self.context, self.context.sizes
        if app == "kmeans":
            return [context.data.generated("points", sizes["points"])]
        if app == "black_scholes":
            return [context.options(sizes["many_options"])]
        if app == "linear_regression":
            return [context.data.generated("points", sizes["pairs_of_floats"], "--dim", "2")]
        return [context.text()]

    def job(self, app, workers, kind=MapStage, prefix=(), rounds=None, inputs=None, **env):
        """A side that has run once. prefix: words before the command."""
        rounds = rounds or self.context.sizes["rounds"]
        params = ["k=100", "dim=3", f"rounds={rounds}"] if app == "kmeans" else []
        made = self.context.ours(app, inputs or self.inputs(app), *params, workers=workers, env=self.env | env)
        made = kind(**vars(made))
        made.name, made.command = f"millrace, {workers}", [*prefix, *made.command]
        made.run()
        return made

    def rows(self, app, sample):
        """Rows that the kernel saw: each again in each round."""
        return sample.report["rows"] * (sample.report["rounds"] if app == "kmeans" else 1)

    def versus(self, app, what, ours, other, pairs=None):
        return self.must.hold(Contest(app, what, 0, ours, other, unit="s of map"), pairs)

    # ---- the claims -------------------------------------------------------------------------------------------------

    def raw_rates(self, app):
        """What bench_device_rows finds for the kernels by hand on Intel's runtime, in rows a second."""
        vendors = self.home / "intel"
        vendors.mkdir(exist_ok=True)
        named = pathlib.Path(self.env.get("OCL_ICD_VENDORS") or os.environ["OCL_ICD_VENDORS"]) / "intel.icd"
        if named.exists():
            (vendors / named.name).write_bytes(named.read_bytes())
        command = [self.context.build / "bench/bench_device_rows", "1" if self.context.quick else "8", app]
        lines = process.run(command, {"OCL_ICD_VENDORS": str(vendors)}).stdout.splitlines()
        found = [match for match in map(RAW_LINE.match, lines) if match]
        if not found:
            raise process.Failed("bench_device_rows found no device of Intel's runtime")
        return {f"{m['kernel']} {m['options']}": 1e6 * float(m["rate"]) for m in found}

    def end_to_end(self, app):
        """Against the kernel by hand that FACTS' figure is of: k-means with contraction off, Black-Scholes with
        -cl-fast-relaxed-math. The others are in the note. The jobs are long, so that the start, which has a claim of
        its own, is a hundredth of k-means."""
        judged = {"kmeans": "kmeans, exact no options", "black_scholes": "black_scholes -cl-fast-relaxed-math"}[app]
        job = self.job(app, f"cpu=0,device={INTEL}", rounds=self.context.sizes["long_rounds"])
        rates, ready, raws = [], [], []
        for _ in range(min(RAW_RUNS, self.context.pairs)):
            raws.append(self.raw_rates(app))
            sample = job.run()
            start = record_of(sample)["devices"][0]["ready_seconds"]
            rates.append(self.rows(app, sample) / sample.seconds)
            ready.append((start, self.rows(app, sample) / (sample.seconds - start)))
        job.clean()
        shares = {name: Spread.of([rate / raw[name] for rate, raw in zip(rates, raws)]) for name in raws[0]}
        rate = lambda numbers: short(statistics.median(numbers) / 1e6)
        start = short(statistics.median([seconds for seconds, _ in ready]))
        others = "; ".join(f"of {name}, {rate([raw[name] for raw in raws])} M/s: {share}"
                           for name, share in shares.items() if name != judged)
        self.must.verdict(f"{app} on {INTEL}, end to end against the raw kernel ({judged})", ">= 0.85",
                          f"{shares[judged]}: {rate(rates)} of {rate([raw[judged] for raw in raws])} M rows/s",
                          shares[judged].median >= 0.85,
                          f"{others}; that includes the device's start, {start} s: without it "
                          f"{rate([without for _, without in ready])} M rows/s")

    def lanes(self, app):
        workers = f"cpu=0,device={POCL}"
        many, one = (self.job(app, workers, rounds=2, MILLRACE_DEVICE_LANES=lanes) for lanes in ("16", "1"))
        one.name = "millrace, 1 lane"
        outcome = self.versus(app, f"{POCL}, 16 lanes against 1", many, one)
        self.must.claim_ratio(f"{app} on {POCL}, 16 lanes against 1", outcome, 5)

    def mixed(self, app):
        """The engine binds the CPU worker to the first core; the device's process is confined to the second. Alone, each
        has its one core for all that it does: what the device emits is taken in on the device's core. Kernels and
        speeds are apart from the others', because they depend on it."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) != 2:
            raise data.Missing(f"that is for two cores; there are {len(cores)}")
        script = self.home / "device-on-one-core"
        script.write_text(f"#!/bin/sh\nexec taskset -c {cores[1]} "
                          f'"{self.context.build}/libexec/millrace/millrace-device" "$@"\n')
        script.chmod(EXECUTABLE)
        env = {"MILLRACE_DEVICE_PROGRAM": str(script), "XDG_CACHE_HOME": str(self.home / "one-core")}
        alone = f"cpu=0,device={INTEL}"
        sides = [self.job(app, workers, prefix=prefix, **env) for workers, prefix in (
            (f"cpu=1,device={INTEL}", ()), (alone, ("taskset", "-c", str(cores[1]))), ("cpu=1,device=none", ()),
            (alone, ()))]
        runs = []
        for _ in range(self.context.pairs):
            samples = [each.run() for each in sides]
            if any(sample.answer != samples[0].answer for sample in samples):
                raise process.Failed("the answers differ")
            runs.append([sample.seconds for sample in samples])
        sides[0].clean()
        share, both = (Spread.of([1 / run[0] / (1 / run[device] + 1 / run[2]) for run in runs]) for device in (1, 3))
        joint, device, cpu, free = (short(statistics.median(column)) for column in zip(*runs))
        self.must.verdict(f"{app}, a core for {INTEL} and one for a CPU worker: rate against the sum of both alone",
                          ">= 0.9", f"{share}: map in {joint} s; device alone {device}, CPU alone {cpu}",
                          share.median >= 0.9,
                          f"device alone, the engine free to use the other core: {free} s; {both} of that sum")

    def last_to_finish(self):
        """Three devices of unequal speed: the end of each one's last task, in the trace."""
        env = {"POCL_DEVICES": "pthread basic"}
        three = self.devices(**env)
        if len(three) < 3:
            raise data.Missing(f"there are {len(three)} devices")
        for device in three:        # together, the others are done before a slow one's compiler is
            self.job("black_scholes", f"cpu=0,device={device}", **env).clean()
        job, shares = self.job("black_scholes", f"cpu=0,device={','.join(three)}", **env), []
        for _ in range(self.context.pairs):
            sample = job.run()
            ends = [max((end for _, end in spans_of(sample, device, "map")), default=0) for device in three]
            if 0 in ends:
                idle = next(d for d in record_of(sample)["devices"] if d["id"] == three[ends.index(0)])
                raise process.Failed(f"{idle['id']} did no task: {idle['why'] or 'it came too late, or is too slow'}")
            shares.append((max(ends) - min(ends)) / sample.report["seconds"])
        job.clean()
        share = Spread.of(shares)
        self.must.verdict("three devices of unequal speed: from the first that runs dry to the last to finish",
                          "<= 0.05 of the job", str(share), share.median <= 0.05)

    def small_points(self):
        return [self.context.data.generated("points", "600K")]

    def start_up(self, device):
        job = self.job("kmeans", f"cpu=0,device={device}", inputs=self.small_points())
        samples = [job.run() for _ in range(RAW_RUNS)]
        job.clean()
        ready = Spread.of([record_of(sample)["devices"][0]["ready_seconds"] for sample in samples])
        first = Spread.of([min((begin for begin, _ in spans_of(sample, device, "kernel")), default=0)
                           for sample in samples])
        self.must.verdict(f"start of {device} with kernels compiled before, until its first task",
                          f"<= {READY_SECONDS} s", f"{ready} s", ready.median <= READY_SECONDS,
                          f"its first kernel began {first} s after the job")

    def none_costs_nothing(self):
        count = self.context.workers
        none, plain = (self.job("kmeans", workers, kind=side.Command, inputs=self.small_points(), rounds=2)
                       for workers in (f"cpu={count},device=none", str(count)))
        outcome = self.must.hold(Contest("kmeans", "50,000 points, whole process", 0, none, plain),
                                 3 * self.context.pairs)
        self.must.claim_ratio("a job with device=none against one that names no devices", outcome, 0.95)

    def failure(self):
        """Two devices of one thread each, one killed half-way; the back-off is so long that it does not come back."""
        env = ONE_THREAD_EACH | {"MILLRACE_DEVICE_BACKOFF_MS": "600000"}
        pocl = [device for device in self.devices(**env) if device.startswith("pocl-")]
        if len(pocl) != 2:
            raise data.Missing(f"pocl shows {len(pocl)} devices, not two")
        rounds = 100 if self.context.quick else 20
        two, one = (self.job("kmeans", f"cpu=0,device={','.join(names)}", kind=side.Command, rounds=rounds, **env)
                    for names in (pocl, pocl[:1]))
        with_two, with_one = two.run(), one.run()
        killer = Killer(self.tokens, with_two.seconds / 2)
        killer.start()
        try:
            sample = two.run()
        finally:
            killer.over.set()
            killer.join()
        two.clean()
        if killer.killed is None or sample.report["device_failures"] != 1:
            raise process.Failed("no device was killed in time")
        allowed = with_two.seconds / 2 + with_one.seconds / 2
        share = sample.seconds / allowed
        same = with_two.answer == with_one.answer == sample.answer
        self.must.verdict("kmeans, one of two devices killed half-way: time against what the other needs for the rest",
                          "<= 1.15", f"{share:.3g}: {short(sample.seconds)} s", share <= 1.15 and same,
                          f"time / (two / 2 + one / 2), two devices: {short(with_two.seconds)} s, one: "
                          f"{short(with_one.seconds)} s; half-way: {short(with_two.seconds / 2)} s after the devices' "
                          f"processes began{'' if same else '; the answers differ'}")

    def transfer(self):
        """The claim is for jobs that wait for copies, on a device whose cores are not the host's: pocl with one thread
        leaves a core to the host. The better app is judged, both are shown."""
        outcomes = []
        for app in ("black_scholes", "linear_regression"):
            two, one = (self.job(app, f"cpu=0,device={POCL}:{depth}", MILLRACE_DEVICE_COPY="1",
                                 POCL_MAX_PTHREAD_COUNT="1") for depth in (2, 1))
            outcomes.append(self.versus(app, f"{POCL} with one thread, copying, 2 tasks in flight against 1", two, one))
        failed = [outcome.skipped for outcome in outcomes if outcome.skipped]
        if failed:
            raise process.Failed("; ".join(failed))
        better = max(outcomes, key=lambda outcome: outcome.ratio.median)
        self.must.verdict(f"{POCL} with one thread, copying, 2 tasks in flight against 1", ">= 1.2x",
                          f"{better.ratio}x in {better.app}",
                          better.ratio.median >= 1.2 and all(outcome.same for outcome in outcomes),
                          "; ".join(f"{outcome.app}: {outcome.ours} against {outcome.theirs} s of map"
                                    for outcome in outcomes))

    def launches(self, device):
        """Per task: launch / (launch + kernel). The kernel's time is the driver's, without the launch."""
        launch, shares = LAUNCH_SECONDS[device], {}
        for app in ("kmeans", "black_scholes"):
            job = self.job(app, f"cpu=0,device={device}")
            spans = spans_of(job.run(), device, "kernel")
            job.clean()
            if not spans:
                raise process.Failed(f"{app}: the trace has no kernel")
            kernel = statistics.median(end - begin for begin, end in spans)
            shares[app] = (launch / (launch + kernel), kernel)
        worst = max(share for share, _ in shares.values())
        self.must.verdict(f"launches on {device} at the block size that the engine chose", "<= 0.05 of the time",
                          f"{worst:.3g}", worst <= 0.05,
                          f"launch / (launch + median kernel), launch: {1e6 * launch:.0f} us; " + ", ".join(
                              f"{app}: kernel {1e6 * kernel:.0f} us" for app, (_, kernel) in shares.items()))

    def all(self):
        """What to measure, its name for people if it does not run, and the devices that it needs."""
        tasks = [(self.end_to_end, ["kmeans"], [INTEL]), (self.end_to_end, ["black_scholes"], [INTEL]),
                 (self.lanes, ["kmeans"], [POCL]), (self.lanes, ["black_scholes"], [POCL]),
                 (self.mixed, ["kmeans"], [INTEL]), (self.mixed, ["black_scholes"], [INTEL]),
                 (self.mixed, ["wordcount"], [INTEL]), (self.last_to_finish, [], [INTEL, POCL]),
                 (self.start_up, [INTEL], [INTEL]), (self.start_up, [POCL], [POCL]), (self.none_costs_nothing, [], []),
                 (self.failure, [], [POCL]), (self.transfer, [], [POCL]),
                 (self.launches, [INTEL], [INTEL]), (self.launches, [POCL], [POCL])]
        for measure, arguments, needs in tasks:
            claim = " ".join(["devices:", measure.__name__.replace("_", " "), *arguments])
            missing = [device for device in needs if device not in self.found]
            try:
                if missing:
                    raise data.Missing(f"no device {missing[0]}; tools/opencl.sh installs the platforms")
                measure(*arguments)
            except (data.Missing, process.Failed) as reason:
                self.must.verdict(claim, "holds", "not run", False, str(reason))


def claims(must):
    with tempfile.TemporaryDirectory(prefix="devices-", dir=must.context.scratch) as home:
        Devices(must, pathlib.Path(home)).all()
