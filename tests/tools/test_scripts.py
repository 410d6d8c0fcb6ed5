"""tools/setup.sh, as root, with sudo and without; demo.sh, whose corpus unpacks or does not. A copy runs in a tree of
the test's own, where PATH leads to nothing but stand-ins and a few tools of the system: nothing is installed or built.
Oracle: which commands the stand-ins wrote down, what lies in the cache, and the exit status."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1])
SYSTEM = ("awk", "basename", "bash", "cat", "cmp", "dirname", "env", "mkdir", "mktemp", "mv", "rm", "sort", "tail")


class ScriptTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="millrace-scripts-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.calls = self.root / "calls"
        self.calls.touch()
        (self.root / "bin").mkdir()
        for name in SYSTEM:
            (self.root / "bin" / name).symlink_to(shutil.which(name))
        self.copy("tools/lib.sh")

    def copy(self, name):
        (self.root / name).parent.mkdir(exist_ok=True)
        shutil.copy(SOURCE / name, self.root / name)

    def put_program(self, name, text="exit 0"):
        """It writes down its words, then does what `text` says."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/usr/bin/env bash\necho "{path.name} $*" >>"{self.calls}"\n{text}\n')
        path.chmod(0o755)

    def run_script(self, *command, stdin=subprocess.DEVNULL):
        environment = {"PATH": str(self.root / "bin"), "HOME": str(self.root / "home"), "TMPDIR": str(self.root)}
        return subprocess.run(command, cwd=self.root, env=environment, stdin=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    def called(self, name):
        """The words of each call of `name`."""
        return [line.split()[1:] for line in self.calls.read_text().splitlines() if line.split()[0] == name]


class SetupTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.copy("tools/setup.sh")
        (self.root / "tools/packages.txt").write_text("# build:\nhere\naway\n# test:\nfar\n")
        self.put_program("bin/dpkg-query", "echo here installed; exit 1")
        self.put_program("bin/apt-get", 'read -r line && echo "apt-get READ $line" >>"${0%/bin/*}/calls"; exit 0')

    def become(self, uid, sudo=True):
        self.put_program("bin/id", f"echo {uid}")
        if sudo:
            self.put_program("bin/sudo", '[ "$1" != -n ] || shift; exec "$@"')

    def setup(self, *sections, **how):
        return self.run_script("tools/setup.sh", *sections, **how)

    def assert_installed(self, result):
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        update, install = self.called("apt-get")
        self.assertEqual(update[-1], "update")
        self.assertEqual(install[-3:], ["install", "--no-install-recommends", "away"])

    def test_root_needs_no_sudo(self):
        self.become(0)
        self.assert_installed(self.setup("build"))
        self.assertEqual(self.called("sudo"), [])

    def test_sudo_may_ask_on_a_terminal_and_apt_get_reads_nothing_of_it(self):
        self.become(1000)
        master, terminal = os.openpty()
        os.write(master, b"typed ahead\n")
        self.assert_installed(self.setup("build", stdin=terminal))
        os.close(terminal)
        os.close(master)
        self.assertEqual([words[0] for words in self.called("sudo")], ["env", "env"])

    def test_sudo_asks_nothing_without_a_terminal(self):
        self.become(1000)
        self.assert_installed(self.setup("build"))
        self.assertEqual([words[0] for words in self.called("sudo")], ["-n", "-n"])

    def test_neither_root_nor_sudo_gets_a_sentence(self):
        self.become(1000, sudo=False)
        result = self.setup("build", "test")
        self.assertEqual(result.returncode, 1)
        self.assertIn("needs root", result.stderr)
        self.assertIn("apt-get install -y --no-install-recommends away far\n", result.stderr)
        self.assertEqual(self.called("apt-get"), [])

    def test_what_apt_get_said_is_shown_when_it_fails(self):
        self.become(0)
        self.put_program("bin/apt-get", 'echo "E: no $*" >&2; exit 100')
        result = self.setup("build")
        self.assertEqual(result.returncode, 1)
        self.assertIn("E: no", result.stderr)
        self.assertIn("could not install away", result.stderr)

    def test_where_nothing_is_missing_nobody_is_asked(self):
        self.become(1000, sudo=False)
        self.put_program("bin/dpkg-query", "echo here installed; echo away installed")
        self.assertEqual(self.setup("build").returncode, 0)
        self.assertEqual(self.called("apt-get"), [])

    def tearDown(self):
        self.assertEqual(list(self.root.glob("tmp.*")), [])


class DemoTest(ScriptTest):
    def setUp(self):
        super().setUp()
        text = (SOURCE / "demo.sh").read_text()
        self.assertIn("(/usr/src/linux-source-*", text)
        demo = self.root / "demo.sh"
        demo.write_text(text.replace("/usr/src/", f"{self.root}/src/"))
        demo.chmod(0o755)
        (self.root / "src").mkdir()
        (self.root / "src/linux-source-6.1.tar.xz").touch()
        self.put_program("tools/setup.sh")
        self.put_program("bin/cmake", "mkdir -p build/release; : >build/release/build.ninja")
        self.put_program("bin/ninja")
        self.put_program("bin/touch")
        self.put_program("bin/grep")
        self.put_program("build/release/bin/millrace", "mkdir -p build/demo; echo 'the	7' >build/demo/part-00000")

    def demo(self):
        """The result, and what is in the cache then."""
        result = self.run_script("./demo.sh")
        cache = self.root / "home/.cache/millrace"
        return result, sorted(str(path.relative_to(cache)) for path in cache.rglob("*"))

    def test_the_corpus_gets_its_name_when_it_is_whole(self):
        self.put_program("bin/tar", 'echo x >"$4/Makefile"')
        for _ in range(2):
            result, cache = self.demo()
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("7  the", result.stdout)
            self.assertEqual(cache, ["linux-source-6.1", "linux-source-6.1/Makefile"])
        self.assertEqual(len(self.called("tar")), 1)

    def test_what_does_not_unpack_leaves_nothing(self):
        cases = [("mv", 'echo "mv: not permitted" >&2; exit 1', "mv: not permitted", 1),
                 ("tar", 'echo x >"$4/Makefile"; echo "tar: no space" >&2; exit 2', "tar: no space", 2),
                 ("tar", 'echo x >"$4/Makefile"; kill -TERM $PPID', "", -signal.SIGTERM)]
        self.put_program("bin/tar", 'echo x >"$4/Makefile"')
        (self.root / "bin/mv").unlink()             # not to write through the link
        for name, text, says, status in cases:
            with self.subTest(program=name, text=text):
                self.put_program(f"bin/{name}", text)
                result, cache = self.demo()
                self.assertEqual(result.returncode, status)
                self.assertEqual(result.stderr.strip(), says)
                self.assertEqual(cache, [])
                self.assertEqual(self.called("millrace"), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
