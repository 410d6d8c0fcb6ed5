"""test_gpu_kit.py BUILD: the kit of bench/gpu has all that a machine without Millrace's libraries needs, and nothing of
a damaged kit, a missing python3 or a missing GPU goes unsaid. The oracles are sha256sum and the dynamic linker."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.abspath(sys.argv.pop(1))
GPU = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench/gpu")
LIMIT = 60 << 20            # what some ways to carry it take, less a source tree
GLIBC = re.compile(r"/(ld-linux[^/]*|lib(c|m|dl|rt|pthread)\.so\.\d+)$")
BARE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def started(*command, **environment):
    return subprocess.run(command, env=BARE | environment, capture_output=True, text=True, timeout=120)


class Kit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="millrace-kit-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        packed = started(GPU, "pack", "--build", BUILD, "-o", f"{cls.folder}/packed")
        if packed.returncode != 0:
            raise AssertionError(packed.stderr)
        cls.kit = f"{cls.folder}/elsewhere/kit"
        os.mkdir(f"{cls.folder}/elsewhere")
        os.rename(f"{cls.folder}/packed", cls.kit)
        cls.results = f"{cls.folder}/results"

    def run_kit(self, kit, *options, **environment):
        """Finds the devices, and stops there."""
        return started("/bin/bash", f"{kit}/bench/gpu", "run", kit, "-o", self.results, "--steps", "", *options,
                       TMPDIR=self.folder, **environment)

    def assert_all_from_the_kit(self, libraries):
        self.assertGreater(sum(path.startswith(self.kit) for path in libraries), 5)
        foreign = {path for path in libraries if not path.startswith(self.kit) and not GLIBC.search(path)}
        self.assertEqual(foreign, set())

    def test_it_is_small(self):
        files = [os.path.join(folder, name) for folder, _, names in os.walk(self.kit) for name in names]
        self.assertLess(sum(map(os.path.getsize, files)), LIMIT)

    def test_the_manifest_has_the_sums_of_sha256sum(self):
        with open(f"{self.kit}/manifest.json") as file:
            listed = dict(re.findall(r'"([^"]+)": \{\s*"bytes": \d+,\s*"sha256": "([0-9a-f]{64})"', file.read()))
        summed = started("/bin/sh", "-c",
                         f"cd {self.kit} && find . -type f ! -name manifest.json -exec sha256sum {{}} +")
        want = {line[66:].removeprefix("./"): line[:64] for line in summed.stdout.splitlines()}
        self.assertEqual(listed, want)
        self.assertIn("lib/libOpenCL.so.1", listed)

    def test_only_glibc_is_linked_from_outside(self):
        for program in [f"{self.kit}/bin/millrace", f"{self.kit}/libexec/millrace/millrace-device",
                        *glob.glob(f"{self.kit}/lib/*.so*"), *glob.glob(f"{self.kit}/lib/millrace/apps/*.so")]:
            listed = started("ldd", program, LD_LIBRARY_PATH=f"{self.kit}/lib").stdout
            self.assertNotIn("not found", listed, program)
            foreign = {path for path in re.findall(r"=> (/\S+)", listed)
                       if not path.startswith(self.kit) and not GLIBC.search(path)}
            self.assertEqual(foreign, set(), program)

    def test_only_glibc_is_loaded_from_outside(self):
        os.mkdir(f"{self.folder}/no-plugins")
        run = started(f"{self.kit}/bin/millrace", "run", "pi", "terms=1000", "-o", f"{self.folder}/pi", "--quiet",
                      "--workers", "cpu=1,device=none", LD_LIBRARY_PATH=f"{self.kit}/lib", LD_DEBUG="files",
                      HWLOC_PLUGINS_PATH=f"{self.folder}/no-plugins", MILLRACE_RECORDS=f"{self.folder}/records",
                      MILLRACE_BURST=self.folder)
        self.assertEqual(run.returncode, 0, run.stderr[-1000:])
        loaded = set(re.findall(r"calling init: (/\S+)", run.stderr))
        self.assertIn(f"{self.kit}/lib/millrace/apps/pi.so", loaded)
        self.assert_all_from_the_kit(loaded)

    def test_run_finds_devices_or_says_that_there_are_none(self):
        run = self.run_kit(self.kit)
        if run.returncode == 0:                     # a machine with a GPU
            self.assertIn('"devices"', open(f"{self.results}/results.json").read())
        else:
            self.assertEqual(run.returncode, 77, run.stderr)
            self.assertRegex(run.stdout, r"^bench/gpu: skipped: no OpenCL device that counts \(drivers found: .*\): .")
        self.assertEqual(glob.glob(f"{self.folder}/millrace-gpu-*"), [], "the scratch folder was left")

    def test_a_damaged_kit_is_named(self):
        damaged = f"{self.folder}/damaged"
        shutil.copytree(self.kit, damaged)
        with open(f"{damaged}/lib/libhwloc.so.15", "r+b") as file:
            file.seek(5000)
            file.write(b"damage")
        run = self.run_kit(damaged)
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("the kit is damaged: lib/libhwloc.so.15 is not what was packed", run.stderr)
        os.remove(f"{damaged}/manifest.json")
        self.assertIn("is no kit", self.run_kit(damaged).stderr)

    def test_a_missing_python_is_named(self):
        run = self.run_kit(self.kit, PATH=self.folder)
        self.assertEqual(run.returncode, 2)
        self.assertIn("python3 is not on the PATH", run.stderr)

    def test_pack_replaces_no_folder_but_a_kit(self):
        os.makedirs(f"{self.folder}/mine/work")
        run = started(GPU, "pack", "--build", BUILD, "-o", f"{self.folder}/mine")
        self.assertEqual(run.returncode, 1)
        self.assertIn("is no kit", run.stderr)
        self.assertEqual(os.listdir(f"{self.folder}/mine"), ["work"])


if __name__ == "__main__":
    for tool in ("ldd", "readelf", "strip", "sha256sum"):
        if shutil.which(tool, path=BARE["PATH"]) is None:
            print(f"skipped: {tool} is not installed")
            sys.exit(77)
    unittest.main(argv=[sys.argv[0], "-v"])
