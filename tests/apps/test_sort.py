"""sort against Python's sorted()."""
import random

import lib


def records_of(content):
    return [content[i:i + 100] for i in range(0, len(content), 100)]


class Sort(lib.AppTest):
    app = "sort"

    def assert_sorts(self, content, run):
        self.assert_bytes(run([self.file("records", content)]), b"".join(sorted(records_of(content))))

    def test_random_records(self):
        self.assert_sorts(random.Random(101).randbytes(100 * 40_000), self.run_everywhere)

    def test_more_records_than_small_memory_holds(self):
        content = random.Random(102).randbytes(100 * 1_000_000)
        self.assert_sorts(content, lambda inputs: self.run_app(inputs, flags=self.small_memory))

    def test_equal_keys_are_ordered_by_the_rest(self):
        rng = random.Random(103)
        content = b"".join(b"%010d" % rng.randrange(50) + rng.randbytes(90) for _ in range(20_000))
        self.assert_sorts(content, self.run_everywhere)

    def test_one_key_and_equal_records(self):
        self.assert_sorts(b"same key..".ljust(100, b"-") * 10_000, self.run_everywhere)

    def test_sorted_and_reversed_input(self):
        content = b"".join(b"%010d" % i + bytes(90) for i in range(10_000))
        self.assert_sorts(content, self.run_everywhere)
        self.assert_sorts(b"".join(reversed(records_of(content))), self.run_everywhere)

    def test_few_records(self):
        for count in (0, 1, 2, 3):
            self.assert_sorts(random.Random(count).randbytes(100 * count), self.run_app)

    def test_several_files(self):
        contents = [random.Random(i).randbytes(100 * i) for i in range(60)]
        inputs = [self.file(f"in/{i}", content) for i, content in enumerate(contents)]
        self.assert_bytes(self.run_everywhere(inputs), b"".join(sorted(records_of(b"".join(contents)))))

    def test_a_file_that_is_no_multiple_of_a_record(self):
        self.assert_fails([self.file("odd", bytes(250))], exit_status=3, says="odd")


if __name__ == "__main__":
    lib.main()
