"""The results: JSON for programs, Markdown for people. Both have all that is needed to run it again."""
import dataclasses
import datetime
import json
import statistics

from harness.contest import short

MIB = 1 << 20


def to_dict(outcome):
    runs = lambda samples: [{name: value for name, value in dataclasses.asdict(sample).items()
                             if name not in ("report", "answer")}
                            | {"stages": sample.report.get("stages", []), "version": sample.report.get("version", "")}
                            for sample in samples]
    row = {name: getattr(outcome, name) for name in ("app", "data", "input_bytes", "unit", "peer", "ours_command",
                                                     "peer_command", "same", "note", "skipped")}
    answer = outcome.answer if len(outcome.answer) <= 4 else {"values": len(outcome.answer)}
    row |= {"answer": answer, "ours_runs": runs(outcome.ours_runs), "peer_runs": runs(outcome.peer_runs)}
    if outcome.ours_runs and outcome.peer_runs:
        row["ratio"] = dataclasses.asdict(outcome.ratio)
    elif not outcome.skipped:
        row["skipped"] = "no pair was run"
    return row


def _answer(outcome):
    rows = outcome.answer.get("rows")
    text = f"{rows:,} rows, {outcome.answer['checksum']}" if rows else f"{len(outcome.answer)} values"
    return text + ("" if outcome.same else " **DIFFERENT**")


def _contest_lines(outcomes, limits):
    read = max(limits[name]["bytes_per_second"] for name in ("mmap + sum", "pread + sum"))
    yield "| app | input | peer | Millrace | peer's | ratio | peak MiB, both | of read limit | answer |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for outcome in outcomes:
        if outcome.skipped or not outcome.ours_runs:
            continue
        rate = outcome.input_bytes / outcome.ours.median if outcome.unit == "s" else 0
        share = short(rate / read) if read and rate else ""
        yield (f"| {outcome.app} | {outcome.data} | {outcome.peer}{f' ({outcome.note})' if outcome.note else ''} "
               f"| {outcome.ours} {outcome.unit} | {outcome.theirs} {outcome.unit} | {outcome.ratio} "
               f"| {outcome.ours_rss / MIB:.0f}, {outcome.peer_rss / MIB:.0f} | {share} | {_answer(outcome)} |")


def _limit_lines(limits):
    yield "| limit | GB/s | with |"
    yield "|---|---|---|"
    for name, limit in limits.items():
        value = (f"{short(limit['bytes_per_second'] / 1e9)} ({short(limit['least'] / 1e9)}.."
                 f"{short(limit['most'] / 1e9)})" if "bytes_per_second" in limit else f"{short(limit['ratio'])}x")
        yield f"| {name} | {value} | `limit_{limit['command'].split('/limit_', 1)[-1]}` |"


def _verdict_lines(verdicts):
    yield f"{sum(v.passed for v in verdicts)} of {len(verdicts)} claims hold."
    yield ""
    yield "| | claim | wanted | got |"
    yield "|---|---|---|---|"
    for verdict in verdicts:
        note = f" ({verdict.note})" if verdict.note else ""
        word = "PASS" if verdict.passed else "**FAIL**"
        yield f"| {word} | {verdict.claim} | {verdict.wanted} | {verdict.got}{note} |"


def _ranks_lines(series_of_app):
    yield "| app | ranks | s | CPU s | of them start | efficiency by CPU time, without start and with it " \
          "| MiB, all and largest | job s | simulated s | error |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    errors = []
    for series in series_of_app:
        for point in series["points"]:
            simulated = "| | |"
            if "simulated_seconds" in point:
                errors.append(abs(point["simulation_error"]))
                simulated = f"| {short(point['simulated_seconds'])} | {point['simulation_error']:+.0%} |"
            share = "|"
            if "efficiency" in point:
                share = (f"{short(point['start_cpu_seconds'])} | {point['efficiency']:.3f}, "
                         f"{point['efficiency_with_start']:.3f}")
            yield (f"| {series['label']} | {point['value']} | {short(point['seconds'])} ({short(point['least'])}.."
                   f"{short(point['most'])}) | {short(point['cpu_seconds'])} | {share} "
                   f"| {point['peak_rss_bytes'] / MIB:.0f}, {point['largest_rss_bytes'] / MIB:.0f} "
                   f"| {short(point['job_seconds'])} {simulated}")
    if errors:
        yield ""
        yield f"The simulation is off by {statistics.median(errors):.0%} (median), at most by {max(errors):.0%}."


