"""The claims that Millrace makes, each with the numbers of both sides and PASS or FAIL.

A claim is a ratio of paired runs wherever there are two sides. What could not run is FAIL with the reason: a claim that
was not measured does not hold.
"""
import dataclasses
import functools
import hashlib

from harness import apps, contest, data, devices, machine, process, ranks
from harness.contest import Contest, say, short

MIB = 1 << 20
REDUCE_SHARE = 0.2


@dataclasses.dataclass
class Verdict:
    claim: str
    wanted: str
    got: str
    passed: bool
    note: str = ""


def _hashed(_report, out):
    """The parts one after the other, byte for byte."""
    digest = hashlib.sha256()
    for part in sorted(out.glob("part-*")):
        digest.update(part.read_bytes())
    return {"sha256": digest.hexdigest()}


class Must:
    def __init__(self, context, journal):
        self.context, self.journal = context, journal
        self.held = {}                      # (app, peer) -> outcome: several claims use the same contest

    # ---- what the claims are made of --------------------------------------------------------------------------------

    def verdict(self, claim, wanted, got, passed, note=""):
        self.journal.add(self.journal.verdicts, Verdict(claim, wanted, got, bool(passed), note))
        say(f"{'PASS' if passed else 'FAIL'}  {claim}: wanted {wanted}; got {got}{'; ' + note if note else ''}")

    def hold(self, each, pairs=None):
        outcome = contest.hold(each, pairs or self.context.pairs, self.context.budget)
        return self.journal.add(self.journal.outcomes, outcome)

    def against(self, app, peer, pairs=None):
        """The contest of an app with one peer, held once. None: the reason is in self.reason."""
        if (app, peer) not in self.held:
            wanted = dataclasses.replace(self.context, peers={peer})
            found = list(apps.contests(wanted, app))
            self.reason = found[0].reason if found and isinstance(found[0], apps.Skip) else f"no peer {peer}"
            real = [each for each in found if isinstance(each, Contest)]
            self.held[app, peer] = self.hold(real[0], pairs) if real else None
        return self.held[app, peer]

    def pair(self, app, what, ours, other, name, same=lambda a, b: a == b, pairs=None):
        """Millrace in two settings, A B A B; the ratio is other / ours."""
        other.name = name
        return self.hold(Contest(app, what, 0, ours, other, same=same), pairs)

    def claim_ratio(self, claim, outcome, least):
        if outcome is None:
            return self.verdict(claim, f">= {least}x", "not run", False, self.reason)
        if outcome.skipped:
            return self.verdict(claim, f">= {least}x", "failed", False, outcome.skipped)
        passed = outcome.ratio.median >= least and outcome.same
        note = "" if outcome.same else "the answers differ"
        return self.verdict(claim, f">= {least}x", f"{outcome.ratio}x: {outcome.ours} against {outcome.theirs} "
                            f"{outcome.unit}", passed, note)

    # ---- the claims -------------------------------------------------------------------------------------------------

    def wordcount(self):
        for peer, least in (("duckdb", 4), ("spark-dataframe", 25)):
            outcome = self.against("wordcount", peer)
            self.claim_ratio(f"wordcount, output written, against {peer}", outcome, least)
            if peer == "duckdb" and outcome and outcome.ours_runs:
                self.verdict("wordcount, peak memory", "<= 0.9 GiB",
                             f"{outcome.ours_rss / (1 << 30):.2f} GiB (duckdb {outcome.peer_rss / (1 << 30):.2f})",
                             outcome.ours_rss <= 0.9 * (1 << 30))
        for peer in ("polars", "spark-rdd", "mrmpi"):   # no claim, but the numbers belong beside the others
            self.against("wordcount", peer)

    def wordcount_bounded(self):
        context, text = self.context, self.context.text()
        limit = 64 if context.quick else 256
        outcome = self.pair("wordcount", f"Zipf text, --memory {limit}M against no limit",
                            context.ours("wordcount", [text], memory=f"{limit}M"), context.ours("wordcount", [text]),
                            "millrace without a limit")
        claim = f"wordcount, --memory {limit}M"
        if outcome.skipped:
            return self.verdict(claim, "finishes", "failed", False, outcome.skipped)
        spilled = outcome.ours_runs[0].report.get("spilled_bytes", 0)
        self.verdict(claim + ", peak memory", f"<= {1.15 * limit:.0f} MiB", f"{outcome.ours_rss / MIB:.0f} MiB",
                     outcome.ours_rss <= 1.15 * limit * MIB, f"{spilled / MIB:.0f} MiB spilled")
        slower = 1 / outcome.ratio.median
        return self.verdict(claim + ", time", "<= 2.5x of no limit",
                            f"{slower:.2f}x: {outcome.ours} against {outcome.theirs} s",
                            slower <= 2.5 and outcome.same, "" if outcome.same else "the answers differ")

    def linux_source(self):
        context = self.context
        try:
            folder, whole = context.data.linux_source()
        except data.Missing as reason:
            return self.verdict("wordcount of linux-source", "runs", "not run", False, str(reason))
        out = context.scratch / "peer"
        pipeline = (f"cat {whole} | LC_ALL=C tr -s '[:space:]' '\\n' | LC_ALL=C sort -S 4G "
                    f"--parallel={context.workers} -T {context.scratch} | uniq -c > {out}")
        what = f"linux-source, {sum(1 for p in folder.rglob('*') if p.is_file()):,} files"
        size = data.total_bytes(folder)
        many = context.ours("wordcount", [folder])
        outcome = self.hold(Contest("wordcount", what, size, many,
                                    context.peer("cat | tr | sort | uniq -c", pipeline, inputs=[whole],
                                                 answer=context.counted)))
        self.claim_ratio("wordcount of linux-source against cat | tr | sort | uniq -c", outcome, 10)
        one = context.ours("wordcount", [whole])
        one.name = "millrace, one large file"
        return self.claim_ratio("MB/s of linux-source's many files against one large file",
                                self.hold(Contest("wordcount", what, size, many, one)), 0.6)

    def limits_reached(self):
        for app in ("histogram", "linear_regression"):
            outcomes = [self.against(app, f"limit: {way} + sum") for way in ("mmap", "pread")]
            if None in outcomes:
                self.claim_ratio(f"{app} against the read limit", None, 0.85)
            else:       # the better limit is the one that leaves the smaller ratio
                better = min(outcomes, key=lambda o: o.ratio.median if not o.skipped else 0)
                self.claim_ratio(f"{app} against {better.peer}", better, 0.85)

    def kmeans(self):
        outcome = self.against("kmeans", "scikit-learn")
        if outcome is None or outcome.skipped:
            return self.verdict("kmeans, a round", "<= 0.25 s", "not run", False,
                                outcome.skipped if outcome else self.reason)
        limit = 0.25 * int(self.context.sizes["points"]) / int(apps.FULL["points"])
        return self.verdict(f"kmeans, a round of {outcome.data}", f"<= {limit:.3g} s",
                            f"{outcome.ours} s (scikit-learn {outcome.theirs} s)",
                            outcome.ours.median <= limit and outcome.same, "" if outcome.same else "the answers differ")

    def kernel_ratio(self, kernel, level):
        """How many times faster than scalar bench_row finds a kernel on one core with its columns in cache: text for
        people, the least of a few runs, and whether the results are the same."""
        runs = []
        for _ in range(3):
            for line in process.run([self.context.build / "bench/bench_row"]).stdout.splitlines():
                words = line.split()
                if words[:2] == [kernel, level]:
                    runs.append((float(words[4]), float(words[2]), "same result" in line))
        if not runs:
            raise process.Failed(f"bench_row has no {kernel} at {level}")
        ratio = contest.Spread.of([run[0] for run in runs])
        return f"{ratio}x at {short(max(run[1] for run in runs))} Mrows/s", ratio.median, all(run[2] for run in runs)

    def row_kernels(self):
        """The claim is about the kernel; whole runs also read, and are shown beside it."""
        context = self.context
        if machine.simd() != "avx512":
            return self.verdict("row kernels, avx512 against scalar", ">= 8x", "not run", False, "no AVX-512 here")
        scalar = {"MILLRACE_SIMD": "scalar"}
        _, _, fast = apps.kmeans_rounds(context)
        _, _, slow = apps.kmeans_rounds(context, env=scalar)
        slow.few.name = "millrace, scalar"
        make = functools.partial(context.ours, "black_scholes", [context.options()], answer=apps.named_numbers(()))
        whole = {
            "kmeans": ("kmeans_assign", "a round", self.hold(
                Contest("kmeans", "a round", 0, fast, slow, "s a round", apps.centres_agree))),
            "black_scholes": ("black_scholes_price", "a whole run", self.pair(
                "black_scholes", "whole run", make(), make(env=scalar), "millrace, scalar",
                functools.partial(apps.close, 1e-4)))}
        for app, (kernel, what, outcome) in whole.items():
            text, ratio, same = self.kernel_ratio(kernel, "avx512")
            beside = outcome.skipped or f"{what}: {outcome.ratio}x"
            self.verdict(f"row kernel of {app}, avx512 against scalar", ">= 8x", text,
                         ratio >= 8 and same and outcome.same and not outcome.skipped, beside)
        return None

    def matmul(self):
        for element in ("f32", "f64"):     # a run is short: more pairs
            self.claim_ratio(f"matmul {self.context.sizes['matrix']} {element} against OpenBLAS alone",
                             self.against("matmul", f"openblas-{element}", 3 * self.context.pairs), 0.9)

    def string_match(self):
        self.claim_ratio("string_match against grep -F -f", self.against("string_match", "grep"), 3)

    def sort(self):
        outcome = self.against("sort", "gnu-sort")
        self.claim_ratio("sort, --memory 1G, against sort -S 1G", outcome, 2)
        if outcome and outcome.ours_runs:
            self.verdict("sort, --memory 1G, peak memory", "<= 1.15 GiB", f"{outcome.ours_rss / (1 << 30):.2f} GiB",
                         outcome.ours_rss <= 1.15 * (1 << 30))
            self.verdict("sort, the parts in order", "sorted", str(outcome.answer.get("sorted")),
                         outcome.answer.get("sorted"))

    def one_thread_reads(self):
        """Bytes per second of the better way to read and sum, and what all threads gain over one."""
        limits = self.journal.limits
        found = [(limits[f"{way} + sum, 1 thread"]["bytes_per_second"], limits[f"{way} + sum"]["bytes_per_second"])
                 for way in ("mmap", "pread")]
        one = max(rates[0] for rates in found)
        return one, max(rates[1] for rates in found) / one

    def workers(self):
        """Two workers against one. An app computes if one worker handles less than a third of what one thread reads
        and sums; it is held to what cores give. The others are bound by memory and held to what reading gains. The
        machine's own gain, in the limits, says what there is to gain. Inputs are so large that start and end do not
        count. Wordcount waits for single cache lines of tables that no cache holds, and every worker has a table of its
        own to fill: that is neither, and shown without a claim."""
        context, read = self.context, apps.named_numbers(())
        ceiling = self.journal.limits.get("compute, all threads against one", {}).get("ratio", 0)
        n = context.sizes["large_matrix"]
        a, b = context.data.matrices(n, "f64")
        text = context.data.generated("zipf", context.sizes["bytes"])
        pairs = context.data.generated("points", context.sizes["pairs_of_floats"], "--dim", "2")
        near, equal = functools.partial(apps.close, 1e-9), lambda x, y: x == y
        runs = [
            ("pi", [], [f"terms={context.sizes['many_terms']}"], {"answer": read}, near),
            ("black_scholes", [context.options(context.sizes["many_options"])], [], {"answer": read}, near),
            ("matmul", [a], [f"b={b}", f"n={n}", "type=f64"],
             {"reads": [b], "answer": apps.matrix_answer("f64"), "inner": True}, near),
            ("wordcount", [context.text()], [], {}, equal),
            ("string_match", [text], [f"patterns={context.data.patterns(context.text(), 100)}"],
             {"answer": read}, equal),
            ("histogram", [text], [], {"answer": read}, equal),
            ("linear_regression", [pairs], [], {"answer": read}, near),
        ]
        _, _, two = apps.kmeans_rounds(context)
        _, _, one = apps.kmeans_rounds(context, workers=1)
        one.few.name = "millrace, 1 worker"
        outcomes = [("kmeans", self.hold(Contest("kmeans", "1 -> 2 workers", 0, two, one, "s a round",
                                                 apps.centres_agree)))]
        for app, inputs, params, more, same in runs:
            make = functools.partial(context.ours, app, inputs, *params, **more)
            outcomes.append((app, self.pair(app, f"1 -> {context.workers} workers", make(), make(workers=1),
                                            "millrace, 1 worker", same)))
        reads, gain = self.one_thread_reads()
        for app, outcome in outcomes:
            if app == "wordcount":
                say(f"note  1 -> {context.workers} workers, wordcount: no claim; {outcome.ratio}x")
                continue
            rate = 0
            if outcome.peer_runs:
                rate = outcome.peer_runs[0].report.get("input_bytes", 0) / outcome.theirs.median
            if rate < reads / 3:
                least, what = (1.9 if context.workers == 2 else 0.95 * context.workers), f"machine: {short(ceiling)}x"
            else:
                least = round(0.95 * gain, 2)
                what = (f"bound by memory at {short(rate / 1e9)} of {short(reads / 1e9)} GB/s; reading gains "
                        f"{short(gain)}x")
            self.claim_ratio(f"1 -> {context.workers} workers, {app} ({what})", outcome, least)

    def pipelined_reduce(self):
        """Only jobs whose barrier run spends a fifth or more of its time in reduce are judged. Where all workers map until
        the end there is nothing to gain, and nothing may be lost: wordcount is held to that."""
        context, lines = self.context, self.context.sizes["log"]
        visits = context.build / "bench/visits.so"
        logs = [context.data.web_log(count, name)
                for count, name in ((lines // 8, "1"), (lines // 8, "2"), (lines // 8, "3"), (lines, "4"))]
        jobs = [(visits, "one compressed log", logs[3:]), (visits, "four compressed logs of unequal size", logs)]
        judged = 0
        for app, what, inputs in jobs:
            outcome = self.pair("visits", f"{what}, pipelined against barrier reduce",
                                context.ours(app, inputs, env={"MILLRACE_REDUCE": "pipelined"}),
                                context.ours(app, inputs, env={"MILLRACE_REDUCE": "barrier"}), "millrace, barrier",
                                pairs=2 * context.pairs)
            if outcome.skipped:
                self.claim_ratio(f"visits, {what}, pipelined against barrier reduce", outcome, 1.15)
                continue
            report = outcome.peer_runs[0].report
            reduce = sum(stage["seconds"] for stage in report.get("stages", []) if stage["name"] == "reduce")
            share = reduce / report["seconds"] if report.get("seconds") else 0
            if share >= REDUCE_SHARE:
                judged += 1
                self.claim_ratio(f"visits, {what}, pipelined against barrier reduce (reduce: {share:.0%})", outcome,
                                 1.15)
            else:
                say(f"note  visits, {what}: reduce takes {share:.0%} of the barrier run, no claim; {outcome.ratio}x")
        if not judged:
            self.verdict("pipelined against barrier reduce", ">= 1.15x", "no job with 20 % in reduce", False)
        text = [context.text()]
        self.claim_ratio("wordcount, pipelined against barrier reduce", self.pair(
            "wordcount", "pipelined against barrier reduce",
            context.ours("wordcount", text, env={"MILLRACE_REDUCE": "pipelined"}),
            context.ours("wordcount", text, env={"MILLRACE_REDUCE": "barrier"}), "millrace, barrier",
            pairs=2 * context.pairs), 0.97)

    def identical(self):
        """Sorted results, byte for byte, over workers, vector levels and memory limits."""
        context = self.context
        levels = ["scalar", "avx2", "avx512"][:["scalar", "avx2", "avx512"].index(machine.simd()) + 1]
        tight = "64M" if context.quick else "256M"
        files, size = context.sizes["index"]
        a, b = context.data.matrices(context.sizes["matrix"], "f64")
        folder = context.data.folder("zipf", files, size)
        text = context.text()
        points = context.data.generated("points", str(24 * 500_000))     # rows of 2 and of 3
        jobs = [("wordcount", [text], [], "key", True), ("wordcount", [text], [], "value", True),
                ("top_k", [text], ["k=1000"], None, True), ("inverted_index", [folder], [], "key", True),
                ("string_match", [text], [f"patterns={context.data.patterns(text, 100)}"], None, False),
                ("histogram", [text], [], None, False),
                ("linear_regression", [points], [], None, False),
                ("kmeans", [points], ["k=100", "dim=3", "rounds=3"], None, False),
                ("black_scholes", [context.options()], [], None, False),
                ("pi", [], [f"terms={context.sizes['terms']}"], None, False),
                ("matmul", [a], [f"b={b}", f"n={context.sizes['matrix']}", "type=f64"], None, False),
                ("sort", [context.data.generated("records", "64M" if context.quick else "1G")], [],
                 None, True)]
        for app, inputs, params, order, bounded in jobs:
            make = functools.partial(context.ours, app, inputs, *params, sort=order, answer=_hashed)
            settings = {f"{workers} workers": make(workers=workers) for workers in sorted({1, 2, context.workers, 3})}
            settings |= {level: make(env={"MILLRACE_SIMD": level}) for level in levels}
            settings |= {f"--memory {limit}": make(memory=limit) for limit in ((tight, "1G") if bounded else ())}
            found, failures = {}, []
            for name, side in settings.items():
                try:
                    found[name] = side.run().answer["sha256"]
                except process.Failed as failure:
                    failures.append(f"{name}: {failure}")
                side.clean()
            kinds = set(found.values())
            names = ", ".join(settings)
            self.verdict(f"{app}{f' --sort {order}' if order else ''}, byte-identical", f"one result for {names}",
                         f"{len(kinds)} different" if len(kinds) != 1 else f"sha256 {kinds.pop()[:16]}",
                         len(set(found.values())) == 1 and not failures, "; ".join(failures))

    def devices(self):
        devices.claims(self)

    def ranks(self):
        ranks.Claims(self).all()

    def all(self, only):
        """only: names of groups; empty for all."""
        groups = (self.wordcount, self.wordcount_bounded, self.linux_source, self.limits_reached, self.kmeans,
                  self.row_kernels, self.matmul, self.string_match, self.sort, self.workers,
                  self.pipelined_reduce, self.identical, self.devices, self.ranks)
        for claims in (group for group in groups if not only or group.__name__ in only):
            say(f"\n-- {claims.__name__.replace('_', ' ')}")
            try:
                claims()
            except (data.Missing, process.Failed) as reason:
                self.verdict(claims.__name__.replace("_", " "), "runs", "not run", False, str(reason))
