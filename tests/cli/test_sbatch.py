"""millrace sbatch: the script, what a shell makes of it, and how it is submitted. Oracle: bash itself, which runs the
script with a stand-in for srun that writes down its words; the words and statuses that are written here. On a real
Slurm: tests/cluster/test_ranks.py."""
import json
import os
import signal
import subprocess
import unittest

import cli_test
from cli_test import MILLRACE, PATIENCE
from launch_test import LaunchTest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SUCCESS = 'echo "  0" >>"$MILLRACE_VERDICT"'
TRICKY = ["a b", "it's", "$HOME", "`id`", "x\ny", "*", '"', "\\", "-x", "$(id)", "\u00e9",
          "#SBATCH --nodes=9", "a;b&c", "!"]


class SbatchTest(LaunchTest):
    def script(self, *arguments, app="wordcount", inputs=("text",), output="out"):
        """The text of the script, which bash takes for one."""
        options = [] if output is None else ["-o", output]
        text = self.succeed("sbatch", *options, *arguments, "--dry-run", "--", app, *inputs).decode()
        subprocess.run(["bash", "-n"], input=text, text=True, check=True, timeout=60 * PATIENCE)
        return text

    def run_script(self, text, fake=SUCCESS, **how):
        """Runs it as Slurm does: a copy, in the folder of the job. Its clock runs faster."""
        self.put_program("srun")
        self.assertEqual(text.count("sleep 1;"), 2)
        self.file("job", text.replace("sleep 1;", "sleep 0.02;").encode())
        environment = dict(self.environment, SLURM_JOB_ID="77", SLURM_NNODES="3", FAKE=fake)
        return subprocess.Popen(["bash", self.path("job")], env=environment, cwd=self.folder, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                start_new_session=True, **how)

    def end(self, process):
        out, err = process.communicate(timeout=60 * PATIENCE)
        self.assertEqual([name for name in os.listdir(self.folder) if "verdict" in name], [])
        return process.returncode, out, err


