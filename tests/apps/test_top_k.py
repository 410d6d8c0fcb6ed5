"""top_k against Python's Counter, sorted."""
from collections import Counter

import lib


def top(words, k):
    ranked = sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))
    return b"".join(b"%s\t%d\n" % pair for pair in ranked[:k])


class TopK(lib.AppTest):
    app = "top_k"

    def test_the_most_frequent_words(self):
        text = lib.zipf_text(2_000_000, seed=31)
        inputs = [self.file("text", text)]
        self.assert_bytes(self.run_app(inputs), top(text.split(), 10))
        for k in (1, 300):
            self.assert_bytes(self.run_everywhere(inputs, f"k={k}"), top(text.split(), k))

    def test_equal_counts_come_in_byte_order(self):
        text = b" ".join(b"w%d" % (i % 5000) for i in range(20_000))
        self.assert_bytes(self.run_everywhere([self.file("text", text)], "k=777"), top(text.split(), 777))

    def test_fewer_words_than_k(self):
        self.assert_bytes(self.run_app([self.file("text", b"b a b")], "k=50"), b"b\t2\na\t1\n")
        self.assert_bytes(self.run_app([self.file("empty", b"")], "k=50"), b"")

    def test_letters_and_fold(self):
        text = b"The mill, the race. THE Mill! a"
        self.assert_bytes(self.run_app([self.file("text", text)], "k=2", "split=letters", "fold=1"),
                          b"the\t3\nmill\t2\n")

    def test_k_out_of_range(self):
        self.assert_fails([self.file("text", b"a")], "k=0", exit_status=2, says="k")


if __name__ == "__main__":
    lib.main()
