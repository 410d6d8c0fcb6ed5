"""Every app on every OpenCL device that there is, against the same job on CPU workers, byte for byte.

The oracle is the CPU's answer, which the app's own test checks against something that knows nothing of Millrace.
Skipped where no OpenCL platform is installed. MILLRACE_TEST_KILLS: how often a device process is killed in the middle
(20).
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from array import array

import lib

SHARED = tempfile.mkdtemp(prefix="millrace-devices-")
KILLS = int(os.environ.get("MILLRACE_TEST_KILLS", "20"))
os.environ.update(XDG_CACHE_HOME=os.path.join(SHARED, "cache"), MILLRACE_DEVICE_BACKOFF_MS="10",
                  MILLRACE_DEVICE_FORGET_MS="0", MILLRACE_DEVICE_TIMEOUT_MS="60000")


def devices():
    """Identifiers of the devices, as the command sees them."""
    run = subprocess.run([lib.MILLRACE, "devices", "--json"], capture_output=True, timeout=120 * lib.PATIENCE)
    return [device["id"] for device in json.loads(run.stdout)["devices"]] if run.returncode == 0 else []


def device_processes(serving=False):
    """Numbers of this test's device processes: those with its folder of tokens in their environment. serving: not those
    that only list the devices, without which a job cannot begin."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if (os.path.basename(os.readlink(f"/proc/{name}/exe")).startswith("millrace-device") and
                    os.environ["MILLRACE_TOKENS"].encode() in lib.read(f"/proc/{name}/environ") and
                    (not serving or b"--serve" in lib.read(f"/proc/{name}/cmdline"))):
                found.append(int(name))
        except (OSError, ValueError):
            continue
    return found


