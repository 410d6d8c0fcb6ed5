"""linear_regression against exact sums and exact fractions."""
import random
from array import array
from fractions import Fraction

import lib


def fit(values):
    """values: x, y, x, y ...; every float32 is a whole number of 2^-149."""
    numbers = [int(value * 2.0 ** 149) for value in values]
    xs, ys = numbers[0::2], numbers[1::2]
    n, x, y = len(xs), sum(xs), sum(ys)
    xx = n * sum(a * a for a in xs) - x * x
    yy = n * sum(b * b for b in ys) - y * y
    xy = n * sum(a * b for a, b in zip(xs, ys)) - x * y
    slope = Fraction(xy, xx)
    return {"slope": slope, "intercept": (y - slope * x) / n / 2 ** 149, "r2": Fraction(xy * xy, xx * yy), "n": n}


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

    def test_x_far_from_zero_costs_no_digits(self):
        rng = random.Random(52)
        values = array("f")
        for _ in range(20_000):
            x = rng.uniform(0, 64)
            values.extend((4e6 + x, 7 - 1.5 * x + rng.gauss(0, 4)))
        self.assert_fit(self.run_everywhere([self.file("points", values.tobytes())]), values, places=12)

    def test_without_two_different_x_there_is_no_line(self):
        rng = random.Random(53)
        for number in (0.1, -3.7e-5, 1.3e7, 2.9e38):
            for count in (1, 2, 93, 20_000):
                values = array("f", [value for _ in range(count) for value in (number, rng.gauss(5, 3))])
                result = self.run_app([self.file("points", values.tobytes())])
                self.assertEqual(result, b"slope\tnan\nintercept\tnan\nr2\tnan\nn\t%d\n" % count)

    def test_no_points(self):
        self.assertEqual(self.run_app([self.file("points", b"")]), b"slope\tnan\nintercept\tnan\nr2\tnan\nn\t0\n")

    def test_a_file_that_is_no_multiple_of_a_row(self):
        self.assert_fails([self.file("odd", bytes(8 * 100 + 3))], exit_status=3, says="odd")
        self.assert_fails([self.file("odd", bytes(3))], exit_status=3, says="odd")


if __name__ == "__main__":
    lib.main()
