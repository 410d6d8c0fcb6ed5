"""inverted_index against dictionaries in Python."""
import re
from collections import Counter, defaultdict

import lib


class InvertedIndex(lib.AppTest):
    app = "inverted_index"
    flags = ("--sort", "key")

    def index(self, files, split=bytes.split):
        """files: (name, content) in the order of the dataset."""
        places = defaultdict(list)
        for name, text in files:
            for word, count in Counter(split(text)).items():
                places[word].append(b"%s:%d" % (name.encode(), count))
        return b"".join(b"%s\t%s\n" % (word, b" ".join(places[word])) for word in sorted(places))

    def stored(self, texts):
        return [(self.file(name, text), text) for name, text in texts]

    def test_real_files_are_indexed(self):
        files = [(name, lib.read(name)) for name in lib.real_files()[:120]]
        self.assert_bytes(self.run_everywhere([name for name, _ in files]), self.index(files))

    def test_many_files_and_a_word_that_is_in_all(self):
        files = self.stored((f"in/{i:05}", b"common word%d own%d\n" % (i % 37, i)) for i in range(1000))
        self.assert_bytes(self.run_everywhere([self.path("in")]), self.index(files))

    def test_one_large_file_beside_a_small_one(self):
        files = self.stored([("large", lib.zipf_text(3_000_000, seed=8)), ("small", b"the end")])
        self.assert_bytes(self.run_everywhere([name for name, _ in files]), self.index(files))

    def test_letters_and_fold(self):
        files = self.stored([("a", b"Mill-Race MILL " + b"Q" * 300), ("b", b"race" + b" q" * 5 + b"\xc3\x9cb")])
        inputs = [name for name, _ in files]
        self.assert_bytes(self.run_app(inputs, "split=letters"),
                          self.index(files, lambda text: re.findall(rb"[A-Za-z]+", text)))
        self.assert_bytes(self.run_app(inputs, "split=letters", "fold=1"),
                          self.index(files, lambda text: re.findall(rb"[a-z]+", text.lower())))

    def test_texts_at_the_edges(self):
        for name, texts in lib.edge_texts().items():
            with self.subTest(name):
                files = self.stored((f"{name}/{i:04}", text) for i, text in enumerate(texts))
                self.assert_bytes(self.run_app([path for path, _ in files]), self.index(files))


if __name__ == "__main__":
    lib.main()