class OnDevices(lib.AppTest):
    def setUp(self):
        super().setUp()
        os.environ["MILLRACE_TOKENS"] = self.path("tokens")
        self.devices = devices()
        if not self.devices:
            self.skipTest("no OpenCL device was found")

    def same(self, app, inputs, *params, flags=(), mixes=None, **environment):
        """The result with CPU workers only, after every device alone and all together gave the same."""
        self.app = app
        before = {name: os.environ.get(name) for name in environment}
        want = self.run_app(inputs, *params, flags=[*flags, "--workers", "cpu=2,device=none"])
        alone = [f"cpu=0,device={device}" for device in self.devices]
        try:
            os.environ.update(environment)
            for workers in mixes or [*alone, "cpu=1,device=all"]:
                with self.subTest(app=app, workers=workers, **environment):
                    got = self.run_app(inputs, *params, flags=[*flags, "--workers", workers])
                    self.assert_bytes(got, want)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        return want

    def stats(self, app, inputs, *params, workers):
        """What `run --json` says."""
        shutil.rmtree(self.path("out"), ignore_errors=True)
        run = subprocess.run([lib.MILLRACE, "run", app, *inputs, "-o", self.path("out"), "--json", "--workers", workers,
                              *params], capture_output=True, timeout=240 * lib.PATIENCE, check=True)
        return json.loads(run.stdout)

    def numbers(self, name, code, count, seed):
        rng = random.Random(seed)
        return self.file(name, array(code, [rng.uniform(0.5, 100) for _ in range(count)]).tobytes())

    def test_row_kernels(self):
        points, options = self.numbers("points", "f", 3 * 200001, 1), self.numbers("options", "f", 3 * 100003, 2)
        line, small = self.numbers("line", "f", 2 * 150001, 3), self.numbers("small", "f", 6, 4)
        self.same("kmeans", [points], "k=7", "rounds=3")
        self.same("kmeans", [small, points, small], "k=2", "rounds=2")
        self.same("black_scholes", [options, self.file("none", b""), options])
        self.same("linear_regression", [line])
        self.same("histogram", [line, self.file("byte", b"x")])
        self.same("pi", [], "terms=3000001")

    def test_text_kernels(self):
        text = [self.file("zipf", lib.zipf_text(3_000_000, 5)), *lib.real_files()[:150]]
        for app in ("wordcount", "inverted_index"):
            self.same(app, text, flags=["--sort", "key"])
        self.same("wordcount", text, "split=letters", "fold=1", flags=["--sort", "key"])
        self.same("top_k", text, "k=50")
        patterns = self.file("patterns", b"the\nthat\n#include\na\n)\nzzzzz\n")
        self.same("string_match", text, "patterns=" + patterns)

    def test_texts_at_their_edges(self):
        workers = [f"cpu=0,device={self.devices[0]}"]
        for name, contents in lib.edge_texts().items():
            files = [self.file(f"{name}/{i:04}", content) for i, content in enumerate(contents)]
            with self.subTest(name):
                self.same("wordcount", files, flags=["--sort", "key"], mixes=workers)
                self.same("string_match", files, "pattern=a", mixes=workers)

    def test_either_buffer_and_copies(self):
        text = [self.file("zipf", lib.zipf_text(2_000_000, 6))]
        workers = [f"cpu=0,device={device}" for device in self.devices]
        for buffer in ("array", "combine"):
            self.same("wordcount", text, flags=["--sort", "key"], mixes=workers, MILLRACE_DEVICE_BUFFER=buffer)
        self.same("wordcount", text, flags=["--sort", "key"], mixes=workers, MILLRACE_DEVICE_COPY="1")
        self.same("kmeans", [self.numbers("points", "f", 3 * 300001, 7)], "k=5", "rounds=2", mixes=workers,
                  MILLRACE_DEVICE_COPY="1")

    def test_devices_of_different_depth(self):
        if len(self.devices) < 2:
            self.skipTest("there is one OpenCL device only")
        numbers = self.numbers("numbers", "f", 500000, 13)
        for depths in ((1, 3), (3, 1)):
            workers = "cpu=0,device=" + ",".join(f"{d}:{depth}" for d, depth in zip(self.devices, depths))
            self.assertEqual(self.stats("histogram", [numbers], workers=workers)["device_failures"], 0, workers)

    def test_matmul_is_exact_for_integers(self):
        rng = random.Random(8)
        for code in "fd":
            a, b = (array(code, rng.choices(range(-30, 31), k=m * n)) for m, n in ((300, 70), (70, 90)))
            self.same("matmul", [self.file("a", a.tobytes())], "b=" + self.file("b", b.tobytes()), "n=70",
                      "type=" + {"f": "f32", "d": "f64"}[code])

    def test_sort_stays_on_the_cpu_and_explain_says_so(self):
        records = self.file("records", bytes(range(100)) * 50)
        run = subprocess.run([lib.MILLRACE, "explain", "sort", records, "--workers", "cpu=1,device=all"],
                             capture_output=True, check=True)
        self.assertIn(b"app sort runs on CPUs only", run.stdout)
        self.app = "sort"
        self.assert_fails([records], flags=["--workers", "cpu=0,device=all"], exit_status=4,
                          says="app sort runs on CPUs")

    def test_several_devices_of_one_platform(self):
        os.environ["POCL_DEVICES"] = "pthread pthread basic"
        self.addCleanup(os.environ.pop, "POCL_DEVICES")
        several = devices()
        if len(several) <= len(self.devices):
            self.skipTest("there is no pocl")
        text = [self.file("zipf", lib.zipf_text(3_000_000, 9))]
        self.same("wordcount", text, flags=["--sort", "key"], mixes=["cpu=0,device=all", "cpu=1,device=all"])
        got = self.stats("wordcount", text, workers="cpu=0,device=all")
        self.assertEqual(got["devices"], len(several))
        self.assertGreater(got["device_tasks"], 0)

    @unittest.skipIf(shutil.which("mpiexec.mpich") is None, "mpiexec.mpich is not installed (Debian: mpich)")
    def test_devices_of_several_ranks(self):
        text = [self.file("zipf", lib.zipf_text(3_000_000, 12))]
        self.same("wordcount", text, flags=["--sort", "key", "--ranks", "2"], mixes=["cpu=0,device=all"])

    def test_devices_that_are_killed_cost_no_answer(self):
        points = self.numbers("points", "f", 3 * 1_000_000, 10)
        self.app = "kmeans"
        params = ["k=40", "rounds=40"]
        want = self.run_app([points], *params, flags=["--workers", "2"])
        rng = random.Random(11)
        killed = 0
        for workers in ["cpu=0,device=" + self.devices[0], "cpu=1,device=all"] * ((KILLS + 1) // 2):
            shutil.rmtree(self.path("out"), ignore_errors=True)
            job = subprocess.Popen([lib.MILLRACE, "run", "kmeans", points, "-o", self.path("out"), "--quiet",
                                    "--workers", workers, *params], stderr=subprocess.PIPE)
            while not device_processes(serving=True) and job.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.4))
            for process in device_processes(serving=True):
                try:
                    os.kill(process, signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    continue
            errors = job.communicate(timeout=120 * lib.PATIENCE)[1].decode()
            self.assertEqual(job.returncode, 0, errors)
            self.assert_bytes(lib.read(self.path("out", "part-00000")), want)
        self.assertGreater(killed, 0)

    def test_a_killed_job_leaves_no_process(self):
        points = self.numbers("points", "f", 3 * 1_000_000, 12)
        for pause in (0.05, 0.3, 0.8):
            job = subprocess.Popen([lib.MILLRACE, "run", "kmeans", points, "-o", self.path("out"), "--quiet",
                                    "--workers", "cpu=0,device=all", "k=50", "rounds=500"], stderr=subprocess.DEVNULL)
            time.sleep(pause)
            job.kill()
            job.wait()
            deadline = time.monotonic() + 30 * lib.PATIENCE
            while device_processes() and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertEqual(device_processes(), [])
            self.assertFalse(os.path.exists(self.path("out")))

    def test_a_job_leaves_nothing_of_its_drivers_on_disk(self):
        """The folder is this test's own: a device that another test killed leaves its driver's files to the next."""
        text = [self.file("zipf", lib.zipf_text(500_000, 14))]
        os.environ["XDG_CACHE_HOME"], before = self.path("cache"), os.environ["XDG_CACHE_HOME"]
        self.addCleanup(os.environ.update, XDG_CACHE_HOME=before)
        for device in self.devices:
            self.assertGreater(self.stats("wordcount", text, workers=f"cpu=0,device={device}")["device_tasks"], 0)
            left = os.listdir(self.path("cache", "millrace", "kernels"))
            self.assertTrue(left)
            self.assertEqual([name for name in left if not name.endswith(".bin")], [], device)

    def one_token(self):
        """Leaves the first device one token; returns how to start a job on it."""
        device = self.devices[0]
        subprocess.run([lib.MILLRACE, "devices", "limit", device, "1"], check=True, capture_output=True)

        def start(points, out, *params):
            return subprocess.Popen([lib.MILLRACE, "run", "kmeans", points, "-o", self.path(out), "--quiet",
                                     "--workers", f"cpu=0,device={device}", *params], stderr=subprocess.PIPE)
        return start

    def holders(self):
        """Numbers of the processes that hold tokens of the first device."""
        listed = subprocess.run([lib.MILLRACE, "devices", "--json"], check=True, capture_output=True)
        device = next(d for d in json.loads(listed.stdout)["devices"] if d["id"] == self.devices[0])
        self.assertEqual(device["limit"], 1)
        return [token["pid"] for token in device["tokens"]]

    def assert_ends_well(self, job, out, want, seconds):
        try:
            errors = job.communicate(timeout=seconds * lib.PATIENCE)[1].decode()
        finally:
            job.kill()
        self.assertEqual(job.returncode, 0, errors)
        self.assert_bytes(lib.read(self.path(out, "part-00000")), want)

    def test_two_jobs_share_one_token(self):
        start, points, params = self.one_token(), self.numbers("points", "f", 3 * 300_000, 14), ["k=20", "rounds=100"]
        self.app = "kmeans"
        want = self.run_app([points], *params, flags=["--workers", "cpu=2,device=none"])
        jobs = {out: start(points, out, *params) for out in ("left", "right")}
        seen = set()
        while any(job.poll() is None for job in jobs.values()):
            now = self.holders()
            self.assertLessEqual(len(now), 1)
            seen.update(now)
        for out, job in jobs.items():
            self.assert_ends_well(job, out, want, 60)
        self.assertTrue(seen)
        self.assertLessEqual(seen, {job.pid for job in jobs.values()})

    def test_a_job_killed_with_all_tokens_holds_up_nobody(self):
        start, points = self.one_token(), self.numbers("points", "f", 3 * 300_000, 15)
        self.app = "kmeans"
        want = self.run_app([points], "k=9", "rounds=3", flags=["--workers", "cpu=2,device=none"])
        job = start(points, "killed", "k=100", "rounds=100000")
        deadline = time.monotonic() + 60 * lib.PATIENCE
        while (holders := self.holders()) != [job.pid] and time.monotonic() < deadline and job.poll() is None:
            time.sleep(0.01)
        self.assertEqual(holders, [job.pid])        # a moment later it may be between two tasks
        job.kill()
        job.communicate()
        self.assert_ends_well(start(points, "next", "k=9", "rounds=3"), "next", want, 60)
        self.assertFalse(os.path.exists(self.path("killed")))


if __name__ == "__main__":
    try:
        if not devices():
            print("skipped: no OpenCL device was found (Debian package pocl-opencl-icd)")
            sys.exit(77)
        lib.main()
    finally:
        shutil.rmtree(SHARED, ignore_errors=True)
