"""millrace history and trace, over records written here in the form that engine/record.c documents."""
import json
import os

import cli_test
from cli_test import CliTest


class History(CliTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("records"))

    def record(self, run, **fields):
        """Writes the record of a run, and returns what is in it."""
        content = {"format": 1, "run": run, "app": "wordcount", "status": "MR_OK", "error": None, "seconds": 1.5,
                   "input_bytes": 3 << 30, "keys": 3800000, "output": "counts", "trace": None, **fields}
        self.file(f"records/{run}.json", json.dumps(content).encode())
        return content

    def test_no_records_are_an_empty_list(self):
        self.assertEqual(self.succeed("history"), b"")
        self.assertEqual(json.loads(self.succeed("history", "--json")), [])
        self.assertEqual(self.succeed("history", MILLRACE_RECORDS=self.path("none")), b"")

    def test_the_newest_is_last_and_n_limits(self):
        runs = [f"20261121-1617{second:02}-000000-1-abcd" for second in range(30)]
        for run in reversed(runs):
            self.record(run)
        lines = self.succeed("history").decode().splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:]], runs[10:])
        self.assertEqual(lines[1].split()[1:], ["wordcount", "1.50", "s", "3.00", "GiB", "3,800,000", "counts"])
        lines = self.succeed("history", "-n", "2").decode().splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:]], runs[-2:])

    def test_json_is_the_records(self):
        records = [self.record("1-a"), self.record("2-b", output=None)]
        self.assertEqual(json.loads(self.succeed("history", "--json")), records)

    def test_one_run_is_found_by_its_beginning(self):
        records = [self.record("20261121-1"), self.record("20261121-12"), self.record("20261122-1")]
        self.assertEqual(json.loads(self.succeed("history", "last")), records[2])
        self.assertEqual(json.loads(self.succeed("history", "20261122")), records[2])
        self.assertEqual(json.loads(self.succeed("history", "20261121-1")), records[0])
        self.assert_fails("history", "202611", exit_status=3, says="'202611' begins 3 runs")
        self.assert_fails("history", "1999", exit_status=3, says="there is no run '1999'")

    def test_a_failed_run_shows_why(self):
        self.record("1-a", status="MR_BAD_INPUT", error="could not read /a: permission denied\n  hint: chmod")
        last = self.succeed("history").decode().splitlines()[1]
        self.assertTrue(last.endswith("MR_BAD_INPUT: could not read /a: permission denied"), last)

    def test_runs_of_many_ranks_show_how_many_and_how_many_were_lost(self):
        ranks = [{"rank": rank, "lost": rank == 1} for rank in range(4)]
        self.record("1-a", ranks=ranks, losses=[])
        self.record("2-b", ranks=ranks, losses=[{"rank": 1}])
        self.record("3-c", ranks=ranks[:1], losses=[])
        self.record("4-d", ranks=ranks, losses=7, status="MR_IO_FAILED", error="no space")
        lines = self.succeed("history").decode().splitlines()[1:]
        self.assertEqual([line.split("GiB")[1].split(None, 1)[1] for line in lines],
                         ["counts  (4 ranks)", "counts  (4 ranks, 1 lost)", "counts",
                          "MR_IO_FAILED: no space  (4 ranks)"])

    def test_damaged_records_hide_no_other(self):
        good = self.record("3-good")
        damaged = {"1-half": b'{"run": "1-half", "app', "2-list": b"[1, 2]", "4-empty": b"", "5-nul": b"\0" * 100,
                   "6-types": b'{"run": 7}'}
        for name, content in damaged.items():
            self.file(f"records/{name}.json", content)
        self.file("records/7-odd.json",
                  b'{"run": "7-odd", "seconds": "long", "keys": -5, "input_bytes": [], "app": null}')
        run = self.start("history")
        self.assertEqual(run.returncode, 0)
        self.assertEqual([line.split()[0] for line in run.stdout.decode().splitlines()[1:]], ["3-good", "7-odd"])
        self.assertEqual(run.stderr.count(b"hint: remove it"), 5, run.stderr)
        self.assertEqual(json.loads(self.start("history", "--json").stdout)[0], good)
        self.assert_fails("history", "1-half", exit_status=3, says="is damaged")

    def test_what_is_no_file_is_not_read(self):
        self.record("2-good")
        os.mkfifo(self.path("records", "1-pipe.json"))
        os.mkdir(self.path("records", "3-folder.json"))
        os.symlink("/dev/zero", self.path("records", "4-device.json"))
        run = self.start("history")
        self.assertEqual(run.returncode, 0)
        self.assertEqual([line.split()[0] for line in run.stdout.decode().splitlines()[1:]], ["2-good"])
        self.assertEqual(run.stderr.count(b"is no record of a run: it is no regular file\n"), 3, run.stderr)

    def test_control_characters_do_not_reach_the_terminal(self):
        self.record("1-\x1b[2J", app="a\x07pp", output="out\x7f\x1b[31m")
        self.record("2-bad", status="MR_\x01", error="why\x1b[0m not\n  hint: none")
        self.file("records/3-\x1b]0;\x07.json", b"{")
        run = self.start("history")
        self.assertFalse(set(run.stdout + run.stderr) & (set(range(0x20)) - {0x0a} | {0x7f}))
        lines = run.stdout.decode().splitlines()
        words = lines[1].split()
        self.assertEqual((words[0], words[1], words[-1]), ("1-\\x1b[2J", "a\\x07pp", "out\\x7f\\x1b[31m"))
        self.assertTrue(lines[2].endswith("  MR_\\x01: why\\x1b[0m not"), lines[2])
        self.assertIn("/3-\\x1b]0;\\x07.json is damaged", run.stderr.decode())

    def test_records_may_be_switched_off(self):
        self.assert_fails("history", MILLRACE_RECORDS="", exit_status=2, says="no records are kept")

    def test_the_trace_is_named_and_copied(self):
        self.file("records/1-a.trace.json", b'{"traceEvents": []}')
        self.record("1-a", trace=self.path("records", "1-a.trace.json"))
        run = self.start("trace", "last")
        self.assertEqual((run.returncode, run.stdout.decode().strip()), (0, self.path("records", "1-a.trace.json")))
        self.assertIn(b"Perfetto", run.stderr)
        self.succeed("trace", "1-a", "-o", "copy.json")
        with open(self.path("copy.json"), "rb") as file:
            self.assertEqual(file.read(), b'{"traceEvents": []}')

    def test_a_run_without_trace_says_so(self):
        self.record("1-a")
        self.record("2-b", trace=self.path("gone"))
        self.assert_fails("trace", "1-a", exit_status=3, says="run 1-a left no trace")
        self.assert_fails("trace", "2-b", exit_status=3, says="No such file")
        self.assert_fails("trace", "3-c", exit_status=3, says="there is no run '3-c'")


if __name__ == "__main__":
    cli_test.main()
