"""millrace devices, with a script in the place of millrace-device that shows two devices and fails on demand."""
import json
import os
import shutil
import subprocess

import cli_test
from cli_test import MILLRACE, CliTest

DEVICES = [{"id": name, "name": f"Device {name}", "platform": "Portable", "vendor": "Somebody", "version": "OpenCL 1.2",
            "driver": "3.1", "platform_index": 0, "device_index": index, "type": kind, "bus": bus, "units": 2,
            "global_bytes": 3 << 30, "local_bytes": 1 << 20, "max_alloc_bytes": 1 << 30, "unified": True, "f64": True,
            "int64_atomics": True}
           for index, (name, kind, bus) in enumerate([("pocl-0", "cpu", ""), ("nvidia-0", "gpu", "0000.3b.00.0")])]

PROGRAM = """#!/bin/sh
case $1:$2 in
--list:) cat "$ANSWER" ;;
--test:pocl-0) echo '{"id": "pocl-0", "passed": true, "runs": 3, "seconds": 1.25, "kernels": ["a", "b"], "why": ""}'
    echo "$*" >"$ANSWER.test" ;;
--test:nvidia-0) exec sh -c "$NVIDIA" ;;
esac
"""


class Devices(CliTest):
    def setUp(self):
        super().setUp()
        program = self.file("program", PROGRAM.encode())
        os.chmod(program, 0o700)
        self.environment.update(
            MILLRACE_DEVICE_PROGRAM=program, XDG_CACHE_HOME=self.path("cache"), ANSWER=self.path("answer"),
            MILLRACE_READ="pread",      # else each test measures the disk, which may be busy
            NVIDIA="""echo '{"id": "nvidia-0", "passed": false, "runs": 1, "seconds": 1, "why": "sum: 7"}'; exit 5""")
        self.answer(DEVICES, ["platform Broken skipped"])

    def answer(self, devices, notes):
        self.file("answer", json.dumps({"devices": devices, "notes": notes}).encode())

    def list(self):
        return {device["id"]: device for device in json.loads(self.succeed("devices", "--json"))["devices"]}

    def test_the_table_shows_each_device_and_the_notes(self):
        lines = self.succeed("devices").decode().splitlines()
        self.assertEqual(lines[0].split(), "DEVICE STATE TYPE UNITS MEMORY TOKENS FAILURES NAME".split())
        self.assertEqual(lines[1].split(), "pocl-0 well cpu 2 3.00 GiB 0/4 0 Device pocl-0".split())
        self.assertEqual(lines[2], "    platform: Portable, driver 3.1")
        self.assertEqual(lines[3].split()[:3], ["nvidia-0", "well", "gpu"])
        self.assertEqual(lines[-1], "platform Broken skipped")
        self.assertEqual(self.succeed("devices", "list").decode().splitlines(), lines)

    def test_json_has_what_the_driver_said(self):
        shown = json.loads(self.succeed("devices", "--json"))
        self.assertEqual(shown["notes"], ["platform Broken skipped"])
        for device, said in zip(shown["devices"], DEVICES, strict=True):
            self.assertEqual({key: device[key] for key in said if key in device},
                             {key: value for key, value in said.items() if not key.endswith("_index")})
            self.assertEqual((device["state"], device["limit"], device["tokens"], device["failures"], device["why"]),
                             ("well", 4, [], 0, None))

    def test_the_list_is_kept_until_it_is_asked_for_again(self):
        self.assertEqual(len(self.list()), 2)
        self.answer(DEVICES[:1], [])
        self.assertEqual(len(self.list()), 2)
        self.assertEqual(len(json.loads(self.succeed("devices", "--json", "--fresh"))["devices"]), 1)
        self.assertEqual(len(self.list()), 1)

    def test_no_device_is_no_error_and_says_why(self):
        self.answer([], [])
        self.assertEqual(self.succeed("devices", "-f"), b"no OpenCL platform is installed\n")
        nothing = self.succeed("devices", MILLRACE_DEVICE_PROGRAM=self.path("gone")).decode()
        self.assertIn("no devices: MILLRACE_DEVICE_PROGRAM names", nothing)
        self.assert_fails("devices", "drain", "pocl-0", exit_status=2,
                          says="there is no device 'pocl-0': no OpenCL platform is installed")
        self.assert_fails("devices", "test", exit_status=5, says="there is no device to test")

    def test_a_job_that_cannot_begin_says_so_with_devices_too(self):
        text = self.file("text", b"a b\n")
        self.assert_fails("run", "wordcount", text, "-o", self.path("out"), "fold=9", exit_status=2, says="fold")
        self.assert_fails("run", "wordcount", text, "-o", self.path("out"), "fold=9", "-w", "cpu=1,device=all",
                          exit_status=2, says="fold")
        self.assert_fails("run", "wordcount", "-", "-o", self.path("out"), "-w", "cpu=0,device=all", stdin=b"a b",
                          exit_status=4, says="its input does not lie in plain files")

    def test_drain_and_restore(self):
        self.succeed("devices", "drain", "pocl-0", "new", "driver", "tonight")
        device = self.list()["pocl-0"]
        self.assertEqual((device["state"], device["why"]), ("drained", "new driver tonight"))
        self.assertEqual(self.list()["nvidia-0"]["state"], "well")
        table = self.succeed("devices").decode()
        self.assertIn("    why: new driver tonight (", table)
        self.assertIn("    millrace devices restore pocl-0 gives it work again\n", table)
        self.succeed("devices", "restore", "pocl-0")
        self.assertEqual(self.list()["pocl-0"]["state"], "well")
        self.succeed("devices", "drain", "pocl-0")
        self.assertEqual(self.list()["pocl-0"]["why"], "drained by hand")

    def test_a_drained_device_is_known_by_its_place(self):
        """A batch system shows each task a device of its own, and all of them call it the first."""
        self.succeed("devices", "drain", "nvidia-0")
        for name, bus, state in (("nvidia-0", "0000.5e.00.0", "well"), ("nvidia-1", "0000.3b.00.0", "drained")):
            self.answer([{**DEVICES[1], "id": name, "bus": bus}], [])
            device = json.loads(self.succeed("devices", "--json", "--fresh"))["devices"][0]
            self.assertEqual((device["id"], device["bus"], device["state"]), (name, bus, state))

    def test_limit(self):
        self.assertEqual(self.succeed("devices", "limit", "pocl-0", "1"), b"pocl-0 has 1 token\n")
        self.assertEqual((self.list()["pocl-0"]["limit"], self.list()["nvidia-0"]["limit"]), (1, 4))

    def test_speeds_are_shown(self):
        os.makedirs(self.path("cache", "millrace", "speeds"), mode=0o700)
        speed = {"bytes_per_s": 0, "rows_per_s": 2.5e8, "overhead_ns": 9e3, "lanes": 16, "group": 1, "measured_at": 7}
        self.file("cache/millrace/speeds/kmeans@pocl-0", json.dumps(speed).encode())
        self.file("cache/millrace/speeds/damaged@pocl-0", b"{")
        self.assertEqual(self.list()["pocl-0"]["speeds"], [{"app": "kmeans", **speed}])
        self.assertIn("    measured: kmeans               250 Mrows/s, 16 lanes\n", self.succeed("devices").decode())

    def test_test_runs_the_known_answers(self):
        self.assertEqual(self.succeed("devices", "test", "pocl-0"),
                         b"pocl-0: passed: 2 kernels with known answers, 3 runs in 1.25 s\n")
        self.succeed("devices", "test", "pocl-0", "--stress", "7")
        with open(self.path("answer.test")) as file:
            self.assertEqual(file.read(), "--test pocl-0 --stress 7\n")

    def test_a_device_that_fails_its_test_is_exit_status_5(self):
        run = self.assert_fails("devices", "test", exit_status=5, says="1 device failed the test")
        self.assertEqual(run.stdout.decode().splitlines(), [
            "pocl-0: passed: 2 kernels with known answers, 3 runs in 1.25 s", "nvidia-0: FAILED: sum: 7"])
        crashes = {"kill -SEGV $$": "died of signal 11", "exit 0": "it gave no result",
                   "echo no such device >&2; exit 5": "ended with status 5: no such device",
                   """echo '{"passed": true}'; exit 5""": "ended with status 5"}
        for script, why in crashes.items():
            with self.subTest(script=script):
                run = self.assert_fails("devices", "test", "nvidia-0", exit_status=5, says="failed the test",
                                        NVIDIA=script)
                self.assertIn("nvidia-0: FAILED: ", run.stdout.decode())
                self.assertIn(why, run.stdout.decode())

    def test_json_of_a_test_is_the_results_and_then_the_failure(self):
        results = json.loads(self.succeed("devices", "test", "pocl-0", "--json"))
        self.assertEqual([(result["id"], result["passed"]) for result in results], [("pocl-0", True)])
        run = self.assert_fails("devices", "test", "--json", exit_status=5, says="1 device failed the test")
        results, end = json.JSONDecoder().raw_decode(run.stdout.decode())
        self.assertEqual([(result["id"], result["passed"]) for result in results],
                         [("pocl-0", True), ("nvidia-0", False)])
        self.assertEqual(json.loads(run.stdout.decode()[end:])["status"], "MR_DEVICE_LOST")

    def test_mistakes_get_a_sentence(self):
        cases = [
            (["restore", "foo"], "there is no device 'foo'\n  hint: there are pocl-0, nvidia-0"),
            (["frobnicate"], "millrace devices cannot 'frobnicate'"),
            (["list", "pocl-0"], "millrace devices cannot 'list'"),
            (["drain"], "name the device to drain"),
            (["restore"], "name the one device to restore"),
            (["restore", "pocl-0", "nvidia-0"], "name the one device to restore"),
            (["limit", "pocl-0"], "a device and a number of tokens are needed"),
            (["limit", "pocl-0", "many"], "the number of tokens cannot be 'many'\n  hint: 1 .. 64"),
            (["limit", "pocl-0", "0"], "a device cannot have 0 tokens"),
            (["limit", "pocl-0", "65"], "a device cannot have 65 tokens"),
            (["test", "foo"], "there is no device 'foo'"),
            (["test", "a", "b"], "test takes one device at most"),
            (["--stress", "5"], "--stress goes with test"),
        ]
        for arguments, sentence in cases:
            with self.subTest(arguments=arguments):
                self.assert_fails("devices", *arguments, exit_status=2, says="millrace: " + sentence)

    def test_tokens_that_cannot_be_used_hide_no_device(self):
        os.mkdir(self.path("tokens"), mode=0o777)
        os.chmod(self.path("tokens"), 0o777)
        self.assertEqual([device["state"] for device in self.list().values()], ["unknown", "unknown"])
        self.assertIn("others may use", self.succeed("devices").decode())
        self.assert_fails("devices", "drain", "pocl-0", exit_status=4, says="others may use")

    def test_the_program_is_found_beside_the_command_by_any_path(self):
        for folder in ("bin", "libexec/millrace"):
            os.makedirs(self.path("prefix", folder))
        os.rename(self.path("program"), self.path("prefix", "libexec", "millrace", "millrace-device"))
        command = shutil.copy(MILLRACE, self.path("prefix", "bin", "millrace"))
        os.symlink(os.path.join(os.path.dirname(MILLRACE), "..", "lib"), self.path("prefix", "lib"))
        environment = dict(self.environment)
        del environment["MILLRACE_DEVICE_PROGRAM"]
        for name, folder in ((command, "/"), ("bin/millrace", self.path("prefix")),
                             ("./millrace", self.path("prefix", "bin"))):
            run = subprocess.run([name, "devices", "--json", "--fresh"], cwd=folder, env=environment,
                                 capture_output=True)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual(len(json.loads(run.stdout)["devices"]), 2, name)


if __name__ == "__main__":
    cli_test.main()
