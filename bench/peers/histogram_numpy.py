"""histogram_numpy.py INPUT OUT THREADS: how often each byte value occurs, in numpy."""
import sys

import numpy as np

from peer import Stopwatch
from pieces import over

path, out, threads = sys.argv[1:]
with Stopwatch() as watch:
    data = np.memmap(path, np.uint8, "r")
    # Pairs of bytes halve the work of bincount; the table of 65,536 counts folds into one of 256 at the end.
    pairs = data[: len(data) // 2 * 2].view(np.uint16)
    counts = sum(over(len(pairs), 1 << 20, int(threads), lambda a, b: np.bincount(pairs[a:b], minlength=65536)))
    counts = counts.reshape(256, 256).sum(0) + counts.reshape(256, 256).sum(1)
    counts = counts + np.bincount(data[len(pairs) * 2:], minlength=256)
    with open(out, "w", encoding="ascii") as file:
        file.writelines(f"{value}\t{count}\n" for value, count in enumerate(counts))
watch.report(version=np.__version__)
