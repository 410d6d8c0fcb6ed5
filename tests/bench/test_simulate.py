"""test_simulate.py SOURCE [BUILD]: the simulation against what can be computed by hand.

Where all tasks take the same time and all but one thing is free, the time of a job is a formula. Drawn times are held
to their mean. The last test reads a record of `millrace run` (it needs BUILD).
"""
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ARGUMENTS = [pathlib.Path(path).resolve() for path in sys.argv[1:3]]
SOURCE, BUILD = ARGUMENTS[0], ARGUMENTS[1] if len(ARGUMENTS) > 1 else None
del sys.argv[1:]
sys.path.insert(0, str(SOURCE / "bench"))
sys.dont_write_bytecode = True

from simulation import ledger, model, profile  # noqa: E402

FREE = {"latency": 0.0, "bandwidth": float("inf"), "message": 0.0, "request": 0.0, "byte_cpu": 0.0, "rename": 0.0}


def constant(**changes):
    """A million units at a microsecond each; nothing is sent, reduced or committed."""
    made = profile.Profile(
        app="made", units=1_000_000, input_bytes=1_000_000, smallest=10, workers=2, rounds=1,
        tasks=[[1000, 1e-3], [10, 1e-5]], reduces=[], reduce_seconds=0.0, partitions=64, parts=1, start_seconds=0.0,
        commit_seconds=0.0, seconds=0.5, distinct=[], pair_bytes=0.0, unit_pairs=1.0)
    return dataclasses.replace(made, **changes)


def run(made, nodes, workers=1, units=None, seed=1, **cluster):
    return model.simulate(made, model.Cluster(nodes, workers, **{**FREE, **cluster}), units, seed)


class OneNode(unittest.TestCase):
    def test_its_time_is_the_sum_of_the_stages(self):
        made = constant(start_seconds=0.25, commit_seconds=0.125, reduces=[0.1] * 4, reduce_seconds=0.4, parts=4,
                        pair_bytes=8.0)
        for workers in (1, 2, 4):
            outcome = run(made, 1, workers)
            self.assertAlmostEqual(outcome.stages["map"], 1.0 / workers)
            self.assertAlmostEqual(outcome.stages["reduce"], 0.4 / workers)
            self.assertAlmostEqual(outcome.seconds, 0.25 + 0.125 + 1.4 / workers)
            self.assertEqual(outcome.sent_bytes, 0)

    def test_a_slow_network_is_nothing_to_it(self):
        outcome = run(constant(pair_bytes=100.0), 1, bandwidth=1.0, byte_cpu=1.0)
        self.assertAlmostEqual(outcome.stages["map"], 1.0)


class Parallel(unittest.TestCase):
    """Nothing is sent: n nodes take 1/n of the time, and at the end the time of a last work."""

    def test_strong(self):
        for nodes in (2, 7, 64, 200):
            seconds = run(constant(), nodes).seconds
            self.assertGreaterEqual(seconds, 0.999999 / nodes)
            self.assertLessEqual(seconds, 1 / nodes + 1 / (ledger.PARTS * nodes) + 10e-6)

    def test_weak(self):
        for nodes in (2, 64):
            seconds = run(constant(), nodes, units=nodes * 1_000_000).seconds
            self.assertGreaterEqual(seconds, 0.999999)
            self.assertLessEqual(seconds, 1.001)

    def test_the_least_is_what_a_node_is_at_home_in(self):
        self.assertAlmostEqual(run(constant(units=100, smallest=10), 50).seconds, 2e-6)

    def test_ranks_that_share_cores_gain_nothing(self):
        two, eight = (run(constant(), nodes, cores=2).seconds for nodes in (2, 8))
        self.assertAlmostEqual(two, 0.5, delta=0.001)
        self.assertAlmostEqual(eight, 0.5, delta=0.001)

    def test_shared_cores_are_free_for_who_is_left(self):
        """3 nodes with a work each, two of 100 units and one of 300, on 2 cores: until 150 us all share; then one has
        200 units left and a core for itself."""
        made = constant(units=300, smallest=300)
        stage = model.MapStage(model.Job(made, model.Cluster(3, 1, cores=2, **FREE)), 0.0, [])
        stage.ledger.left_of = [100, 100, 300]
        stage.ledger.left = 500
        self.assertAlmostEqual(stage.run(), 150e-6 + 200e-6)

    def test_rounds_add_up(self):
        made = constant(rounds=5, table_bytes=1.0)
        self.assertAlmostEqual(run(made, 10).stages["map"], 5 * run(constant(), 10).stages["map"])


