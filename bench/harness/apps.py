"""Each app against what a user would pick instead.

contests(context, app) yields a Contest for each peer, or a Skip with the reason. Both sides get the same files from the
page cache and as many threads as there are workers, and both write their result to a file.
"""
import array
import dataclasses
import functools
import json
import os
import pathlib
import shutil

from harness import process
from harness.contest import Contest
from harness.data import Data, Missing, size_bytes, total_bytes
from harness.side import Command, PerRound

FULL = {"text": "1G", "bytes": "4G", "pairs_of_floats": "4G", "options": "1G", "points": str(22_400_000 * 12),
        "records": "8G", "index": (16, "16M"), "terms": 10**9, "matrix": 2048, "rounds": 10, "patterns": 100,
        "long_rounds": 40, "many_options": "4G", "large_matrix": 4096, "many_terms": 8 * 10**9,
        "log": 8_000_000, "rank_terms": 10**10}
QUICK = {"text": "64M", "bytes": "64M", "pairs_of_floats": "32M", "options": "32M", "points": str(500_000 * 12),
         "records": "32M", "index": (4, "1M"), "terms": 10**7, "matrix": 512, "rounds": 80, "patterns": 100,
         "long_rounds": 80, "many_options": "32M", "large_matrix": 512, "many_terms": 10**8,
         "log": 400_000, "rank_terms": 10**8}
OPTIONS_IN_BLOCK = 1 << 20
RECORD = 100


@dataclasses.dataclass
class Skip:
    app: str
    peer: str
    reason: str


