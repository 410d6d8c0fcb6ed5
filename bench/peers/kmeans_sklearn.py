"""kmeans_sklearn.py INPUT DIM K ROUNDS OUT THREADS: k-means in scikit-learn (Lloyd), first K points as centres.

`seconds` is fit() without its first round, by the rounds it did; reading the file is not in it.
"""
import os
import sys
import time

path, dim, k, rounds, out, threads = sys.argv[1:]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = threads  # read when numpy is imported

import warnings  # noqa: E402

import numpy as np  # noqa: E402
import sklearn  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402

from peer import Stopwatch  # noqa: E402

warnings.simplefilter("ignore")  # that it did not converge in ROUNDS is what was asked for
points = np.fromfile(path, np.float32).reshape(-1, int(dim))


def fit(limit):
    model = KMeans(int(k), init=points[: int(k)], n_init=1, max_iter=limit, tol=0, algorithm="lloyd")
    begin = time.monotonic()
    model.fit(points)
    return model, time.monotonic() - begin


with Stopwatch() as watch:
    _, few = fit(1)  # its copies, its checks and one round
    model, many = fit(int(rounds))
    sizes = np.bincount(model.labels_, minlength=int(k))
    with open(out, "w", encoding="ascii") as file:
        for index, centre in enumerate(model.cluster_centers_):
            file.write("\t".join([str(index), *(f"{x:.9g}" for x in centre), str(sizes[index])]) + "\n")
watch.report(seconds=(many - few) / max(model.n_iter_ - 1, 1), rounds=model.n_iter_, version=sklearn.__version__)
