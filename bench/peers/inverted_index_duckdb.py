"""inverted_index_duckdb.py FOLDER OUT THREADS: in which files a word occurs, and how often, in DuckDB."""
import sys

import duckdb

from peer import Stopwatch

folder, out, threads = sys.argv[1:]
db = duckdb.connect()
db.execute(f"SET threads = {int(threads)}")
db.execute("SET preserve_insertion_order = false")
with Stopwatch() as watch:
    db.execute(
        """
        COPY (
            SELECT word, string_agg(filename || ':' || times, ' ' ORDER BY filename)
            FROM (SELECT word, filename, count(*) AS times
                  FROM (SELECT unnest(string_split(line, ' ')) AS word, filename
                        FROM read_csv($glob, columns = {'line': 'VARCHAR'}, auto_detect = false, header = false,
                                      filename = true, delim = '\x01', quote = '', escape = ''))
                  WHERE word <> ''
                  GROUP BY word, filename)
            GROUP BY word
        ) TO '"""
        + out.replace("'", "''")
        + """' (FORMAT csv, DELIMITER '\t', HEADER false, QUOTE '', ESCAPE '')
        """,
        {"glob": folder + "/*"},
    )
watch.report(version=duckdb.__version__)
