"""pi against partial sums of the series in exact fractions, and against math.pi."""
import math
from fractions import Fraction

import lib


class Pi(lib.AppTest):
    app = "pi"

    def test_few_terms_equal_the_partial_sum(self):
        exact = Fraction(3)
        for k in range(1, 301):
            exact += Fraction(4 * (-1) ** (k + 1), 2 * k * (2 * k + 1) * (2 * k + 2))
            if k in (1, 2, 9, 64, 300):
                with self.subTest(terms=k):
                    name, number = self.run_everywhere([], f"terms={k}").split(b"\t")
                    self.assertEqual(name, b"pi")
                    self.assertAlmostEqual(float(number), float(exact), delta=9e-16)

    def test_many_terms_reach_the_last_digits(self):
        for terms in ("1e5", "3000001"):
            with self.subTest(terms=terms):
                number = self.run_everywhere([], f"terms={terms}").split(b"\t")[1]
                self.assertAlmostEqual(float(number), math.pi, delta=9e-16)

    def test_terms_out_of_range(self):
        self.assert_fails([], "terms=0", exit_status=2, says="terms")


if __name__ == "__main__":
    lib.main()