class Reduce(unittest.TestCase):
    """A second of work, in 4 tasks a node at least, two for each worker, and a power of two in all."""
    made = constant(reduces=[0.1] * 10, reduce_seconds=1.0, parts=1, pair_bytes=8.0)

    def test_parts_are_divided_among_nodes_and_workers(self):
        for nodes, workers, slowest in ((4, 1, 4 / 16), (4, 2, 2 / 16), (4, 8, 2 / 64), (3, 1, 6 / 16), (5, 1, 7 / 32)):
            self.assertAlmostEqual(run(self.made, nodes, workers).stages["reduce"], slowest)

    def test_commit_renames_each(self):
        self.assertAlmostEqual(run(self.made, 5, rename=0.5).stages["commit"], 32 * 0.5)


class Network(unittest.TestCase):
    """Mapping is free: what is sent takes its bytes over the rate of a node's link."""
    tasks = [[1000, 1e-9]]

    def test_bandwidth(self):
        made = constant(tasks=self.tasks, pair_bytes=1000.0)
        for nodes in (2, 16, 64):
            crossing = 1e9 * (nodes - 1) / nodes
            outcome = run(made, nodes, bandwidth=1e9, chunk=1000)
            self.assertAlmostEqual(outcome.sent_bytes / crossing, 1)
            # the ledger gives works out by size, so a node sends a little more than its share
            self.assertAlmostEqual(outcome.seconds / (crossing / nodes / 1e9), 1, delta=0.1)

    def test_half_a_bisection_is_enough_for_all_to_all(self):
        made = constant(tasks=self.tasks, pair_bytes=1000.0)
        full, half, eighth = (run(made, 16, bandwidth=1e9, bisection=part).seconds for part in (1, 0.5, 0.125))
        self.assertAlmostEqual(full, half)
        self.assertAlmostEqual(eighth / full, 4, delta=0.01)

    def test_the_owner_of_a_third(self):
        """8 nodes; the fullest owner has 8/3 of the mean share, and receives so much longer."""
        even, skewed = (run(constant(tasks=self.tasks, pair_bytes=1000.0), 8, bandwidth=1e9, skew=skew).seconds
                        for skew in (1.0, 8 / 3))
        self.assertAlmostEqual(skewed / even, 8 / 3, delta=0.2)

    def test_mapping_hides_sending(self):
        """Of equal length: together they take little more than one of them."""
        made = constant(pair_bytes=1000.0, tasks=[[1000, 1e-3]])
        seconds = run(made, 8, bandwidth=1e9 * 7 / 8, chunk=1000).seconds
        self.assertLess(seconds, 1.15 / 8)

    def test_sending_takes_cores(self):
        made = constant(pair_bytes=1000.0)
        seconds = run(made, 4, byte_cpu=1e-9).seconds       # 3/4 of a nanosecond for each of 1000 bytes a microsecond
        self.assertAlmostEqual(seconds, 1.75 / 4, delta=0.02)

    def test_combined_pairs_leave_at_the_end(self):
        """4 nodes of 2 workers, 100 keys each: 800 pairs of 10 bytes, of which 3/4 cross."""
        made = constant(distinct=[[1000, 100], [1_000_000, 100]], pair_bytes=10.0)
        outcome = run(made, 4, workers=2, bandwidth=100.0)
        self.assertAlmostEqual(outcome.sent_bytes, 6000)
        self.assertAlmostEqual(outcome.seconds, 1 / 8 + 1500 / 100, delta=0.01)


def works_of(made, nodes):
    """Sizes of all works, which the nodes take in turn."""
    sizes = []
    while units := made.give(len(sizes) % nodes):
        sizes.append(units)
    return sizes


