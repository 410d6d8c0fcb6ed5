"""pi_numpy.py TERMS OUT THREADS: pi by Nilakantha's series, in numpy."""
import sys

import numpy as np

from peer import Stopwatch
from pieces import over

terms, out, threads = sys.argv[1:]
PIECE = 1 << 16  # even: each piece begins with a positive term


def terms_of(begin, end):
    i = 2.0 * np.arange(begin, end, dtype=np.float64) + 2.0
    values = 4.0 / (i * (i + 1.0) * (i + 2.0))
    return values[::2].sum() - values[1::2].sum()


with Stopwatch() as watch:
    total = 3.0 + sum(reversed(over(int(terms), PIECE, int(threads), terms_of)))
    with open(out, "w", encoding="ascii") as file:
        file.write(f"pi\t{total:.17g}\n")
watch.report(version=np.__version__)
