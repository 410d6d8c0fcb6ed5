"""The events of a job on many nodes.

    node          ask --> work --> map --> send -+-> ask ...        nothing is left: flush, send the rest, say "idle"
                   |       ^                     |
    coordinator  FIFO queue, a while for each message              all are idle: "reduce"; all are done: commit
                                                 |
    network       latency, then each node's own link: bytes / bandwidth, and a while for each message

A node is its workers together: a work takes the sum of its tasks' times, divided by the workers. Tasks' times are drawn
from the recorded run: a work is cut into slices of a recorded task's mean size, and each slice goes at the rate of one
recorded task, drawn with a chance in proportion to its size (so the mean rate is the recorded one). While a node maps
it has the next work in hand.

Pairs are spread evenly over the nodes. A link is as fast in both directions at once, and what comes is as much as what
goes, so a node's link to the network stands for both; `skew` makes one owner's share larger, and its link is then
looked at by itself. Without combining, chunks leave when they are full, and workers x partitions of them are half full
until the end. With combining, all leaves at the end: as many pairs as there are different keys in what one worker
mapped. At the end each worker tells each owner that its epoch is over, and each owner answers.

Where nodes share cores (`cores`: ranks on one machine, as the measured runs had it) those that map share them evenly,
so a work takes longer while more workers are busy than there are cores; and there is no link: sending costs what it
takes of the cores (`byte_cpu`). Works are kept by the time that is left of them at full speed:

    virtual time    runs as fast as a busy worker does: 1, or cores / busy workers

Dense tables (k-means, pi): at the end of a round the coordinator receives the tables of all, folds them in order and
sends the sum back.

A lost node: all it was given is to do again, `deadline` seconds later; the others send what the lost one owned to its
heirs again. It is lost while it maps.
"""
import collections
import dataclasses
import heapq
import random

from simulation.ledger import Ledger

SLICES_MOST = 16            # draws for one work
LEAST_SECONDS = 0.005       # a node asks for works that last so long (engine/joint_work.c)
PARTS_PER_NODE = 4          # at least, two for each worker, and as many in all as a power of two says (engine/plan.c)
PARTS_MOST = 4096
FOLD_BYTE = 0.25e-9         # seconds of adding a byte of a table to another
REQUEST, REPLY, ARRIVED, IDLE, LOST, NOTICED, WOKEN = range(7)


@dataclasses.dataclass
class Cluster:
    """Times in seconds, rates in bytes per second. What is preset was measured on the reference machine: see
    docs/scaling.md."""
    nodes: int
    workers: int                    # of a node
    cores: int = 0                  # that all nodes share; 0: each has as many as workers
    latency: float = 4e-6           # of a message, one way
    bandwidth: float = 1.3e9        # of a node's link, in each direction
    message: float = 4e-6           # that a message takes of the thread that sends or receives it
    request: float = 10e-6          # that a message takes of the coordinator
    byte_cpu: float = 0.7e-9        # of a core: a byte sent and received
    rename: float = 10e-6           # that a part of the output takes of the coordinator in commit
    chunk: int = 256 << 10
    bisection: float = 1.0          # of what all links together carry, between two halves
    skew: float = 1.0               # share of the fullest owner / mean share
    losses: int = 0
    deadline: float = 5.0           # until a loss is noticed

    def slowdown(self, nodes):
        """How much longer a worker takes while so many nodes are busy."""
        return max(1.0, nodes * self.workers / self.cores) if self.cores else 1.0

    @property
    def rate(self):
        """Of a link, when all send to all: half of it crosses between the halves."""
        return float("inf") if self.cores else self.bandwidth * min(1.0, 2 * self.bisection)


@dataclasses.dataclass
class Outcome:
    seconds: float
    stages: dict                    # start, map, fold, reduce, commit -> seconds
    requests: int                   # for work
    messages: float                 # of pairs and of ends of epochs, all nodes together
    sent_bytes: float               # over links


