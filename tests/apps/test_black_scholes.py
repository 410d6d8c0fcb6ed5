"""black_scholes against the formula in double precision with the C library's erfc."""
import random
from array import array
from math import erfc, exp, fsum, log, sqrt

import lib


def normal(x):
    return 0.5 * erfc(-x / sqrt(2))


def price(spot, strike, years, rate, volatility):
    d1 = (log(spot / strike) + (rate + volatility * volatility / 2) * years) / (volatility * sqrt(years))
    d2 = d1 - volatility * sqrt(years)
    paid = strike * exp(-rate * years)
    return spot * normal(d1) - paid * normal(d2), paid * normal(-d2) - spot * normal(-d1)


def options(count, seed):
    rng = random.Random(seed)
    return array("f", [number for _ in range(count)
                       for number in (rng.uniform(5, 120), rng.uniform(10, 110), rng.uniform(0.05, 3))])


class BlackScholes(lib.AppTest):
    app = "black_scholes"

    def assert_sums(self, result, values, rate, volatility, relative):
        got = dict(line.split("\t") for line in result.decode().splitlines())
        prices = [price(*values[i:i + 3], rate, volatility) for i in range(0, len(values), 3)]
        self.assertEqual(int(got["options"]), len(prices))
        for name, column in (("calls", 0), ("puts", 1)):
            want = fsum(pair[column] for pair in prices)
            self.assertAlmostEqual(float(got[name]) / want, 1.0, delta=relative, msg=name)

    def test_sums_agree_with_double_precision(self):
        values = options(120_000, seed=81)
        inputs = [self.file("options", values.tobytes())]
        self.assert_sums(self.run_everywhere(inputs), values, 0.02, 0.3, relative=1e-6)
        self.assert_sums(self.run_app(inputs, "rate=0.08", "volatility=0.1"), values, 0.08, 0.1, relative=1e-6)

    def test_a_published_example(self):
        # J. Hull, Options, Futures and Other Derivatives: spot 42, strike 40, half a year, 10 %, volatility 20 %
        result = self.run_app([self.file("one", array("f", [42, 40, 0.5]).tobytes())], "rate=0.1", "volatility=0.2")
        got = dict(line.split("\t") for line in result.decode().splitlines())
        self.assertAlmostEqual(float(got["calls"]), 4.76, places=2)
        self.assertAlmostEqual(float(got["puts"]), 0.81, places=2)

    def test_each_option_far_from_the_money(self):
        # one at a time: in a sum the small ones would not be seen. N(-x) may err by 7.5e-8, float32 adds some
        for option in ((50, 60, 1), (50, 10, 0.1), (10, 50, 0.1), (100, 1, 2), (1, 100, 2), (40, 40, 1e-4)):
            for rate, volatility in ((0.02, 0.3), (0.5, 0.05), (-0.1, 1.5), (0.02, 10)):
                with self.subTest(option=option, rate=rate, volatility=volatility):
                    values = array("f", option)
                    result = self.run_app([self.file("one", values.tobytes())], f"rate={rate}",
                                          f"volatility={volatility}")
                    got = dict(line.split("\t") for line in result.decode().splitlines())
                    spot, strike, years = values
                    bound = 2e-7 * (spot + strike * exp(-rate * years))
                    for name, want in zip(("calls", "puts"), price(spot, strike, years, rate, volatility)):
                        self.assertAlmostEqual(float(got[name]), want, delta=bound, msg=name)

    def test_options_at_their_end_are_worth_their_exercise(self):
        values = array("f", [50, 40, 0, 30, 40, 0, 40, 40, 0])
        result = self.run_everywhere([self.file("end", values.tobytes())])
        got = dict(line.split("\t") for line in result.decode().splitlines())
        self.assertEqual(got["options"], "3")
        self.assertAlmostEqual(float(got["calls"]), 10, delta=1e-5)
        self.assertAlmostEqual(float(got["puts"]), 10, delta=1e-5)

    def test_parameters_out_of_range(self):
        one = self.file("one", bytes(12))
        self.assert_fails([one], "volatility=0", exit_status=2, says="volatility")
        self.assert_fails([self.file("odd", bytes(13))], exit_status=3, says="odd")


if __name__ == "__main__":
    lib.main()
