"""wordcount_polars.py INPUT OUT THREADS: word count in Polars' streaming engine, split on one blank, written as TSV."""
import os
import sys

path, out, threads = sys.argv[1:]
os.environ["POLARS_MAX_THREADS"] = threads  # read when polars is imported

import polars as pl  # noqa: E402

from peer import Stopwatch  # noqa: E402

with Stopwatch() as watch:
    (
        pl.scan_csv(path, has_header=False, separator="\x01", quote_char=None, schema={"line": pl.String})
        .select(pl.col("line").str.split(" ").alias("word"))
        .explode("word")
        .filter(pl.col("word") != "")
        .group_by("word")
        .agg(pl.len().alias("times"))
        .sink_csv(out, include_header=False, separator="\t", quote_style="never", engine="streaming")
    )
watch.report(version=pl.__version__)