class Coordinator(unittest.TestCase):
    def test_requests_wait_for_each_other(self):
        outcome = run(constant(), 64, request=1e-3)
        self.assertGreaterEqual(outcome.stages["map"], outcome.requests * 1e-3)
        self.assertLessEqual(outcome.stages["map"], (outcome.requests + 2 * 64) * 1e-3 + 1 / 64)

    def test_every_unit_is_given_once_and_sizes_shrink(self):
        sizes = works_of(ledger.Ledger(1_000_003, 7, 10, 0), 7)
        self.assertEqual(sum(sizes), 1_000_003)
        self.assertEqual(sizes[0], 1_000_003 // (ledger.PARTS * 7))
        self.assertTrue(all(size <= sizes[0] for size in sizes))
        self.assertLessEqual(sum(size < 10 for size in sizes), 7)       # what is left of a home

    def test_works_are_as_large_as_wanted_until_the_end(self):
        sizes = works_of(ledger.Ledger(1_000_000, 7, 10, 1000), 7)
        self.assertEqual(sum(sizes), 1_000_000)
        small = [size for size in sizes if size < 1000]
        self.assertLessEqual(sum(small), 1000 * ledger.LAST_PARTS * 7 + 7 * 1000)
        self.assertLess(len(sizes), 1_000_000 / 1000)

    def test_thieves_take_from_the_fullest(self):
        made = ledger.Ledger(3000, 3, 10, 0)
        for _ in range(200):
            if made.left_of[0] == 0:
                break
            made.give(0)
        self.assertEqual(made.left_of[1], made.left_of[2])
        made.give(1)
        before = list(made.left_of)
        made.give(0)
        self.assertEqual(made.left_of[1], before[1])
        self.assertLess(made.left_of[2], before[2])

    def test_a_table_of_each_block(self):
        made = constant(units=1000, smallest=1, tasks=[[1, 1e-9]], table_bytes=1000.0)
        outcome = run(made, 10, bandwidth=1e6)
        self.assertAlmostEqual(outcome.stages["fold"], (1e6 * 9 / 10 + 9 * 1000) / 1e6 + 1e6 * model.FOLD_BYTE)


class Losses(unittest.TestCase):
    def test_a_lost_node_costs_its_share_and_the_deadline(self):
        """Whenever it is lost, the other 9 do all that it was given and all that was left."""
        alone = run(constant(), 10).seconds
        for seed in range(5):
            outcome = run(constant(), 10, losses=1, deadline=0.0, seed=seed)
            self.assertGreater(outcome.seconds, alone)
            self.assertLess(outcome.seconds, alone * 10 / 9 * 1.06)

    def test_nobody_knows_before_the_deadline(self):
        self.assertGreater(run(constant(), 10, losses=1, deadline=3.0).seconds, 3.0)

    def test_what_the_lost_owned_is_sent_again(self):
        made = constant(tasks=[[1000, 1e-3]], pair_bytes=100.0)
        sent = [run(made, 10, losses=losses, deadline=0.0, chunk=100).sent_bytes for losses in (0, 1)]
        self.assertGreater(sent[1], sent[0])

    def test_ranks_that_share_cores_lose_one(self):
        alone = run(constant(), 4, cores=2).seconds
        for seed in range(5):
            outcome = run(constant(), 4, cores=2, losses=1, deadline=0.0, seed=seed)
            self.assertGreater(outcome.seconds, alone)
            self.assertLess(outcome.seconds, alone * 1.3)       # the lost one had done a quarter at most

    def test_one_survives(self):
        self.assertGreater(run(constant(), 4, losses=3, deadline=0.0).seconds, 0.5)
        with self.assertRaises(ValueError):
            run(constant(), 4, losses=4)


class Draws(unittest.TestCase):
    uneven = constant(tasks=[[1000, 1e-3], [500, 2e-3], [100, 1e-4], [2000, 1e-3]])

    def test_the_mean_rate_is_the_recorded_one(self):
        want = 1e6 * self.uneven.unit_seconds
        times = [run(self.uneven, 1, seed=seed).seconds for seed in range(20)]
        self.assertAlmostEqual(sum(times) / len(times) / want, 1, delta=0.03)

    def test_a_seed_is_a_result(self):
        one, again, other = (run(self.uneven, 16, seed=seed) for seed in (1, 1, 2))
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)


class Profiles(unittest.TestCase):
    def test_different_keys_lie_on_a_line_through_what_was_recorded(self):
        """Logarithmic axes: 10, 100 and 400 keys at 100, 10000 and 40000 pairs."""
        made = constant(distinct=[[100, 10], [10_000, 100], [40_000, 400]], pair_bytes=1.0)
        for units, keys in ((100, 10), (1000, 31.6228), (20_000, 200), (160_000, 1600)):
            self.assertAlmostEqual(made.sent_bytes(units) / keys, 1, places=3)
        self.assertEqual(made.sent_bytes(0.5), 0.5)         # and no more keys than pairs

    @unittest.skipUnless(BUILD and (BUILD / "bin/millrace").exists(), "no build")
    def test_a_recorded_run_is_predicted(self):
        with tempfile.TemporaryDirectory() as folder:
            env = os.environ | {"MILLRACE_RECORDS": f"{folder}/records", "MILLRACE_BURST": folder}
            command = [BUILD / "bin/millrace", "run", "pi", "-o", f"{folder}/out", "--quiet", "--json", "--workers",
                       "1", "terms=300000000"]
            report = json.loads(subprocess.run(command, check=True, capture_output=True, env=env).stdout)
            made = profile.of_record(report["record"])
            self.assertEqual((made.app, made.workers, made.dense), ("pi", 1, True))
            again = profile.of_dict(json.loads(json.dumps(profile.to_dict(made))))
            times = [model.simulate(again, model.Cluster(1, 1), seed=seed).seconds for seed in range(10)]
            self.assertLess(abs(sum(times) / len(times) - report["seconds"]), 0.2 * report["seconds"] + 0.1)
            shown = subprocess.run([sys.executable, "-B", SOURCE / "bench/simulate", report["record"], "--nodes", "4",
                                    "--json"], check=True, capture_output=True).stdout
            self.assertEqual(json.loads(shown)["predicted"][0]["nodes"], 4)

    def test_what_cannot_be_used_is_a_sentence(self):
        done = subprocess.run([sys.executable, "-B", SOURCE / "bench/simulate", "/no-such-record"], capture_output=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"/no-such-record", done.stderr)


if __name__ == "__main__":
    unittest.main()
