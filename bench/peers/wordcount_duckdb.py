"""wordcount_duckdb.py INPUT [--top K] OUT THREADS: word count in DuckDB, split on one blank, written as TSV."""
import sys

import duckdb

from peer import Stopwatch

path, *top, out, threads = sys.argv[1:]
limit = f"ORDER BY times DESC, word LIMIT {int(top[1])}" if top else ""
db = duckdb.connect()
db.execute(f"SET threads = {int(threads)}")
db.execute("SET preserve_insertion_order = false")
with Stopwatch() as watch:
    # A delimiter that no text has: each line is one column. Quoting is off on both sides: words are bytes as they are.
    db.execute(
        """
        COPY (
            SELECT word, count(*) AS times
            FROM (SELECT unnest(string_split(line, ' ')) AS word
                  FROM read_csv($path, columns = {'line': 'VARCHAR'}, auto_detect = false, header = false,
                                delim = '\x01', quote = '', escape = '', max_line_size = 16777216))
            WHERE word <> ''
            GROUP BY word
            """
        + limit
        + """
        ) TO '"""
        + out.replace("'", "''")
        + """' (FORMAT csv, DELIMITER '\t', HEADER false, QUOTE '', ESCAPE '')
        """,
        {"path": path},
    )
watch.report(version=duckdb.__version__)
