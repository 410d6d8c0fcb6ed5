"""plot.py RESULTS.json FOLDER: draws the sweeps of a results file, and its ratios, as PNG."""
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def frame(title, x, y):
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def log_of_two(axes, all_series):
    """Ticks at the points, as plain numbers."""
    axes.set_xscale("log", base=2)
    values = sorted({p["value"] for series in all_series for p in series["points"]})
    axes.set_xticks(values, [f"{value:g}" for value in values], minor=False)
    axes.set_ylim(bottom=0)


def draw(axes, series, value):
    points = [p for p in series["points"] if p["seconds"] > 0]
    axes.plot([p["value"] for p in points], [value(p) for p in points], marker="o", label=series["label"])


def workers(all_series):
    figure, axes = frame("More workers", "workers", "speed-up over one worker")
    for series in all_series:
        if series["points"]:
            one = series["points"][0]["seconds"]
            draw(axes, series, lambda p, one=one: one / p["seconds"])
    most = max((p["value"] for s in all_series for p in s["points"]), default=1)
    axes.plot([1, most], [1, most], color="0.6", linestyle="--", label="as many times as workers")
    axes.set_xticks(sorted({p["value"] for s in all_series for p in s["points"]}))
    axes.set_ylim(bottom=0)
    return figure, axes


def input_size(all_series):
    figure, axes = frame("Word count of Zipf text", "MiB of text", "MiB/s")
    for series in all_series:
        draw(axes, series, lambda p: p["value"] / p["seconds"])
    log_of_two(axes, all_series)
    return figure, axes


def memory_limit(all_series):
    figure, axes = frame("Less memory", "--memory, MiB", "seconds")
    for series in all_series:
        draw(axes, series, lambda p: p["seconds"])
    log_of_two(axes, all_series)
    return figure, axes


def memory_kept(all_series):
    figure, axes = frame("The memory limit is kept", "--memory, MiB", "peak resident memory, MiB")
    for series in all_series:
        draw(axes, series, lambda p: p["peak_rss_bytes"] / 2**20)
    limits = sorted({p["value"] for s in all_series for p in s["points"]})
    axes.plot(limits, limits, color="0.6", linestyle="--", label="the limit")
    log_of_two(axes, all_series)
    return figure, axes


def _efficiency(title, all_series):
    figure, axes = frame(title, "ranks of one worker", "efficiency by CPU time")
    for series in all_series:
        points = [p for p in series["points"] if "efficiency" in p]
        axes.plot([p["value"] for p in points], [p["efficiency"] for p in points], marker="o", label=series["label"])
    axes.axhline(1, color="0.6", linestyle="--")
    log_of_two(axes, all_series)
    return figure, axes


def ranks_strong(all_series):
    return _efficiency("More ranks, one input", all_series)


def ranks_weak(all_series):
    return _efficiency("More ranks, as much input for each", all_series)


def ranks_simulated(all_series):
    figure, axes = frame("Ranks that share this machine's cores", "ranks of one worker", "seconds of the job")
    for series in all_series:
        points = [p for p in series["points"] if "simulated_seconds" in p]
        line, = axes.plot([p["value"] for p in points], [p["job_seconds"] for p in points], marker="o",
                          label=series["label"])
        axes.plot([p["value"] for p in points], [p["simulated_seconds"] for p in points], marker="x", linestyle="--",
                  color=line.get_color(), label=f"{series['label']}, simulated")
    log_of_two(axes, all_series)
    return figure, axes


def ratios(contests):
    rows = [c for c in contests if not c["skipped"] and not c["peer"].startswith("millrace")]
    if not rows:
        return None
    figure, axes = frame("How many times faster than its peer", "ratio of paired runs (log scale)", "")
    names = [f"{c['app']} / {c['peer']}" for c in rows]
    median = [c["ratio"]["median"] for c in rows]
    spread = [[m - c["ratio"]["least"] for m, c in zip(median, rows)],
              [c["ratio"]["most"] - m for m, c in zip(median, rows)]]
    figure.set_size_inches(7, 1 + 0.3 * len(rows))
    colours = ["0.7" if c["peer"].startswith("limit") else "tab:blue" for c in rows]
    axes.barh(names, median, xerr=spread, color=colours, error_kw={"ecolor": "0.3"})
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_xscale("log")
    axes.invert_yaxis()
    return figure, None


def main():
    results, folder = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    kind, sweeps = results["machine"]["kind"], results.get("sweeps", {})
    drawn = {name: draw_sweep(sweeps[key]) for name, key, draw_sweep in
             (("workers", "workers", workers), ("input-size", "input_size", input_size),
              ("memory-limit", "memory_limit", memory_limit), ("memory-kept", "memory_limit", memory_kept),
              ("ranks-strong", "ranks_strong", ranks_strong), ("ranks-weak", "ranks_weak", ranks_weak),
              ("ranks-simulated", "ranks_strong", ranks_simulated))
             if any(series["points"] for series in sweeps.get(key, []))}
    if (chart := ratios(results["contests"])) is not None:
        drawn["ratios"] = chart
    for name, (figure, axes) in drawn.items():
        if axes:
            axes.legend(frameon=False)
        path = folder / f"{name}-{kind}.png"
        figure.savefig(path)
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
