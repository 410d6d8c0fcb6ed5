"""linear_regression_numpy.py INPUT OUT THREADS: the line through rows of two float32, in numpy."""
import sys

import numpy as np

from peer import Stopwatch
from pieces import over

path, out, threads = sys.argv[1:]


def sums(begin, end):
    block = rows[begin:end].astype(np.float64)
    x, y = block[:, 0], block[:, 1]
    return np.array([end - begin, x.sum(), y.sum(), x @ x, x @ y])


with Stopwatch() as watch:
    rows = np.memmap(path, np.float32, "r").reshape(-1, 2)
    n, x, y, xx, xy = sum(over(len(rows), 1 << 16, int(threads), sums))
    slope = (n * xy - x * y) / (n * xx - x * x)
    with open(out, "w", encoding="ascii") as file:
        file.write(f"slope\t{slope:.17g}\nintercept\t{(y - slope * x) / n:.17g}\nn\t{n:.17g}\n")
watch.report(version=np.__version__)
