"""What the Python peers share: one call around the measured part, one JSON line at the end.

A peer's `seconds` leave out the start of its interpreter, its imports and (Spark) its JVM and session: they begin when
the first row could be read and end when the result is written and closed. Millrace is measured as a whole process, so
what this leaves out is in the peer's favour.
"""
import json
import time


class Stopwatch:
    """with Stopwatch() as watch: ... ; then watch.report(**more)"""

    def __enter__(self):
        self.begin = time.monotonic()
        return self

    def __exit__(self, *failure):
        self.seconds = time.monotonic() - self.begin

    def report(self, **more):
        print(json.dumps({"seconds": round(more.pop("seconds", self.seconds), 6), **more}))
