"""string_match against `grep -c -F` (one run a pattern) and against Python."""
import random
import subprocess

import lib


def count_lines(patterns, texts):
    lines = [line for text in texts for line in text.split(b"\n")]
    return b"".join(b"%s\t%d\n" % (pattern, sum(pattern in line for line in lines)) for pattern in patterns)


class StringMatch(lib.AppTest):
    app = "string_match"

    def patterns(self, patterns):
        return "patterns=" + self.file("patterns", b"".join(pattern + b"\n" for pattern in patterns))

    def test_real_text_agrees_with_grep(self):
        text = b"".join(lib.read(file) for file in lib.real_files())
        patterns = [b"software", b"def ", b"the", b"return None", b"import os", b"GNU", b"e", b"\t", b"no such words"]
        want = b""
        for pattern in patterns:
            grep = subprocess.run(["grep", "-a", "-c", "-F", "-e", pattern], input=text, capture_output=True)
            want += pattern + b"\t" + grep.stdout
        self.assert_bytes(self.run_everywhere([self.file("text", text)], self.patterns(patterns)), want)

    def test_many_patterns(self):
        text = lib.zipf_text(1_500_000, seed=21)
        patterns = random.Random(22).sample(sorted(set(text.split())), 400) + [b"nothing %d" % i for i in range(20)]
        self.assert_bytes(self.run_everywhere([self.file("text", text)], self.patterns(patterns)),
                          count_lines(patterns, [text]))

    def test_patterns_that_contain_each_other_or_come_twice(self):
        text = b"aaaa\nab\nabc\nbca\n\nabab abab\nb"
        patterns = [b"a", b"aa", b"aaa", b"ab", b"abc", b"b", b"ab", b"abab abab", b"c"]
        self.assert_bytes(self.run_everywhere([self.file("text", text)], self.patterns(patterns)),
                          count_lines(patterns, [text]))

    def test_long_patterns_and_all_bytes(self):
        text = lib.zipf_text(200_000, seed=23).replace(b"e", b"\0\xff")
        patterns = [text[1000:1100].replace(b"\n", b"."), b"\0", b"\0\xff", b"\xff", b"\r"]
        lines = text.split(b"\n")
        patterns += [max(lines, key=len), lines[50][-20:]]
        self.assert_bytes(self.run_everywhere([self.file("text", text)], self.patterns(patterns)),
                          count_lines(patterns, [text]))

    def test_one_pattern_on_the_command_line(self):
        text = [self.file("text", b"a mill\nno\na mill, a mill\n")]
        self.assertEqual(self.run_app(text, "pattern=a mill"), b"a mill\t2\n")
        self.assertEqual(self.run_app(text, self.patterns([b"no", b"x"]), "pattern=mill"), b"no\t1\nx\t0\nmill\t2\n")

    def test_texts_at_the_edges(self):
        patterns = [b"a", b"b", b"one", b"two", b"\r", b"\0", b"ab", b"x" * 100, b"beta gamma", b"w" * 64, b"last3"]
        for name, texts in lib.edge_texts().items():
            with self.subTest(name):
                inputs = [self.file(f"{name}/{i:04}", text) for i, text in enumerate(texts)]
                self.assert_bytes(self.run_app(inputs, self.patterns(patterns)), count_lines(patterns, texts))

    def test_wrong_patterns(self):
        text = self.file("text", b"a")
        self.assert_fails([text], exit_status=2, says="patterns=")
        self.assert_fails([text], "patterns=" + self.path("missing"), exit_status=3, says="missing")
        self.assert_fails([text], "patterns=" + self.file("gap", b"a\n\nb\n"), exit_status=3, says="line 2")
        self.assert_fails([text], "patterns=" + self.file("empty", b""), exit_status=2, says="pattern")
        for lines in ("a\nb", "a\n", "\n", "\n".join("a" * 500)):
            self.assert_fails([text], "pattern=" + lines, exit_status=2, says="line break")


if __name__ == "__main__":
    lib.main()