class Script(SbatchTest):
    def directives(self, text):
        lines = text.splitlines()
        self.assertEqual(lines[0], "#!/bin/bash")
        found = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
        commands = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
        last = max(number for number, line in enumerate(lines) if line.startswith("#SBATCH ") and number < commands[0])
        self.assertLess(last, commands[0])
        return found

    def test_what_the_job_needs(self):
        self.assertEqual(self.directives(self.script()), [
            "--job-name=wordcount", "--nodes=1", "--ntasks-per-node=1", "--exclusive", "--mem=0", "--no-kill",
            "--no-requeue"])
        self.assertEqual(self.directives(self.script(
            "--nodes", "16", "--ranks-per-node", "2", "--cpus-per-node", "32", "--memory-per-node", "60G", "--devices",
            "gpu:a100:2", "--time", "1-12:30:00", "--partition", "long,short", "--account", "proj-1", "--name", "j.1",
            "--requeue")), [
            "--job-name=j.1", "--nodes=16", "--ntasks-per-node=2", "--cpus-per-task=16", "--mem=61440M",
            "--time=1-12:30:00", "--gres=gpu:a100:2", "--partition=long,short", "--account=proj-1", "--no-kill",
            "--requeue"])
        self.assertEqual(self.directives(self.script(app="./my apps/it's.so"))[0], "--job-name=it_s.so")

    def test_spares_have_nodes_of_their_own(self):
        for arguments, nodes, spares in [(["--nodes", "16", "--spares", "2"], 18, "2"),
                                         (["--nodes", "2", "--ranks-per-node", "4", "--spares", "4"], 3, "4"),
                                         (["--nodes", "2", "--ranks-per-node", "4", "--spares", "5"], 4, "8"),
                                         (["--nodes", "2", "--spares", "0"], 2, None)]:
            with self.subTest(arguments=arguments):
                text = self.script(*arguments)
                self.assertIn(f"--nodes={nodes}", self.directives(text))
                self.assertEqual(self.end(self.run_script(text))[0], 0)
                self.assertEqual(self.environment_of("srun").get("MILLRACE_SPARES"), spares)
                self.assertNotIn("--spares", " ".join(self.words_of("srun")))

    def test_nodes_of_several_kinds(self):
        """What a kind does not name is as in the options, but for nodes and devices."""
        of_all = ["--account=proj-1", "--no-kill", "--no-requeue"]
        given = ("--nodes", "2", "--time", "30", "--account", "proj-1", "--partition", "thin", "--devices", "gpu:9",
                 "--memory-per-node", "4G")
        first = ["--job-name=wordcount", "--nodes=2", "--ntasks-per-node=1", "--exclusive", "--mem=4096M", "--time=30",
                 "--gres=gpu:9", "--partition=thin", *of_all]
        second = ["hetjob", "--nodes=4", "--ntasks-per-node=1", "--exclusive", "--mem=4096M", "--time=30",
                  "--gres=gpu:a100:1,disk:2", "--partition=gpu,gpu2", *of_all]
        third = ["hetjob", "--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=8", "--mem=2097152M", "--time=30",
                 "--partition=thin", *of_all]
        text = self.script(*given, "--and", "nodes=4 devices=gpu:a100:1,disk:2 partition=gpu,gpu2 : "
                                            "memory-per-node=2T  cpus-per-node=8")
        self.assertEqual(self.directives(text), first + second + third)
        self.assertEqual(self.end(self.run_script(text)), (0, "", ""))
        self.assertEqual(self.words_of("srun")[:6], ["--het-group=0,1,2", "-K0", "--no-kill", "--mpi=pmi2",
                                                     "--cpu-bind=none", "--ntasks-per-node=1"])

    def test_kinds_with_devices_come_first(self):
        """Slurm would give their nodes to those before them."""
        given = [("2", None), ("3", "gpu:1"), ("4", None), ("5", "gpu:2")]
        more = " : ".join(f"nodes={nodes}" + (f" devices={devices}" if devices else "") for nodes, devices in given[1:])
        lines = self.directives(self.script("--nodes", "2", "--and", more))
        self.assertEqual([line.split("=")[1] for line in lines if line.startswith(("--nodes=", "--gres="))],
                         ["3", "gpu:1", "5", "gpu:2", "2", "4"])

    def test_kinds_of_nodes_that_are_none(self):
        for value, says in [("", "a kind of nodes has no words"), ("nodes=4 :", "has no words"),
                            (": nodes=4", "has no words"), ("nodes=1 : : nodes=2", "has no words"),
                            ("gpu", "'gpu' is not a word like nodes=4"), ("nodes=", "is not a word"),
                            ("nodes=0", "nodes cannot be '0'"), ("nodes=4,partition=gpu", "words are apart by spaces"),
                            ("memory-per-node=much", "memory-per-node cannot be 'much'"),
                            ("ranks-per-node=2", "--and has no word ranks-per-node"),
                            ("devices=a\tb", "--devices cannot be 'a\tb'"),
                            (" : ".join(["nodes=1"] * 16), "more than 15 kinds of nodes")]:
            with self.subTest(value=value):
                self.assert_fails("sbatch", "wordcount", "text", "-o", "out", "--dry-run", "--and", value,
                                  exit_status=2, says=says)
        self.assert_fails("sbatch", "wordcount", "text", "-o", "out", "--ranks-per-node", "2", "--and",
                          "cpus-per-node=1", exit_status=2, says="less than one for each of 2 ranks")

    def test_values_that_slurm_would_misread_are_refused(self):
        for option in ("--time", "--devices", "--partition", "--account", "--name"):
            for value in ("a b", "a\n#SBATCH --nodes=9", "'a'", ""):
                with self.subTest(option=option, value=value):
                    run = self.assert_fails("sbatch", "wordcount", "text", "-o", "out", f"{option}", value,
                                            exit_status=2, says=f"{option} cannot be ")
                    self.assertEqual(run.stdout, b"")

    def test_mistakes(self):
        for arguments, says in [([], "no app is named"), (["wordcount", "text"], "no output is named"),
                                (["wordcount", "-", "-o", "out"], "a batch job has no standard input"),
                                (["wordcount", "text", "-o", "out", "--nodes", "0"], "--nodes is out of range"),
                                (["wordcount", "text", "-o", "out", "--spares=-1"], "--spares cannot be '-1'"),
                                (["wordcount", "text", "-o", "out", "--ranks-per-node", "4", "--cpus-per-node", "2"],
                                 "less than one for each of 4 ranks"),
                                (["wordcount", "text", "-o", "out", "-w", "cpu"], "--workers cannot be 'cpu'")]:
            self.assert_fails("sbatch", *arguments, exit_status=2, says=says)

    def test_every_word_arrives_as_it_was_given(self):
        output = "out/it's $here\n'#SBATCH"
        os.makedirs(self.path(os.path.dirname(output)), exist_ok=True)
        text = self.script("-f", "--sort", "key", inputs=TRICKY, output=output)
        self.assertEqual(self.end(self.run_script(text)), (0, "", ""))
        words = self.words_of("srun")
        self.assertEqual(words[:5], ["-K0", "--no-kill", "--mpi=pmi2", "--cpu-bind=none", "--ntasks-per-node=1"])
        self.assertTrue(words[5].endswith("/libexec/millrace/millrace-guard"))
        self.assertTrue(os.path.samefile(words[6], MILLRACE))
        end = words.index("--")
        self.assertEqual((words[7], sorted(words[8:end])), ("run", ["--force", f"--output={output}", "--sort=key"]))
        self.assertEqual(words[end + 1:], ["wordcount", *TRICKY])
        self.assertEqual(self.environment_of("srun")["MILLRACE_VERDICT"], "out/.millrace-verdict-77")
        self.assertNotIn("MILLRACE_SHARING", self.environment_of("srun"))

    def test_ranks_of_a_node_share_it(self):
        text = self.script("--ranks-per-node", "4", "-m", "8G", "-w", "16,device=all")
        self.assertEqual(self.end(self.run_script(text))[0], 0)
        words = self.words_of("srun")
        self.assertLessEqual({"--ntasks-per-node=4", f"--memory={2 << 30}", "--workers=cpu=4,device=all"}, set(words))
        self.assertEqual(self.environment_of("srun")["MILLRACE_SHARING"], "4")

    def test_the_burst_directory_is_made_on_each_node(self):
        place = self.path("fast disk's")
        text = self.script("--burst", place)
        fake = 'case "$*" in *mkdir*) shift 2; exec "$@" ;; esac; ' + SUCCESS
        self.assertEqual(self.end(self.run_script(text, fake))[0], 0)
        self.assertTrue(os.path.isdir(place))
        self.assertEqual(self.environment_of("srun")["MILLRACE_BURST"], place)
        self.assertNotIn("--burst", " ".join(self.words_of("srun")))
        status, _, err = self.end(self.run_script(text, "exit 1"))
        self.assertEqual((status, err), (4, f"millrace: a node cannot make the burst directory {place}\n"))

    def test_the_burst_directory_is_made_on_each_node_of_each_kind(self):
        text = self.script("--burst", "fast", "--and", "nodes=5")
        self.environment.update(SLURM_HET_SIZE="2", SLURM_JOB_NUM_NODES_HET_GROUP_0="1",
                                SLURM_JOB_NUM_NODES_HET_GROUP_1="5")
        fake = 'case "$*" in *mkdir*) echo "$*"; exit 0 ;; esac; ' + SUCCESS
        self.assertEqual(self.end(self.run_script(text, fake)), (0, (
            "--het-group=0 --ntasks-per-node=1 --ntasks=1 mkdir -p -- fast\n"
            "--het-group=1 --ntasks-per-node=1 --ntasks=5 mkdir -p -- fast\n"), ""))
        status, _, err = self.end(self.run_script(text, 'case "$*" in *=1*mkdir*) exit 1 ;; esac; ' + SUCCESS))
        self.assertEqual((status, err), (4, "millrace: a node cannot make the burst directory fast\n"))

    def test_the_verdict_lies_beside_the_output(self):
        os.mkdir(self.path("a"))
        for output, verdict in [("out", ""), ("a/out", "a/"), (self.path("a", "out//"), self.path("a") + "/"),
                                ("/burst/out", "")]:
            with self.subTest(output=output):
                self.end(self.run_script(self.script(output=output)))
                self.assertEqual(self.environment_of("srun")["MILLRACE_VERDICT"], verdict + ".millrace-verdict-77")
        self.assertEqual(self.end(self.run_script(self.script(output="none/out")))[0], 2)


