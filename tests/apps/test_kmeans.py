"""kmeans against Lloyd's algorithm in Python, with every operation on float32 rounded as the row kernel rounds it."""
import random
import struct
from array import array
from math import fsum

import lib


def f32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


def lloyd(points, k, rounds):
    """points: tuples of float32. Returns centres and sizes as the app defines them."""
    centres = points[:k]
    for _ in range(rounds):
        members = [[] for _ in range(k)]
        for point in points:
            best, nearest = 3.0e38, 0
            for index, centre in enumerate(centres):
                distance = 0.0
                for a, b in zip(point, centre):
                    d = f32(a - b)
                    distance = f32(distance + f32(d * d))
                if distance < best:
                    best, nearest = distance, index
            members[nearest].append(point)
        moved = [tuple(f32(fsum(column) / len(group)) for column in zip(*group)) if group else old
                 for group, old in zip(members, centres)]
        if moved == centres:
            break
        centres = moved
    return centres, [len(group) for group in members]


def table(centres, sizes):
    rows = zip(range(len(centres)), centres, sizes)
    return "".join("\t".join([str(i), *("%.9g" % c for c in centre), str(size)]) + "\n" for i, centre, size in rows)


class Kmeans(lib.AppTest):
    app = "kmeans"

    def stored(self, points):
        return [self.file("points", array("f", [c for point in points for c in point]).tobytes())]

    def clusters(self, count, dim, seed):
        rng = random.Random(seed)
        middles = [[rng.uniform(-10, 10) for _ in range(dim)] for _ in range(6)]
        return [tuple(f32(rng.gauss(m, 1.5)) for m in rng.choice(middles)) for _ in range(count)]

    def test_every_dimension_with_and_without_a_fast_path(self):
        for dim in (1, 2, 3, 4, 5, 9):
            with self.subTest(dim=dim):
                points = self.clusters(1003, dim, seed=60 + dim)
                got = self.run_everywhere(self.stored(points), "k=6", f"dim={dim}", "rounds=4")
                self.assertEqual(got.decode(), table(*lloyd(points, 6, 4)))

    def test_it_stops_when_no_centre_moves(self):
        points = [(0.0, 0.0, 0.0), (9.0, 9.0, 9.0)] + [(0.0, 1.0, 0.0), (9.0, 8.0, 9.0)] * 50
        got = self.run_app(self.stored(points), "k=2", "rounds=1000000")
        self.assertEqual(got.decode(), table(*lloyd(points, 2, 100)))

    def test_equal_points_go_to_the_first_centre(self):
        points = [(1.0, 2.0, 3.0)] * 40
        self.assertEqual(self.run_everywhere(self.stored(points), "k=3").decode(),
                         "0\t1\t2\t3\t40\n1\t1\t2\t3\t0\n2\t1\t2\t3\t0\n")

    def test_many_points_give_the_same_bytes_everywhere(self):
        points = array("f", array("H", random.Random(70).randbytes(6 * 400_000)))
        result = self.run_everywhere([self.file("points", points.tobytes())], "k=20", "rounds=5")
        self.assertEqual(sum(int(line.split("\t")[-1]) for line in result.decode().splitlines()), 400_000)

    def test_wrong_input(self):
        points = self.stored([(1.0, 2.0, 3.0)] * 5)
        self.assert_fails(points, "k=6", exit_status=3, says="k=")
        self.assert_fails(points, "k=2", "dim=4", exit_status=3, says="points")
        self.assert_fails(points, "k=0", exit_status=2, says="k")
        self.assert_fails(points, "dim=65", exit_status=2, says="dim")


if __name__ == "__main__":
    lib.main()
