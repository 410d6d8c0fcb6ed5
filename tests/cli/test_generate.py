"""millrace generate: the same bytes everywhere, and data that is what it says. Oracles: checksums recorded once (they
must hold on every machine), and statistics worked out here from the bytes."""
import collections
import functools
import hashlib
import math
import os
import resource
import signal
import struct
import subprocess
import time
import unittest

import cli_test
from cli_test import MILLRACE, PATIENCE, CliTest

# sha256 of 300,000 bytes (or the whole rows in them), first 16 digits
CHECKSUMS = {
    ("zipf", "--seed", "1"): "ce0f3de438d67a54",
    ("zipf", "--seed", "7", "--words", "1000", "--exponent", "1.2"): "b1a7b47f5f9e19ed",
    ("records", "--seed", "1"): "655b03d830e65cc9",
    ("points", "--seed", "1"): "d191f2ef0e070833",
    ("points", "--seed", "2", "--dim", "5", "--clusters", "7"): "598f8126e0405683",
    ("edges", "--seed", "1"): "238f5731687fe0f6",
    ("edges", "--seed", "1", "--scale", "9"): "6e5e22f0067c5a41",
}


class Generate(CliTest):
    def generate(self, kind, size, *options):
        return self.succeed("generate", kind, "--size", str(size), *options)

    def test_the_same_seed_gives_the_same_bytes(self):
        for arguments, wanted in CHECKSUMS.items():
            with self.subTest(arguments=arguments):
                data = self.generate(arguments[0], 300000, *arguments[1:])
                self.assertEqual(hashlib.sha256(data).hexdigest()[:16], wanted)

    def test_another_seed_gives_other_bytes(self):
        for kind in ("zipf", "records", "points", "edges"):
            self.assertNotEqual(self.generate(kind, 3000, "--seed", "1"), self.generate(kind, 3000, "--seed", "2"))

    def test_a_short_file_begins_a_long_one(self):
        for kind, options in (("zipf", []), ("records", []), ("points", []), ("edges", ["--scale", "20"])):
            with self.subTest(kind=kind):
                long = self.generate(kind, 2500000, *options)
                short = self.generate(kind, 1234567, *options)
                self.assertEqual(short[:-1], long[:len(short) - 1])

    def test_sizes_are_exact_or_whole_rows(self):
        for kind, row in (("zipf", 1), ("records", 100), ("points", 12), ("edges", 8)):
            for size in (row, row + 7, 1048576, 1048577):
                self.assertEqual(len(self.generate(kind, size)), size // row * row)

    def test_zipf_words_follow_the_law(self):
        text = self.generate("zipf", 8 << 20)
        self.assertTrue(text.endswith(b"\n"))
        self.assertEqual(set(text) - set(b"abcdefghijklmnopqrstuvwxyz \n"), set())
        self.assertNotIn(b"  ", text)
        lines = [len(line.split()) for line in text.split(b"\n")[:-2]]
        self.assertEqual((min(lines), max(lines)), (10, 15))
        words = text.split()
        counts = [count for _, count in collections.Counter(words).most_common(1000)]
        self.assertAlmostEqual(sum(map(len, words)) / len(words), 5.4, delta=0.2)
        # least squares through log(count) over log(rank): -1
        points = [(math.log(rank), math.log(counts[rank - 1])) for rank in range(3, 1000)]
        mean_x, mean_y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
        self.assertAlmostEqual(slope, -1, delta=0.03)
        harmonic = math.log(3850000) + 0.57722
        self.assertAlmostEqual(counts[0] / len(words) * harmonic, 1, delta=0.02)

    def test_zipf_uses_the_whole_vocabulary(self):
        words = collections.Counter(self.generate("zipf", 1 << 20, "--words", "500").split()[:-1])
        self.assertEqual(len(words), 500)
        one = set(self.generate("zipf", 1000, "--words", "1").split()[:-1])
        self.assertEqual(len(one), 1)

    def test_zipf_takes_other_exponents(self):
        words = self.generate("zipf", 4 << 20, "--words", "10000", "--exponent", "1.5").split()
        counts = [count for _, count in collections.Counter(words).most_common(100)]
        weight = 1 / sum(rank ** -1.5 for rank in range(1, 10001))
        for rank in (1, 2, 10, 100):
            self.assertAlmostEqual(counts[rank - 1] / len(words) / (weight * rank ** -1.5), 1, delta=0.06)

    def test_records_have_their_layout(self):
        data = self.generate("records", 100000)
        keys = collections.Counter()
        for number in range(1000):
            record = data[number * 100:number * 100 + 100]
            self.assertEqual(record[10:12] + record[44:46] + record[98:], b"    \r\n")
            self.assertEqual(int(record[12:44], 16), number)
            self.assertTrue(all(32 <= byte <= 126 for byte in record[:98]))
            self.assertTrue(all(record[at:at + 1] * 4 == record[at:at + 4] for at in range(46, 98, 4)))
            keys.update(record[:10])
        self.assertEqual(len(keys), 95)
        self.assertLess(max(keys.values()), 2 * 10000 / 95)

    def test_points_lie_around_their_centres(self):
        data = self.generate("points", 1 << 20, "--dim", "2", "--clusters", "3", "--seed", "5")
        rows = list(struct.iter_unpack("<2f", data))
        centres = []                                    # greedy: a point far from all known centres begins a new one
        for row in rows:
            if all(math.dist(row, centre[0]) > 15 for centre in centres):
                centres.append((row, []))
            min(centres, key=lambda centre: math.dist(row, centre[0]))[1].append(row)
        self.assertEqual(len(centres), 3)
        for _, members in centres:
            self.assertAlmostEqual(len(members) / len(rows), 1 / 3, delta=0.01)
            for axis in (0, 1):
                values = [row[axis] for row in members]
                mean = sum(values) / len(values)
                deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
                self.assertAlmostEqual(deviation, 2, delta=0.05)
                within = sum(abs(value - mean) < deviation for value in values) / len(values)
                self.assertAlmostEqual(within, 0.683, delta=0.01)

    def test_edges_have_a_power_law(self):
        data = self.generate("edges", 1 << 20, "--scale", "13")
        edges = list(struct.iter_unpack("<2I", data))
        self.assertLess(max(max(edge) for edge in edges), 1 << 13)
        # each bit of a number is 1 with probability 0.24: quadrants 0.19 + 0.05
        for side in (0, 1):
            for bit in range(13):
                ones = sum(edge[side] >> bit & 1 for edge in edges) / len(edges)
                self.assertAlmostEqual(ones, 0.24, delta=0.005)
        both = sum((edge[0] & edge[1] & 1) for edge in edges) / len(edges)
        self.assertAlmostEqual(both, 0.05, delta=0.003)
        degrees = sorted(collections.Counter(edge[0] for edge in edges).values(), reverse=True)
        self.assertGreater(degrees[0], 50 * degrees[len(degrees) // 2])

    def test_a_file_appears_when_it_is_whole(self):
        path = self.path("text")
        self.assertEqual(self.succeed("generate", "zipf", "--size", "1000", "-o", path), b"")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), self.generate("zipf", 1000))
        self.assertEqual(sorted(os.listdir(self.folder)), ["burst", "text"])

    def begin(self, *before):
        """A command that writes a file for a long time, once it has begun to. before: what it is started by."""
        run = subprocess.Popen([*before, MILLRACE, "generate", "records", "--size", "500G", "-o", self.path("data")],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=self.environment)
        while len(os.listdir(self.folder)) < 2 and run.poll() is None:
            time.sleep(0.01)
        return run

    def assert_cancelled(self, run, number):
        run.send_signal(number)
        _, text = run.communicate(timeout=60 * PATIENCE)
        self.assertEqual(run.returncode, 130, text)
        self.assertEqual(os.listdir(self.folder), ["burst"])

    def test_a_cancelled_one_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                self.assert_cancelled(self.begin(), number)

    def test_nohup_stays_in_force(self):
        run = self.begin("nohup")
        run.send_signal(signal.SIGHUP)
        with self.assertRaises(subprocess.TimeoutExpired):
            run.wait(timeout=0.2)
        self.assert_cancelled(run, signal.SIGTERM)

    def test_a_failed_one_leaves_nothing(self):
        for fault in ("101:1", "101:3", "102:1", "102:2", "201:1", "203:1", "203:2", "205:1"):
            with self.subTest(fault=fault):
                kind = "zipf" if fault.startswith("102") else "records"
                run = self.start("generate", kind, "--size", "3M", "--seed", "1", "-o", self.path("data"),
                                 MILLRACE_FAULT=fault)
                self.assertEqual(run.returncode, 4, run.stderr)
                self.assertTrue(run.stderr.startswith(b"millrace: "), run.stderr)
                self.assertEqual(os.listdir(self.folder), ["burst"])

    def test_a_full_disk_is_a_sentence(self):
        with open("/dev/full", "wb") as full:
            run = subprocess.run([MILLRACE, "generate", "zipf", "--size", "1M", "--words", "10"], stdout=full,
                                 stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 4)
        self.assertIn(b"could not write to standard output: No space left on device", run.stderr)

    def test_a_limit_on_files_is_a_sentence(self):
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        for output in (self.path("data"), "/dev/stdout"):
            with open(self.path("captured"), "wb") as captured:
                where = [] if output == "/dev/stdout" else ["-o", output]
                run = subprocess.run([MILLRACE, "generate", "records", "--size", "3M", *where], stdout=captured,
                                     stderr=subprocess.PIPE, preexec_fn=limit)
            self.assertEqual(run.returncode, 4, run.stderr)
            self.assertRegex(run.stderr, rb"could not write .*: File too large\n  hint: .* ulimit -f")
            os.remove(self.path("captured"))
            self.assertEqual(os.listdir(self.folder), ["burst"])

    def test_a_reader_that_goes_away_ends_it(self):
        run = subprocess.Popen([MILLRACE, "generate", "records", "--size", "500G"], stdout=subprocess.PIPE)
        self.assertEqual(len(run.stdout.read(1000)), 1000)
        run.stdout.close()
        self.assertEqual(run.wait(timeout=60 * PATIENCE), -signal.SIGPIPE)

    def test_mistakes_get_a_sentence(self):
        os.mkfifo(self.path("pipe"))
        cases = [
            (["generate"], "name one kind of data"),
            (["generate", "words", "--size", "1M"],
             "there is no data of kind 'words'\n  hint: zipf, records, points or edges"),
            (["generate", "zipf"], "no size is given"),
            (["generate", "records", "--size", "99"], "--size 99 is less than one row of 100 bytes"),
            (["generate", "points", "--size", "1K", "--words", "5"], "--words is for zipf, not for points"),
            (["generate", "zipf", "--size", "1K", "--dim", "5"], "--dim is for points, not for zipf"),
            (["generate", "zipf", "--size", "1K", "--exponent", "0"], "--exponent is out of range: '0'"),
            (["generate", "edges", "--size", "1K", "--scale", "33"], "--scale is out of range"),
            (["generate", "zipf", "--size", "1K", "-o", "none/such"], "could not write none/such: No such file"),
            (["generate", "zipf", "--size", "1K", "-o", "burst"], "could not write burst: it is a directory"),
            (["generate", "zipf", "--size", "1K", "-o", "pipe"], "could not write pipe: it is no regular file"),
        ]
        for arguments, sentence in cases:
            with self.subTest(arguments=arguments):
                self.assert_fails(*arguments, exit_status=2, says="millrace: " + sentence)


if __name__ == "__main__":
    cli_test.main()