class Node:
    __slots__ = ("hand", "asked", "running", "dry", "idle", "dead", "given", "fresh", "left", "sent", "link_free")

    def __init__(self):
        self.hand = collections.deque()
        self.asked = 0              # requests under way
        self.running = self.dry = self.idle = self.dead = False
        self.given = 0              # units
        self.fresh = 0              # that were mapped since the last flush
        self.left = 0.0             # bytes made and not sent
        self.sent = 0.0
        self.link_free = 0.0


class MapStage:
    """One round of map, until the coordinator has said that it is over."""

    def __init__(self, job, begin, losses):
        self.job, self.cluster, self.profile = job, job.cluster, job.profile
        self.nodes = [Node() for _ in range(self.cluster.nodes)]
        self.ledger = Ledger(job.units, self.cluster.nodes, self.profile.smallest, job.least())
        self.events, self.number = [], 0
        self.mapping = []               # works: (virtual end, number, node, units)
        self.now = self.virtual = begin
        self.busy = 0                   # nodes that map
        self.coordinator_free, self.fullest_free = begin, begin
        self.idle, self.living, self.unnoticed, self.view = 0, self.cluster.nodes, len(losses), 0
        self.end = None
        for node in self.nodes:
            node.link_free = begin
        for when, node in losses:
            self.at(when, LOST, node)
        for node in range(self.cluster.nodes):
            self.ask(node, begin)

    def at(self, when, kind, node, what=0):
        self.number += 1            # events of one moment: in the order in which they were made
        heapq.heappush(self.events, (when, self.number, kind, node, what))

    def run(self):
        act = (self.request, self.reply, self.arrived, self.say_idle, self.lose, self.notice, self.wake)
        while self.end is None:
            due = self.next_mapped()
            if self.events and self.events[0][0] <= due:
                when, _, kind, node, what = heapq.heappop(self.events)
                act[kind](when, node, what)
            else:
                _, _, node, units = heapq.heappop(self.mapping)
                self.mapped(due, node, units)
        return self.end

    # ---- virtual time -------------------------------------------------------------------------------------------

    def next_mapped(self):
        if not self.mapping:
            return float("inf")
        return self.now + (self.mapping[0][0] - self.virtual) * self.cluster.slowdown(self.busy)

    def busy_from(self, when, more):
        """From now on so many more nodes map."""
        self.virtual += (when - self.now) / self.cluster.slowdown(self.busy)
        self.now = when
        self.busy += more

    def serve(self, when, messages=1):
        """When the coordinator is through with messages that come now."""
        self.coordinator_free = max(self.coordinator_free, when) + messages * self.cluster.request
        return self.coordinator_free

    # ---- work ---------------------------------------------------------------------------------------------------

    def ask(self, node, when):
        self.nodes[node].asked += 1
        self.at(when + self.cluster.latency, REQUEST, node)

    def request(self, when, node, _):
        if self.nodes[node].dead:
            return
        self.job.requests += 1
        units = self.ledger.give(node)
        self.nodes[node].given += units
        self.at(self.serve(when) + self.cluster.latency, REPLY, node, units)

    def reply(self, when, i, units):
        node = self.nodes[i]
        if node.dead:
            return
        node.asked -= 1
        node.dry = units == 0
        if units:
            node.hand.append(units)
        self.go_on(when, i)

    def go_on(self, when, i):
        node = self.nodes[i]
        if node.running or node.idle:
            return
        if node.hand:
            units = node.hand.popleft()
            node.running = True
            self.busy_from(when, 1)
            self.number += 1
            heapq.heappush(self.mapping, (self.virtual + self.job.map_seconds(units), self.number, i, units))
            if not node.hand and not node.asked and not node.dry:
                self.ask(i, when)
        elif not node.asked:
            if node.dry:
                self.flush(when, i)
            else:
                self.ask(i, when)

    def mapped(self, when, i, units):
        node = self.nodes[i]
        if node.dead:
            return
        self.busy_from(when, -1)
        node.running = False
        node.fresh += units
        if not self.profile.dense and not self.profile.distinct:
            node.left += self.job.crossing(self.profile.sent_bytes(units))
            ready = node.left - self.job.half_full()
            if ready > 0:
                self.send(when, i, ready, ready / self.cluster.chunk)
        self.go_on(when, i)

    # ---- pairs --------------------------------------------------------------------------------------------------

    def send(self, when, i, size, messages):
        """Puts bytes on the node's link; returns when they have left. A message costs both its ends, and as many come
        as go."""
        node, cluster = self.nodes[i], self.cluster
        node.left = max(0.0, node.left - size)
        node.sent += size
        seconds = size / cluster.rate + 2 * messages * cluster.message * cluster.slowdown(self.living)
        node.link_free = max(node.link_free, when) + seconds
        self.job.messages += messages
        self.job.sent_bytes += size
        if cluster.skew > 1:
            self.at(node.link_free + cluster.latency, ARRIVED, i, size)
        return node.link_free

    def arrived(self, when, _, size):
        """At the owner with the largest share, which sends nothing to itself."""
        share = size / self.living * self.cluster.skew
        self.fullest_free = max(self.fullest_free, when) + share / self.cluster.rate

    def flush(self, when, i):
        """The node has nothing to map: what its workers hold leaves, and its epochs end."""
        node, cluster, others = self.nodes[i], self.cluster, self.living - 1
        node.idle = True
        if self.profile.distinct:
            made = self.job.crossing(cluster.workers * self.profile.sent_bytes(node.fresh / cluster.workers))
            node.left += made
            when += made * cluster.byte_cpu * cluster.slowdown(self.living) / cluster.workers
        node.fresh = 0
        chunks = 0.0
        if node.left > 0:
            partly = cluster.workers * self.job.partitions * others / self.living
            chunks = min(node.left / self.profile.pair_bytes, max(node.left / cluster.chunk, partly))
        ends = 0 if self.profile.dense else 2 * cluster.workers * others        # each is confirmed
        gone = self.send(when, i, node.left, chunks + ends)
        self.at(gone + 2 * cluster.latency, IDLE, i, self.view)

    def say_idle(self, when, i, view):
        if self.nodes[i].dead or view != self.view:
            return
        self.idle += 1
        through = self.serve(when)
        if self.idle == self.living and self.unnoticed == 0:
            self.end = max(self.serve(through, self.living), self.fullest_free) + self.cluster.latency

    # ---- losses -------------------------------------------------------------------------------------------------

    def lose(self, when, i, _):
        self.nodes[i].dead = True
        if self.nodes[i].running:
            self.busy_from(when, -1)
        self.at(when + self.cluster.deadline, NOTICED, i)

    def notice(self, when, i, _):
        """All give accounts; what the lost node was given is to do again; its heirs get what it owned."""
        lost = self.nodes[i]
        self.unnoticed -= 1
        self.living -= 1
        self.view += 1
        self.idle = 0
        again = self.serve(when, 2 * self.living) + self.cluster.latency
        self.ledger.lose(i, lost.given)
        for other, node in enumerate(self.nodes):
            if not node.dead:
                resent = node.sent / self.living
                self.send(again, other, resent, resent / self.cluster.chunk)
                node.idle = node.dry = False
                self.at(again, WOKEN, other)

    def wake(self, when, i, _):
        if not self.nodes[i].dead:
            self.go_on(when, i)


