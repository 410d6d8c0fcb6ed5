"""wordcount against Python's Counter and against tr | sort | uniq -c."""
import os
import re
import subprocess
from collections import Counter

import lib


def tsv(counts):
    return b"".join(b"%s\t%d\n" % pair for pair in sorted(counts.items()))


def letters_of(text):
    return re.findall(rb"[A-Za-z]+", text)


class Wordcount(lib.AppTest):
    app = "wordcount"
    flags = ("--sort", "key")

    def test_zipf_text_is_counted_the_same_everywhere(self):
        text = lib.zipf_text(5_000_000, seed=3)
        self.assert_bytes(self.run_everywhere([self.file("zipf", text)]), tsv(Counter(text.split())))

    def test_more_keys_than_small_memory_holds(self):
        text = b"".join(b"%d-%s\n" % (i, b"filler" * 4) for i in range(700_000)) * 2
        got = self.run_app([self.file("distinct", text)], flags=self.small_memory)
        self.assert_bytes(got, tsv(Counter(text.split())))

    def test_real_text_agrees_with_coreutils(self):
        files = lib.real_files()
        pipe = "cat \"$@\" | tr -s ' \\t\\n\\v\\f\\r' '\\n' | grep -a . | sort | uniq -c"
        lines = subprocess.run(["sh", "-c", pipe, "sh", *files], env=dict(os.environ, LC_ALL="C"),
                               capture_output=True, check=True).stdout.splitlines()
        want = b"".join(b"%s\t%s\n" % (word, count) for count, word in (line.split(maxsplit=1) for line in lines))
        self.assertGreater(len(want), 100_000)
        self.assert_bytes(self.run_app(files), want)

    def test_letters_and_fold(self):
        text = lib.zipf_text(1_000_000, seed=4) + "Übung Mühle ZZZ".encode()
        inputs = [self.file("text", text)]
        self.assert_bytes(self.run_everywhere(inputs, "split=letters"), tsv(Counter(letters_of(text))))
        self.assert_bytes(self.run_everywhere(inputs, "split=letters", "fold=1"),
                          tsv(Counter(letters_of(text.lower()))))
        self.assert_bytes(self.run_app(inputs, "fold=1"), tsv(Counter(text.lower().split())))

    def test_texts_at_the_edges(self):
        for name, texts in lib.edge_texts().items():
            with self.subTest(name):
                inputs = [self.file(f"{name}/{i:04}", text) for i, text in enumerate(texts)]
                self.assert_bytes(self.run_app(inputs), tsv(Counter(word for text in texts for word in text.split())))
                self.assert_bytes(self.run_app(inputs, "split=letters"),
                                  tsv(Counter(word for text in texts for word in letters_of(text))))

    def test_the_ways_to_name_input(self):
        text = lib.zipf_text(300_000, seed=5)
        first, second = self.file("in/a.txt", text), self.file("in/deep/b.txt", b"one two")
        self.file("in/.hidden", b"three")
        want = tsv(Counter(text.split()) + Counter([b"one", b"two"]))
        both = tsv(Counter(text.split()) + Counter([b"one", b"two", b"three"]))
        self.assert_bytes(self.run_app([first, second]), want)
        self.assert_bytes(self.run_app([self.path("in")]), both)
        self.assert_bytes(self.run_app([self.path("in/*.txt"), self.path("in/d*/*")]), want)
        self.assert_bytes(self.run_app(["-"], stdin=text), tsv(Counter(text.split())))
        self.assert_bytes(self.run_app([second, "-", second], stdin=text),
                          tsv(Counter(text.split() + [b"one", b"two"] * 2)))

    def test_order_by_value(self):
        text = lib.zipf_text(300_000, seed=6)
        want = sorted(Counter(text.split()).items(), key=lambda pair: (-pair[1], pair[0]))
        self.assert_bytes(self.run_app([self.file("text", text)], flags=["--sort", "value"]),
                          b"".join(b"%s\t%d\n" % pair for pair in want))

    def test_wrong_parameters_and_inputs(self):
        text = self.file("text", b"a")
        self.assert_fails([text], "split=banana", exit_status=2, says="banana")
        self.assert_fails([text], "colour=red", exit_status=2, says="colour")
        self.assert_fails([self.path("missing")], exit_status=3, says="missing")


if __name__ == "__main__":
    lib.main()
