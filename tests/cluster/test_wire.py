"""What packing does over a slow network: three hosts with a shaped link each, a rank on each host. ctest sets MILLRACE
and MILLRACE_MPI_MODULE.

Oracle: Python's sort, and what the records say of the bytes that went over the links. No time is compared."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import cluster_test
from hosts import Hosts, need

MILLRACE = os.environ.get("MILLRACE", "")
GUARD = os.path.join(os.path.dirname(MILLRACE), "..", "libexec", "millrace", "millrace-guard")
MODULE = os.environ.get("MILLRACE_MPI_MODULE", "")
SIZE = 80_000_000
RATE = 160_000_000      # bits a second: far less than a core packs, a busy one too


def setUpModule():
    global hosts
    need("mpiexec.mpich", "tc")
    if not os.path.exists(MODULE):
        raise unittest.SkipTest("millrace_mpi.so was not built (Debian: libmpich-dev)")
    hosts = unittest.enterModuleContext(Hosts(3, RATE))


class Wire(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="millrace-wire-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        subprocess.run([MILLRACE, "generate", "records", "--size", str(SIZE), "-o", cls.path("records")], check=True)
        with open(cls.path("records"), "rb") as file:
            bytes = file.read()
        cls.expected = b"".join(sorted(bytes[at:at + 100] for at in range(0, len(bytes), 100)))

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.folder, *names)

    def sort(self, packed):
        """Sorts on three hosts; bytes that went over the links, and those that packing saved."""
        environment = {"MILLRACE_RECORDS": self.path("notes"), "MILLRACE_BURST": hosts.local}
        if packed is not None:
            environment["MILLRACE_LZ4"] = packed
        hosts.succeed("mpiexec.mpich", "-disable-auto-cleanup", "-launcher", "ssh", "-launcher-exec", hosts.rsh,
                      "-hosts", ",".join(host.name for host in hosts), "-ppn", "1", "-n", str(len(list(hosts))),
                      GUARD, MILLRACE, "run", "sort", self.path("records"), "-o", self.path("out"), "-q",
                      "--memory", "256M", "--workers", "cpu=1", env=environment, timeout=240)
        result = b""
        for part in sorted(glob.glob(self.path("out", "part-*"))):
            with open(part, "rb") as file:
                result += file.read()
        shutil.rmtree(self.path("out"))
        self.assertTrue(result == self.expected, "the results differ")
        record, = [name for name in glob.glob(self.path("notes", "*.json")) if not name.endswith(".trace.json")]
        with open(record, encoding="utf-8") as file:
            ranks = json.load(file)["ranks"]
        shutil.rmtree(self.path("notes"))
        return [sum(rank[name] for rank in ranks) for name in ("sent_bytes", "saved_bytes")]

    def test_a_slow_network_gets_packed_pairs(self):
        sent, saved = self.sort("0")
        self.assertEqual(saved, 0)
        self.assertGreater(sent, SIZE // 2)
        self.assertLess(sent, SIZE)
        sent, saved = self.sort("1")
        self.assertGreater(saved, sent)             # lz4 makes less than half of it
        sent, saved = self.sort(None)
        self.assertGreater(saved, sent // 10)       # it found out by itself, after some megabytes


if __name__ == "__main__":
    cluster_test.main()
