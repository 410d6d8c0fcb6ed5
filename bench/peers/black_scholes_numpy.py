"""black_scholes_numpy.py INPUT RATE VOLATILITY OUT THREADS: sums of call and put prices of rows of float32 spot, strike
and years, in numpy with scipy's normal distribution."""
import sys

import numpy as np
import scipy
from scipy.special import ndtr

from peer import Stopwatch
from pieces import over

path, rate, volatility, out, threads = sys.argv[1:]
rate, volatility = np.float32(rate), np.float32(volatility)


def prices(begin, end):
    spot, strike, years = (np.ascontiguousarray(rows[begin:end, column]) for column in range(3))
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + volatility * volatility / 2) * years) / spread
    discounted = strike * np.exp(-rate * years)
    call = spot * ndtr(d1) - discounted * ndtr(d1 - spread)
    return np.array([end - begin, call.sum(dtype=np.float64), (call - spot + discounted).sum(dtype=np.float64)])


with Stopwatch() as watch:
    rows = np.memmap(path, np.float32, "r").reshape(-1, 3)
    options, calls, puts = sum(over(len(rows), 1 << 16, int(threads), prices))
    with open(out, "w", encoding="ascii") as file:
        file.write(f"options\t{options:.17g}\ncalls\t{calls:.17g}\nputs\t{puts:.17g}\n")
watch.report(version=f"{np.__version__}, scipy {scipy.__version__}")
