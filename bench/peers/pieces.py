"""Work on pieces of an array with several threads: numpy releases the interpreter's lock inside its loops."""
from concurrent.futures import ThreadPoolExecutor


def over(rows, piece, threads, work):
    """[work(begin, end) for pieces of 0 .. rows]; a piece should fit a core's L2."""
    bounds = [(begin, min(begin + piece, rows)) for begin in range(0, rows, piece)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda bound: work(*bound), bounds, chunksize=16))
