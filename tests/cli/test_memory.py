"""The resident memory of a job against --memory, as the kernel measured it for the process, or for each rank. What the
jobs compute is known in advance: the value of each key, and sums that Python adds block by block."""
import json
import os
import shutil
import unittest

import cli_test
from cli_test import CliTest, MILLRACE

MIB = 1 << 20
PAIRS, COUNTS, SUMS = (os.environ.get("GREEDY_" + name, "") for name in ("PAIRS", "COUNTS", "SUMS"))
BLOCK_ROWS = 64         # of greedy_sums.c


class Memory(CliTest):
    def peak(self, *arguments):
        """Most bytes that were resident of a command that must succeed."""
        pid = os.spawnve(os.P_NOWAIT, MILLRACE, [MILLRACE, *arguments], dict(self.environment))
        _, status, used = os.wait4(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        return used.ru_maxrss * 1024

    def assert_within(self, mebibytes, *arguments):
        peak = self.peak(*arguments, "--memory", f"{mebibytes}M", "--workers", "cpu=2,device=none", "--force", "-q")
        self.assertLessEqual(peak, mebibytes * MIB)

    def parts(self, name):
        for part in sorted(os.listdir(self.path(name))):
            if part.startswith("part-"):
                with open(self.path(name, part), "rb") as file:
                    yield from file

    def test_small_pairs_that_are_sorted(self):
        self.sort_small_pairs(PAIRS, 40, 10000000)

    def test_small_pairs_that_are_combined_and_sorted(self):
        self.sort_small_pairs(COUNTS, 96, 12000000)

    def sort_small_pairs(self, app, mebibytes, rows):
        seen, last = 0, 1 << 64
        self.assert_within(mebibytes, "run", app, "-o", self.path("squares"), f"rows={rows}")
        for line in self.parts("squares"):
            seen += 1
            if seen % 97 == 0:
                key, value = map(int, line.split(b"\t"))
                self.assertEqual(value, key * key * 0x9e3779b97f4a7c15 & (1 << 64) - 1)
                self.assertLessEqual(value, last)
                last = value
        self.assertEqual(seen, rows)

    def test_floating_sums_of_many_blocks(self):
        keys, rows = 10000, 1000 * BLOCK_ROWS
        out = self.path("sums")
        self.assert_within(64, "run", SUMS, "-o", out, f"rows={rows}", f"keys={keys}")
        self.assert_sums(rows, keys)

    def assert_sums(self, rows, keys):
        want = [0.0] * keys
        for first in range(0, rows, BLOCK_ROWS):
            block = {}
            for row in range(first, first + BLOCK_ROWS):
                block[row % keys] = block.get(row % keys, 0.0) + 1 / (row + 1)
            for key, value in block.items():
                want[key] += value
        self.assertEqual([float(line.split(b"\t")[1]) for line in self.parts("sums")], want)

    @unittest.skipUnless(shutil.which("mpiexec.mpich"), "mpiexec.mpich is not there (Debian package mpich)")
    def test_floating_sums_of_many_ranks(self):
        """230 MiB of tables of blocks. No key of the larger ones has more than two rows: any order will do."""
        for rows, keys in ((1000 * BLOCK_ROWS, 30000), (4000 * BLOCK_ROWS, 140000)):
            self.succeed("run", SUMS, "-o", self.path("sums"), f"rows={rows}", f"keys={keys}", "--ranks", "4",
                         "--memory", "256M", "--workers", "cpu=4,device=none", "--force", "-q")
            self.assert_sums(rows, keys)
            ranks = json.loads(self.succeed("history", "last"))["ranks"]
            self.assertEqual(len(ranks), 4)
            self.assertLessEqual(max(rank["peak_rss_bytes"] for rank in ranks), 1.15 * 64 * MIB)

    def test_sums_that_can_never_fit_are_refused(self):
        self.assert_fails("run", SUMS, "-o", "out", "rows=1000", "keys=10000000", "--memory", "64M",
                          "--workers", "cpu=2,device=none", exit_status=2, says="with the sums over dense keys")

    def test_many_parts(self):
        self.succeed("generate", "records", "--size", "40M", "-o", "records")
        records = self.path("records")
        self.assert_within(64, "run", "sort", records, "-o", self.path("sorted"), "--parts", "1024")
        self.assertEqual(sum(name.startswith("part-") for name in os.listdir(self.path("sorted"))), 1024)
        self.assert_fails("run", "sort", records, "-o", "out", "--parts", "4096", "--memory", "64M", "--workers",
                          "cpu=2,device=none", exit_status=2, says="4096 parts are too many for a memory limit")

    def test_many_parts_of_sorted_results(self):
        """Each part reads all partitions: with as many of them as parts, 400 took 400 times 400 readers."""
        rows = 20000
        self.assert_within(64, "run", COUNTS, "-o", self.path("squares"), f"rows={rows}", "--parts", "400")
        self.assertEqual(sum(name.startswith("part-") for name in os.listdir(self.path("squares"))), 400)
        values = [int(line.split(b"\t")[1]) for line in self.parts("squares")]
        self.assertEqual(values, sorted((row * row * 0x9e3779b97f4a7c15 & (1 << 64) - 1 for row in range(rows)),
                                        reverse=True))
        self.assertLess(json.loads(self.succeed("history", "last"))["partitions"], 400)


if __name__ == "__main__":
    cli_test.main()
