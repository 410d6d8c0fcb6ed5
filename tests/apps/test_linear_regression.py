"""linear_regression against exact sums (fsum of exact products) and exact fractions."""
import random
from array import array
from fractions import Fraction
from math import fsum

import lib


def fit(values):
    """values: x, y, x, y ...; a product of two float32 is exact in a double, so each fsum is the exact sum, rounded."""
    xs, ys = values[0::2], values[1::2]
    n, x, y = len(xs), Fraction(fsum(xs)), Fraction(fsum(ys))
    xx = n * Fraction(fsum(a * a for a in xs)) - x * x
    yy = n * Fraction(fsum(b * b for b in ys)) - y * y
    xy = n * Fraction(fsum(a * b for a, b in zip(xs, ys))) - x * y
    slope = xy / xx
    return {"slope": slope, "intercept": (y - slope * x) / n, "r2": xy * xy / (xx * yy), "n": n}


class LinearRegression(lib.AppTest):
    app = "linear_regression"

    def assert_fit(self, result, values, places):
        got = dict(line.split("\t") for line in result.decode().splitlines())
        want = fit(values)
        self.assertEqual(list(got), list(want))
        for name, number in want.items():
            self.assertAlmostEqual(float(got[name]) / float(number), 1.0, places=places, msg=name)

    def points(self, count, seed, slope, intercept, noise):
        rng = random.Random(seed)
        values = array("f")
        for _ in range(count):
            x = rng.uniform(-50, 100)
            values.extend((x, slope * x + intercept + rng.gauss(0, noise)))
        return values

    def test_a_noisy_line(self):
        values = self.points(300_000, 51, slope=-2.75, intercept=12.5, noise=20)
        self.assert_fit(self.run_everywhere([self.file("points", values.tobytes())]), values, places=11)

    def test_a_few_points(self):
        values = array("f", [1, 3, 2, 5, 3, 7.5])
        self.assert_fit(self.run_everywhere([self.file("points", values.tobytes())]), values, places=13)

    def test_an_exact_line_in_several_files(self):
        values = array("f", [number for x in range(5000) for number in (x, 0.5 * x - 8)])
        parts = [self.file(f"in/{i}", values[i * 1000:(i + 1) * 1000].tobytes()) for i in range(10)]
        result = self.run_everywhere(parts)
        self.assertEqual(result, b"slope\t0.5\nintercept\t-8\nr2\t1\nn\t5000\n")

    def test_a_file_that_is_no_multiple_of_a_row(self):
        self.assert_fails([self.file("odd", bytes(8 * 100 + 3))], exit_status=3, says="odd")


if __name__ == "__main__":
    lib.main()
