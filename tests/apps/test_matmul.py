"""matmul against Python: exactly for small integers (any order of summation is exact), else within rounding."""
import random
from array import array
from operator import mul

import lib


def product(a, b, m, n, p):
    columns = [b[j::p] for j in range(p)]
    return [sum(map(mul, a[i * n:(i + 1) * n], column)) for i in range(m) for column in columns]


class Matmul(lib.AppTest):
    app = "matmul"

    def multiply(self, a, b, n, run):
        inputs = [self.file("a", a.tobytes())]
        kind = {"f": "f32", "d": "f64"}[a.typecode]
        return run(inputs, "b=" + self.file("b", b.tobytes()), f"n={n}", f"type={kind}")

    def test_integers_are_multiplied_exactly(self):  # of the last shape, rows are computed in place
        rng = random.Random(91)
        for code in "fd":
            for m, n, p in ((1, 1, 1), (3, 5, 2), (600, 40, 33), (257, 64, 64), (1100, 6, 300)):
                with self.subTest(type=code, m=m, n=n, p=p):
                    a = array(code, rng.choices(range(-30, 31), k=m * n))
                    b = array(code, rng.choices(range(-30, 31), k=n * p))
                    want = array(code, product(a, b, m, n, p))
                    self.assert_bytes(self.multiply(a, b, n, self.run_everywhere), want.tobytes())

    def test_reals_are_multiplied_within_rounding(self):
        rng = random.Random(92)
        m, n, p = 300, 80, 20
        for code, epsilon in (("f", 2.0 ** -23), ("d", 2.0 ** -52)):
            with self.subTest(type=code):
                a = array(code, [rng.random() for _ in range(m * n)])
                b = array(code, [rng.random() for _ in range(n * p)])
                got = array(code, self.multiply(a, b, n, self.run_app))
                for number, want in zip(got, product(a, b, m, n, p), strict=True):
                    self.assertLessEqual(abs(number - want), n * epsilon * want)

    def test_wrong_files(self):
        a, b = self.file("a", bytes(400)), self.file("b", bytes(400))
        self.assert_fails([a], "n=10", exit_status=2, says="b")
        self.assert_fails([a], "b=" + b, "n=7", exit_status=3, says="multiple")
        self.assert_fails([a], "b=" + self.path("missing"), "n=10", exit_status=3, says="missing")
        self.assert_fails([self.file("odd", bytes(404))], "b=" + b, "n=10", exit_status=3, says="odd")
        wide = self.path("wide")
        with open(wide, "wb") as file:
            file.truncate((64 << 20) + 4)
        self.assert_fails([a], "b=" + wide, "n=1", exit_status=3, says=f"{wide} has rows of {(64 << 20) + 4} bytes")
        self.assert_fails([a], "b=" + wide, "n=1", exit_status=3, says=f"at most {64 << 20}")


if __name__ == "__main__":
    lib.main()
