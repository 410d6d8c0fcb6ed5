"""Help, version and usage mistakes. Oracle: golden texts in tests/cli/golden; MR_GOLDEN=update rewrites them.
The man pages are held against the help texts: an option stands in both or in neither."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import cli_test
from cli_test import MILLRACE, CliTest

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parent.parent
COMMANDS = ["run", "sbatch", "explain", "apps", "devices", "generate", "history", "trace"]


class Help(CliTest):
    def golden(self, name, text):
        path = HERE / "golden" / f"{name}.txt"
        if os.environ.get("MR_GOLDEN") == "update":
            path.write_bytes(text)
        self.assertEqual(text.decode(), path.read_text())

    def test_the_overview_is_the_golden_text(self):
        self.golden("millrace", self.succeed("--help"))
        self.assertEqual(self.succeed("help"), self.succeed("-h"))

    def test_each_help_is_the_golden_text(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                self.golden(command, self.succeed(command, "--help"))
                self.assertEqual(self.succeed("help", command), self.succeed(command, "-h"))

    def test_help_fits_a_terminal(self):
        for command in COMMANDS:
            for line in self.succeed(command, "--help").decode().splitlines():
                self.assertLessEqual(len(line), 110, line)

    def test_man_pages_have_the_same_options(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                page = (SOURCE / "docs" / "man" / f"millrace-{command}.1").read_text().replace("\\", "")
                options = page[page.index(".SH OPTIONS"):].split(".SH ", 2)[1]
                wanted = set(re.findall(r"^  .{4}(--[a-z-]+)", self.succeed(command, "--help").decode(), re.M))
                self.assertEqual(set(re.findall(r"--[a-z][a-z-]*", options)), wanted)

    @unittest.skipUnless(shutil.which("groff"), "no groff here")
    def test_man_pages_are_well_formed(self):
        for page in sorted((SOURCE / "docs" / "man").iterdir()):
            run = subprocess.run(["groff", "-t", "-man", "-ww", "-Tascii", page], capture_output=True)
            self.assertEqual((run.returncode, run.stderr), (0, b""), page)

    def test_version(self):
        self.assertRegex(self.succeed("--version"), rb"^millrace \d+\.\d+\.\d+\n$")

    def test_mistakes_of_usage_get_a_sentence(self):
        cases = [
            ([], "no command given"),
            (["rnu"], "there is no command 'rnu'\n  hint: did you mean run?"),
            (["frobnicate"], "there is no command 'frobnicate'\n  hint: millrace --help lists them"),
            (["help", "me"], "there is no command 'me'"),
            (["run"], "no app is named"),
            (["run", "wordcount", "x"], "no output is named\n  hint: add -o DIR"),
            (["run", "--forse"], "millrace run has no option --forse\n  hint: did you mean --force?"),
            (["run", "-x"], "millrace run has no option -x\n  hint: millrace run --help lists them"),
            (["run", "--force=yes"], "--force=yes takes no value"),
            (["run", "-o"], "-o needs a value\n  hint: -o DIR"),
            (["run", "--memory"], "--memory needs a value\n  hint: --memory SIZE"),
            (["run", "--memory", "lots"],
             "--memory cannot be 'lots'\n  hint: give a size in bytes, such as 256M or 1.5G"),
            (["run", "--memory=3"], "--memory is out of range: '3'\n  hint: the range is 1048576 .. 1e+18"),
            (["run", "-m99999999999T"], "--memory is too large: '99999999999T'"),
            (["run", "wordcount", __file__, "-o", "out", "--workers", "0"], "--workers 0 leaves nobody to work"),
            (["run", "wordcount", __file__, "-o", "out", "--workers", "1.5"], "--workers cannot be '1.5'"),
            (["run", "wordcount", __file__, "-o", "out", "--workers", "1025"], "--workers is out of range"),
            (["run", "--sort", "up"], "--sort cannot be 'up'\n  hint: one of none|key|value"),
            (["history", "--count", "0"], "--count is out of range"),
            (["trace"], "name one run"),
        ]
        for arguments, sentence in cases:
            with self.subTest(arguments=arguments):
                self.assert_fails(*arguments, exit_status=2, says="millrace: " + sentence)

    def test_json_is_one_object_even_for_wrong_arguments(self):
        for switch in ("--json", "-j"):
            run = self.assert_fails("run", switch, "--parts", "no", exit_status=2, says="--parts cannot be 'no'")
            self.assertEqual(json.loads(run.stdout), {
                "error": "--parts cannot be 'no'", "hint": "give a whole number, such as 2 or 1e6",
                "status": "MR_BAD_USAGE", "exit": 2}, switch)

    def test_a_closed_standard_output_is_an_error(self):
        with open("/dev/full", "wb") as full:
            run = subprocess.run([MILLRACE, "--help"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 4)
        self.assertIn(b"could not write to standard output", run.stderr)


class Completion(CliTest):
    def complete(self, *words):
        """What bash would offer for the last word."""
        script = SOURCE / "cli" / "completion" / "millrace.bash"
        quoted = " ".join(f"'{word}'" for word in words)
        code = (f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _millrace; "
                'printf "%s\\n" "${COMPREPLY[@]}"')
        path = os.path.dirname(os.path.abspath(MILLRACE)) + ":" + os.environ["PATH"]
        run = subprocess.run(["bash", "-c", code], env=dict(self.environment, PATH=path), capture_output=True,
                             cwd=self.folder, text=True)
        return [line for line in run.stdout.splitlines() if line]

    def test_commands(self):
        self.assertEqual(self.complete("millrace", "h"), ["history", "help"])

    def test_options_come_from_the_help(self):
        self.assertEqual(self.complete("millrace", "run", "--m"), ["--memory"])
        self.assertEqual(self.complete("millrace", "run", "--ra"), ["--ranks"])
        self.assertEqual(self.complete("millrace", "generate", "--se"), ["--seed"])
        self.assertEqual(self.complete("millrace", "sbatch", "--memory-"), ["--memory-per-node"])

    def test_workers(self):
        for written, offers in [("", ["cpu=", "device="]), ("d", ["device="]), ("cpu = 1,", ["1,cpu=", "1,device="]),
                                ("device = a", ["all", "accelerator"]), ("cpu =", []),
                                ("cpu = 0,device = no", ["none"]), ("device = x,al", ["x,all"])]:
            for option in "-w", "--workers":
                words = self.complete("millrace", "run", "wordcount", "text", option, *written.split(" "))
                self.assertEqual(words, offers, written)
        self.file("dell", b"x")
        self.assertEqual(self.complete("millrace", "run", "none_such", "-w", "4", "de"), ["dell"])

    def test_choices_kinds_and_files(self):
        self.file("letters.txt", b"x")
        self.assertEqual(self.complete("millrace", "run", "--sort", ""), ["none", "key", "value"])
        self.assertEqual(self.complete("millrace", "generate", "p"), ["points"])
        self.assertEqual(self.complete("millrace", "devices", "dr"), ["drain"])
        self.assertEqual(self.complete("millrace", "run", "none_such", "let"), ["letters.txt"])


if __name__ == "__main__":
    cli_test.main()