class Truth(SbatchTest):
    def test_the_ranks_say_how_it_ended_and_not_srun(self):
        text = self.script()
        for lines, srun, truth in [(["  0"], 0, 0), (["  0"], 137, 0), (["  3"], 0, 3), (["130"], 1, 130),
                                   (["  6", "  0"], 9, 0), (["256"], 137, 0), (["256", "  4"], 0, 4)]:
            with self.subTest(lines=lines, srun=srun):
                # with one call: the script waits for what comes after a first line, but its clock runs faster
                fake = f"""printf '%s\\n' '{"' '".join(lines)}' >>"$MILLRACE_VERDICT"; exit {srun}"""
                self.assertEqual(self.end(self.run_script(text, fake)), (truth, "", ""))

    def test_no_verdict_is_a_failure(self):
        for srun in (0, 143):
            status, _, err = self.end(self.run_script(self.script(), f"exit {srun}"))
            self.assertEqual((status, err), (6, "millrace: no rank was left to say how the job ended; srun ended with "
                                                f"status {srun}\n"))

    def test_a_node_that_srun_waits_for_is_not_waited_for(self):
        process = self.run_script(self.script(), SUCCESS + "; exec sleep 1000 >/dev/null 2>&1")
        self.assertEqual(self.end(process)[0], 0)
        os.killpg(process.pid, signal.SIGKILL)          # Slurm ends what a script leaves

    def test_the_end_of_the_job_is_told_to_the_ranks(self):
        process = self.run_script(self.script(), 'trap \'echo "130" >>"$MILLRACE_VERDICT"; exit 1\' TERM; '
                                                 'touch "$FAKE_FOLDER/begun"; while :; do sleep 0.02; done')
        self.await_file("begun")
        process.terminate()
        self.assertEqual(self.end(process)[0], 130)