class Job:
    """profile on cluster; units: of the input, as the profile counts them."""

    def __init__(self, profile, cluster, units=None, seed=1):
        self.profile, self.cluster = profile, cluster
        self.units = profile.units if units is None else units
        self.random = random.Random(seed)
        self.requests, self.messages, self.sent_bytes = 0, 0.0, 0.0
        self.rates = [seconds / size for size, seconds in profile.tasks]
        self.sizes = [size for size, _ in profile.tasks]
        self.slice = sum(self.sizes) / len(self.sizes)
        each = max(PARTS_PER_NODE, 2 * cluster.workers)
        least = 1 if cluster.nodes == 1 else min(PARTS_MOST, 1 << (each * cluster.nodes - 1).bit_length())
        self.parts = max(profile.parts, 1 if profile.dense else least)
        self.partitions = max(profile.partitions, self.parts)

    def crossing(self, size):
        """The part of what a node sends that is for other nodes."""
        return size * (self.cluster.nodes - 1) / self.cluster.nodes

    def half_full(self):
        """Bytes for other nodes that wait in a node's chunks."""
        return self.crossing(self.cluster.workers * self.partitions * self.cluster.chunk / 2)

    def map_seconds(self, units):
        """Of a node that has its cores for itself, for one work."""
        slices = min(SLICES_MOST, max(1, round(units / self.slice)))
        rate = sum(self.random.choices(self.rates, self.sizes, k=slices)) / slices
        seconds = units * rate
        if not self.profile.distinct:
            seconds += self.crossing(self.profile.sent_bytes(units)) * self.cluster.byte_cpu
        return seconds / self.cluster.workers

    def least(self):
        """Units of a work that is worth its messages."""
        mean = sum(seconds for seconds, _ in self.profile.tasks) / sum(self.sizes)
        return int(LEAST_SECONDS * self.cluster.workers / mean)

    def reduce_seconds(self):
        """Of the slowest node. Each has its part of the parts, a task each, taken by its workers in turn."""
        profile, cluster = self.profile, self.cluster
        total = self.sent_in_all() / profile.recorded_bytes() * profile.reduce_seconds
        ratios = [seconds * len(profile.reduces) / sum(profile.reduces) for seconds in profile.reduces] or [1.0]
        slowest, everyone, nodes = 0.0, 0.0, cluster.nodes - cluster.losses
        for node in range(nodes):
            each = total / self.parts * (cluster.skew if node == 0 else 1.0)
            free = [0.0] * cluster.workers
            for _ in range(self.parts * node // nodes, self.parts * (node + 1) // nodes):
                heapq.heapreplace(free, free[0] + each * self.random.choice(ratios))
            slowest = max(slowest, max(free))
            everyone += sum(free)
        return max(slowest, everyone / cluster.cores if cluster.cores else 0)

    def sent_in_all(self):
        """Bytes of pairs, those that stay on their node too."""
        workers = self.cluster.nodes * self.cluster.workers
        return workers * self.profile.sent_bytes(self.units / workers)

    def fold_seconds(self):
        """The tables of all blocks come to the coordinator; the sum goes to all."""
        cluster, others = self.cluster, self.cluster.nodes - 1
        tables = self.units * self.profile.table_bytes
        link = self.crossing(tables) / cluster.rate + others * self.profile.table_bytes / cluster.rate
        work = tables * FOLD_BYTE + self.crossing(tables) * cluster.byte_cpu + 2 * others * cluster.message
        return link + work + 2 * cluster.latency * (others > 0)

    def losses(self, begin):
        """When which nodes are lost: while all map."""
        cluster = self.cluster
        expected = self.units * self.profile.unit_seconds * cluster.slowdown(cluster.nodes) / (
            cluster.nodes * cluster.workers)
        victims = self.random.sample(range(cluster.nodes), cluster.losses)
        return [(begin + self.random.uniform(0.05, 0.9) * expected, victim) for victim in victims]

    def run(self):
        profile, cluster = self.profile, self.cluster
        all_nodes = cluster.nodes * cluster.request + cluster.latency       # a message to or from each
        alone = cluster.nodes == 1
        start = profile.start_seconds + (0 if alone else 2 * all_nodes)
        stages, now = {"start": start, "map": 0.0, "fold": 0.0, "reduce": 0.0, "commit": 0.0}, start
        for round_ in range(profile.rounds):
            end = MapStage(self, now, self.losses(now) if round_ == 0 and cluster.losses else []).run()
            stages["map"] += end - now
            now = end
            if profile.dense:
                fold = self.fold_seconds()
                stages["fold"] += fold
                now += fold
        if profile.reduce_seconds > 0 and not profile.dense:
            stages["reduce"] = self.reduce_seconds() + (0 if alone else all_nodes)
        stages["commit"] = profile.commit_seconds + (0 if alone else self.parts * cluster.rename + all_nodes)
        return Outcome(sum(stages.values()), stages, self.requests, self.messages, self.sent_bytes)


def simulate(profile, cluster, units=None, seed=1):
    if not 0 <= cluster.losses < cluster.nodes:
        raise ValueError("at least one node must survive")
    return Job(profile, cluster, units, seed).run()
