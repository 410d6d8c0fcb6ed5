"""histogram against Python's Counter."""
import random
from collections import Counter

import lib


def histogram(content):
    counts = Counter(content)
    return b"".join(b"%d\t%d\n" % (byte, counts[byte]) for byte in range(256))


class Histogram(lib.AppTest):
    app = "histogram"

    def test_bytes_are_counted_the_same_everywhere(self):
        rng = random.Random(41)
        for name, content in {"random": rng.randbytes(3_000_001), "one value": b"\xff" * 5_000_000,
                              "text": lib.zipf_text(2_000_000, seed=42)}.items():
            with self.subTest(name):
                self.assert_bytes(self.run_everywhere([self.file(name, content)]), histogram(content))

    def test_sizes_around_a_vector(self):
        rng = random.Random(43)
        for size in (0, 1, 15, 63, 64, 65, 257, 4097):
            content = rng.randbytes(size)
            with self.subTest(size=size):
                self.assert_bytes(self.run_everywhere([self.file("bytes", content)]), histogram(content))

    def test_many_files(self):
        contents = [bytes([i % 256]) * (i % 9) for i in range(300)]
        inputs = [self.file(f"in/{i:03}", content) for i, content in enumerate(contents)]
        self.assert_bytes(self.run_everywhere(inputs), histogram(b"".join(contents)))


if __name__ == "__main__":
    lib.main()