def _page(journal):
    machine, outcomes = journal.machine, journal.outcomes
    memory = machine["memory_bytes"] / (1 << 30)
    changed = f" and {machine['changed_files']} changed files" if machine["changed_files"] else ""
    yield f"# Benchmarks of {journal.date}, {machine['kind']}"
    yield ""
    yield f"Machine: {machine['cpu']} (family/model {machine['family']}), {machine['cores']} cores, " \
          f"{memory:.0f} GiB, Linux {machine['kernel']}."
    yield f"Commit: {machine['commit']}{changed}. Compiler: {machine['compiler']}."
    yield f"Command: `{journal.invocation}`."
    yield "Inputs lie in the page cache. Median (min..max) of runs A B A B; a ratio is of pairs, above 1 Millrace is"
    yield "faster. docs/benchmarks.md says what counts as time and memory on each side."
    if journal.verdicts:
        yield from ("", "## Claims", "", *_verdict_lines(journal.verdicts))
    yield from ("", "## Limits of the machine", "", *_limit_lines(journal.limits))
    if outcomes:
        yield from ("", "## Comparisons", "", *_contest_lines(outcomes, journal.limits))
    for name, title in (("ranks_strong", "Ranks, one input for all"), ("ranks_weak", "Ranks, as much input for each")):
        if any(series["points"] for series in journal.sweeps.get(name, [])):
            yield from ("", f"## {title}", "", *_ranks_lines(journal.sweeps[name]))
    failed = [outcome for outcome in outcomes if outcome.skipped]
    if journal.skips or failed:
        yield from ("", "## Not run", "")
        yield from (f"- {skip.app} against {skip.peer}: {skip.reason}" for skip in journal.skips)
        yield from (f"- {outcome.app} against {outcome.peer}: failed: {outcome.skipped}" for outcome in failed)
    yield from ("", "## Commands", "")
    yield from (f"- `{command}`" for command in journal.generated)
    yield from dict.fromkeys(
        f"- {side}: `{command}`" for outcome in outcomes
        for side, command in (("millrace", outcome.ours_command), (outcome.peer, outcome.peer_command)))


class Journal:
    """All that was found so far. Each addition is written at once: a run of an hour that is cut off leaves what it had.

    stem: path of the files without ending; clean: takes this machine's paths out of a text; generated: the commands
    that made the inputs, a list that grows."""

    def __init__(self, stem, machine, invocation, generated, clean):
        self.stem, self.machine, self.invocation = stem, machine, invocation
        self.generated, self.clean = generated, clean
        self.date = str(datetime.date.today())
        self.limits, self.outcomes, self.skips, self.verdicts, self.sweeps = {}, [], [], [], {}
        self.recorded = {}                  # what the simulation was told: profiles of runs, and the network
        stem.parent.mkdir(parents=True, exist_ok=True)

    @property
    def results(self):
        return self.stem.with_name(self.stem.name + ".json")

    @property
    def page(self):
        return self.stem.with_name(self.stem.name + ".md")

    def add(self, to, what):
        to.append(what)
        self.save()
        return what

    def save(self):
        content = {"date": self.date, "machine": self.machine, "command": self.invocation, "data": self.generated,
                   "limits": self.limits, "must": [dataclasses.asdict(verdict) for verdict in self.verdicts],
                   "contests": [to_dict(outcome) for outcome in self.outcomes],
                   "not_run": [dataclasses.asdict(skip) for skip in self.skips], "sweeps": self.sweeps,
                   "recorded": self.recorded}
        for path, text in ((self.results, json.dumps(content, indent=1)), (self.page, "\n".join(_page(self)))):
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_text(self.clean(text) + "\n")
            temporary.rename(path)