class Example(SbatchTest):
    def test_the_example_does_what_it_says(self):
        self.put_program("srun")
        example = os.path.join(SOURCE, "examples", "cluster", "wordcount.sbatch")
        for verdict, status in [("  0", 0), ("  3", 3), ("", 6)]:
            fake = f'echo "{verdict}" >>"$MILLRACE_VERDICT"; exit 9' if verdict else "exit 9"
            run = subprocess.run(["bash", example, "some books", "the counts"], cwd=self.folder, capture_output=True,
                                 env=dict(self.environment, SLURM_JOB_ID="77", FAKE=fake), timeout=60 * PATIENCE)
            self.assertEqual(run.returncode, status, run.stderr)
            self.assertEqual([name for name in os.listdir(self.folder) if "verdict" in name], [])
        self.assertEqual(self.words_of("srun"), [
            "-K0", "--no-kill", "--mpi=pmi2", "--cpu-bind=none", "millrace-guard", "millrace", "run", "wordcount",
            "some books", "-o", "the counts", "--sort", "value", "split=letters", "fold=1"])


class Submit(SbatchTest):
    FAKE = 'cat >"$FAKE_FOLDER/script"; echo "42;cluster"'

    def test_the_number_of_the_job_is_printed(self):
        self.put_program("sbatch")
        arguments = ("sbatch", "wordcount", "text", "-o", "out", "--nodes", "2")
        self.assertEqual(self.succeed(*arguments, FAKE=self.FAKE), b"42\n")
        self.assertEqual(self.words_of("sbatch"), ["--parsable"])
        with open(self.path("script"), "rb") as script:
            self.assertEqual(script.read(), self.succeed(*arguments, "--dry-run"))
        printed = json.loads(self.succeed(*arguments, "--json", FAKE=self.FAKE))
        self.assertEqual(printed, {"job": "42", "output": "out"})

    def test_a_job_that_is_refused(self):
        self.put_program("sbatch")
        run = self.start("sbatch", "wordcount", "text", "-o", "out", FAKE="cat >/dev/null; echo no, sorry >&2; exit 1")
        self.assertEqual((run.returncode, run.stdout), (2, b""))
        self.assertIn(b"no, sorry\nmillrace: sbatch did not take the job", run.stderr)

    def test_a_machine_without_slurm(self):
        self.assert_fails("sbatch", "wordcount", "text", "-o", "out", exit_status=4,
                          says="sbatch is not installed here", PATH="/nonexistent")


if __name__ == "__main__":
    cli_test.main()