@dataclasses.dataclass
class Context:
    """What all comparisons of one call share."""
    root: pathlib.Path
    build: pathlib.Path
    cache: pathlib.Path
    workers: int
    pairs: int
    budget: float
    quick: bool
    peers: set

    def __post_init__(self):
        self.millrace = self.build / "bin/millrace"
        self.python = self.root / ".venv/bin/python"
        self.scratch = self.cache / "scratch"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.sizes = QUICK if self.quick else FULL
        self.data = Data(self.cache / "data", self.millrace)
        process.measure = self.build / "bench/measure"

    # ---- sides ----------------------------------------------------------------------------------------------------

    def ours(self, app, inputs, *params, reads=(), answer=None, workers=None, memory=None, sort=None, env=None, **more):
        """reads: files that a parameter names."""
        out = self.scratch / "ours"
        command = [self.millrace, "run", app, *inputs, "-o", out, "--force", "--quiet", "--json",
                   "--workers", str(workers or self.workers)]
        command += ["--memory", memory] if memory else []
        command += ["--sort", sort] if sort else []
        env = {"MILLRACE_BURST": str(self.scratch), "MILLRACE_RECORDS": str(self.scratch / "records"), **(env or {})}
        return Command("millrace", [*command, *params], answer or self.lines, out, env,
                       inputs=[*inputs, *reads], **more)

    def peer(self, name, command, answer=None, out="peer", env=None, **more):
        return Command(name, command, answer or self.lines, self.scratch / out if out else None, env or {}, **more)

    def python_peer(self, name, script, *arguments, **more):
        """arguments: the script's, without OUT and THREADS, which come last."""
        script = self.root / "bench/peers" / script
        words = [self.python, script, *arguments, self.scratch / "peer", self.workers]
        return self.peer(name, [str(word) for word in words], inner=True, **more)

    # ---- answers --------------------------------------------------------------------------------------------------

    def digest(self, kind, out):
        files = sorted(out.glob("part-*")) if out.is_dir() else [out]
        if out.is_dir() and not (out / "_SUCCESS").exists() and not files:
            raise process.Failed(f"{out}: no result")
        return json.loads(process.run([self.build / "bench/digest", *kind, *files]).stdout)

    def lines(self, _report, out):
        return self.digest(["lines"], out)

    def counted(self, _report, out):
        return self.digest(["counted"], out)

    def records(self, _report, out):
        return self.digest(["records", str(RECORD)], out)

    # ---- inputs ---------------------------------------------------------------------------------------------------

    def text(self):
        return self.data.generated("zipf", self.sizes["text"])

    def options(self, size=None):
        """Rows of float32 spot, strike, years, in the ranges that option pricing benchmarks use. A block of a million
        options again and again: the price of one does not depend on its neighbours."""
        size = size or self.sizes["options"]
        path = self.data.cache / f"options-{size}"
        if not path.exists():
            import random  # pylint: disable=import-outside-toplevel
            random.seed(7)
            block = array.array("f")
            for _ in range(OPTIONS_IN_BLOCK):
                block.extend((random.uniform(5, 30), random.uniform(1, 100), random.uniform(0.25, 10)))
            temporary = path.with_suffix(".tmp")
            with open(temporary, "wb") as out:
                for _ in range(max(1, size_bytes(size) // len(block.tobytes()))):
                    out.write(block.tobytes())
            temporary.rename(path)
        return path

    # ---- what is missing here -------------------------------------------------------------------------------------

    def missing(self, *needs):
        """needs: "python:MODULE", "program:NAME" (of Debian), "built:NAME" (of bench/). "" when all are there."""
        for need in needs:
            kind, name = need.split(":")
            if kind == "python" and not list((self.root / ".venv").glob(f"lib/python*/site-packages/{name}")):
                return f"{name} is not installed; run bench/setup"
            if kind == "program" and not shutil.which(name):
                return f"{name} is not installed; run bench/setup"
            if kind == "built" and not (self.build / "bench" / name).exists():
                return f"{name} was not built; run bench/setup, then configure and build again"
        return ""


def close(tolerance, ours, theirs):
    """Two answers of named numbers: equal up to a share of the larger."""
    return ours.keys() == theirs.keys() and all(
        abs(ours[name] - theirs[name]) <= tolerance * max(abs(ours[name]), abs(theirs[name]), 1e-300) for name in ours)


def named_numbers(names):
    """Reads lines of name<TAB>number; keeps those in `names` (all if it is empty)."""
    def read(_report, out):
        files = sorted(out.glob("part-*")) if out.is_dir() else [out]
        rows = (line.split("\t") for file in files for line in file.read_text().splitlines())
        return {row[0]: float(row[1]) for row in rows if not names or row[0] in names}
    return read


def centre_table(_report, out):
    files = sorted(out.glob("part-*")) if out.is_dir() else [out]
    rows = [line.split("\t") for file in files for line in file.read_text().splitlines()]
    return {f"{row[0]}.{axis}": float(x) for row in rows for axis, x in enumerate(row[1:-1])}


def centres_agree(ours, theirs):
    """float32 sums in another order move a centre a little: within a thousandth of the spread of all centres."""
    spread = max(ours.values()) - min(ours.values())
    return ours.keys() == theirs.keys() and all(abs(ours[name] - theirs[name]) <= 1e-3 * spread for name in ours)


# ---- the apps ------------------------------------------------------------------------------------------------------


def wordcount(context):
    text = context.text()
    out = context.scratch / "peer"
    contest = functools.partial(Contest, "wordcount", f"Zipf text, {context.sizes['text']}", text.stat().st_size,
                                context.ours("wordcount", [text]))
    spark_env = {"SPARK_LOCAL_DIRS": str(context.scratch), "PYSPARK_PYTHON": str(context.python)}
    spark = functools.partial(context.python_peer, env=spark_env)
    mpiexec = ["mpiexec.openmpi", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "-n", str(context.workers)]
    program = """'{ for (i = 1; i <= NF; i++) times[$i]++ } END { for (word in times) print word "\\t" times[word] }'"""
    return [
        ("duckdb", ["python:duckdb"], lambda: contest(context.python_peer("duckdb", "wordcount_duckdb.py", text))),
        ("polars", ["python:polars"], lambda: contest(context.python_peer("polars", "wordcount_polars.py", text))),
        ("spark-dataframe", ["python:pyspark", "program:java"],
         lambda: contest(spark("spark-dataframe", "wordcount_spark.py", "dataframe", text))),
        ("spark-rdd", ["python:pyspark", "program:java"],
         lambda: contest(spark("spark-rdd", "wordcount_spark.py", "rdd", text))),
        ("mrmpi", ["built:wordcount_mrmpi", "program:mpiexec.openmpi"],
         lambda: contest(context.peer("mrmpi", [*mpiexec, context.build / "bench/wordcount_mrmpi", text, out]))),
        ("gawk", ["program:gawk"],
         lambda: contest(context.peer("gawk", f"LC_ALL=C gawk -b {program} {text} > {out}", only="one thread"))),
        ("coreutils", ["program:sort"], lambda: contest(context.peer(
            "coreutils", f"tr -s ' ' '\\n' < {text} | LC_ALL=C sort -S 4G --parallel={context.workers} "
            f"-T {context.scratch} | uniq -c > {out}", answer=context.counted))),
    ]


def top_k(context):
    text = context.text()
    out = context.scratch / "peer"
    contest = functools.partial(Contest, "top_k", f"Zipf text, {context.sizes['text']}, k=100", text.stat().st_size,
                                context.ours("top_k", [text], "k=100"))
    return [
        ("duckdb", ["python:duckdb"], lambda: contest(
            context.python_peer("duckdb", "wordcount_duckdb.py", text, "--top", "100"))),
        ("coreutils", ["program:sort"], lambda: contest(context.peer(
            "coreutils", f"tr -s ' ' '\\n' < {text} | LC_ALL=C sort -S 4G --parallel={context.workers} "
            f"-T {context.scratch} | uniq -c | LC_ALL=C sort -k1,1nr -k2 | head -n 100 > {out}",
            answer=context.counted))),
    ]


def inverted_index(context):
    files, size = context.sizes["index"]
    folder = context.data.folder("zipf", files, size)
    contest = functools.partial(Contest, "inverted_index", f"{files} Zipf texts of {size}", total_bytes(folder),
                                context.ours("inverted_index", [folder]))
    return [("duckdb", ["python:duckdb"], lambda: contest(
        context.python_peer("duckdb", "inverted_index_duckdb.py", folder)))]


def string_match(context):
    text = context.text()
    patterns = context.data.patterns(text, context.sizes["patterns"])
    out = context.scratch / "peer"
    probes = patterns.read_text().split()[::max(1, context.sizes["patterns"] // 3)]

    @functools.cache
    def lines_with(pattern):
        return float(process.run(f"LC_ALL=C grep -c -F -e {pattern} {text}").stdout)

    def same(ours, theirs):
        """grep counts the lines with any pattern; ours the lines with each one. A few are asked one by one."""
        return (max(ours.values()) <= theirs["lines"] <= sum(ours.values())
                and all(ours[pattern] == lines_with(pattern) for pattern in probes))

    contest = functools.partial(
        Contest, "string_match", f"Zipf text, {context.sizes['text']}, {context.sizes['patterns']} patterns",
        text.stat().st_size, context.ours("string_match", [text], f"patterns={patterns}", answer=named_numbers(())),
        same=same)
    return [("grep", ["program:grep"], lambda: contest(context.peer(
        "grep", f"LC_ALL=C grep -F -c -f {patterns} {text} > {out}", only="one thread, counts lines with any pattern",
        answer=lambda _, path: {"lines": float(path.read_text())})))]


def against_limits(contest, context, path):
    return [(f"limit: {way} + sum", ["built:limit_read"], lambda way=way: dataclasses.replace(
        contest(context.peer(f"limit: {way} + sum", [context.build / "bench/limit_read", way, path, context.workers],
                             answer=lambda *_: {}, out=None, only="reads and sums only")), same=lambda *_: True))
            for way in ("mmap", "pread")]


def histogram(context):
    path = context.data.generated("zipf", context.sizes["bytes"])
    contest = functools.partial(Contest, "histogram", f"bytes, {context.sizes['bytes']}", path.stat().st_size,
                                context.ours("histogram", [path]))
    return [("numpy", ["python:numpy"], lambda: contest(context.python_peer("numpy", "histogram_numpy.py", path))),
            *against_limits(contest, context, path)]


def linear_regression(context):
    path = context.data.generated("points", context.sizes["pairs_of_floats"], "--dim", "2")
    contest = functools.partial(
        Contest, "linear_regression", f"rows of 2 float32, {context.sizes['pairs_of_floats']}", path.stat().st_size,
        context.ours("linear_regression", [path], answer=named_numbers({"slope", "intercept", "n"})),
        same=functools.partial(close, 1e-6))
    return [("numpy", ["python:numpy"], lambda: contest(context.python_peer(
        "numpy", "linear_regression_numpy.py", path, answer=named_numbers({"slope", "intercept", "n"})))),
            *against_limits(contest, context, path)]


def kmeans_rounds(context, **more):
    """Millrace's seconds a round: 2 rounds more against 2 rounds."""
    path = context.data.generated("points", context.sizes["points"])
    make = functools.partial(context.ours, "kmeans", [path], "k=100", "dim=3", answer=centre_table, **more)
    few, many = 2, 2 + context.sizes["rounds"]

    def with_rounds(rounds):
        side = make()
        side.command.append(f"rounds={rounds}")
        return side
    return path, many, PerRound(with_rounds(few), with_rounds(many), many - few)


def kmeans(context):
    path, rounds, ours = kmeans_rounds(context)
    contest = functools.partial(Contest, "kmeans", f"{path.stat().st_size // 12:,} points, dim=3, k=100",
                                path.stat().st_size, ours, unit="s a round", same=centres_agree)
    return [("scikit-learn", ["python:sklearn"], lambda: contest(context.python_peer(
        "scikit-learn", "kmeans_sklearn.py", path, "3", "100", str(rounds), answer=centre_table)))]


def black_scholes(context):
    path = context.options()
    read = named_numbers(())
    contest = functools.partial(Contest, "black_scholes", f"{path.stat().st_size // 12:,} options", path.stat().st_size,
                                context.ours("black_scholes", [path], "rate=0.02", "volatility=0.3", answer=read),
                                same=functools.partial(close, 1e-4))
    return [("numpy", ["python:scipy"], lambda: contest(context.python_peer(
        "numpy", "black_scholes_numpy.py", path, "0.02", "0.3", answer=read, only="scipy's normal distribution"))),
            *against_limits(contest, context, path)]


def pi(context):
    terms = context.sizes["terms"]
    read = named_numbers(())
    contest = functools.partial(Contest, "pi", f"{terms:,} terms", 0,
                                context.ours("pi", [], f"terms={terms}", answer=read),
                                same=functools.partial(close, 1e-13))
    return [("numpy", ["python:numpy"], lambda: contest(
        context.python_peer("numpy", "pi_numpy.py", str(terms), answer=read)))]


def matrix_answer(element):
    """The product as numbers: named by their index, thinned to every 61st of them (a prime, so all columns come up)."""
    def read(_report, out):
        values = array.array({"f32": "f", "f64": "d"}[element])
        for file in sorted(out.glob("part-*")) if out.is_dir() else [out]:
            values.frombytes(file.read_bytes())
        return {"values": len(values), **{str(i): values[i] for i in range(0, len(values), 61)}}
    return read


def matmul(context):
    n = context.sizes["matrix"]
    found = []
    for element in ("f32", "f64"):
        a, b = context.data.matrices(n, element)
        read = matrix_answer(element)
        # A product is a sum of n terms below 1/4 around zero: compare to its size, not to each number's.
        same = lambda ours, theirs: ours.keys() == theirs.keys() and all(
            abs(ours[name] - theirs[name]) < 1e-3 for name in ours)
        contest = functools.partial(
            Contest, "matmul", f"{n} x {n} {element}", a.stat().st_size + b.stat().st_size,
            context.ours("matmul", [a], f"b={b}", f"n={n}", f"type={element}", reads=[b], answer=read, inner=True),
            same=same)
        program = [context.build / "bench/gemm_openblas", element, n, context.workers]
        peer = context.peer(f"openblas-{element}", [*program, a, b, context.scratch / "peer"], answer=read, inner=True)
        found.append((peer.name, ["built:gemm_openblas"], functools.partial(contest, peer)))
    return found


def sort(context, memory="1G"):
    path = context.data.generated("records", context.sizes["records"])
    out = context.scratch / "peer"
    with open(path, "rb") as file:
        head = file.read(1000 * RECORD)
    if any(head[i * RECORD:(i + 1) * RECORD].find(b"\n") != RECORD - 1 for i in range(len(head) // RECORD)):
        raise Missing("the records are no lines: GNU sort cannot take them")
    contest = functools.partial(Contest, "sort", f"{path.stat().st_size // RECORD:,} records of 100 bytes",
                                path.stat().st_size,
                                context.ours("sort", [path], memory=memory, answer=context.records))
    return [("gnu-sort", ["program:sort"], lambda: contest(context.peer(
        "gnu-sort", f"LC_ALL=C sort -S {memory} --parallel={context.workers} -T {context.scratch} -o {out} {path}",
        answer=context.records)))]


APPS = {app.__name__: app for app in (wordcount, top_k, inverted_index, string_match, histogram, linear_regression,
                                      kmeans, black_scholes, pi, matmul, sort)}


def contests(context, app):
    try:
        peers = APPS[app](context)
    except Missing as reason:
        yield Skip(app, "all", str(reason))
        return
    for name, needs, make in peers:
        if context.peers and name not in context.peers:
            continue
        reason = context.missing(*needs)
        yield Skip(app, name, reason) if reason else make()
