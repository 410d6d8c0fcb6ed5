"""strikes.py: what happens to a run: who is killed or stopped, when, and for how long. All of it comes from a random
number generator, so a run with the same seed does the same again; only the machine's own timing differs.

    plan  =  [(seconds after the ranks have come together, what, to whom), ...]

A strike that finds nobody (the job was faster) is no strike; a run without any does not count."""
import os
import signal
import time

from jobs import DEADLINE, PATIENCE, Failed

LOOK = 0.01
SHORT = (0.05, 0.4)     # a pause that is no loss, in deadlines
LONG = (1.3, 2.5)       # one that is


class Hang(Failed):
    pass


def await_begin(run):
    while not run.has_begun() and not run.is_over():
        time.sleep(LOOK)
        if time.monotonic() - run.began > PATIENCE:
            raise Hang("it hangs before it begins")


def follow(run, plan, act):
    """Carries out a plan, and awaits the end of the run. act(what, whom): whether it hit. How many did."""
    hits, start = 0, time.monotonic()
    for moment, what, whom in sorted(plan):
        while time.monotonic() < start + moment and not run.is_over():
            time.sleep(LOOK)
        if run.is_over():
            break
        if act(what, whom):
            run.note(what, whom)
            hits += 1
    while not run.is_over():
        time.sleep(LOOK)
        if time.monotonic() - run.began > PATIENCE:
            raise Hang("it hangs")
    return hits


def signal_ranks(run):
    """For follow(): what is the name of a signal, whom a rank. One that was hit stays the same process to the end."""
    known = {}

    def act(what, rank):
        pid = known.get(rank) or run.rank_processes().get(rank)
        known[rank] = pid
        try:
            os.kill(pid, getattr(signal, what))
        except (TypeError, ProcessLookupError):
            return False
        return True
    return act


def plan_losses(rng, ranks, length, stops, first=False):
    """At least one rank stays untouched. stops: the share of those that are stopped and not killed."""
    count = min(rng.choice((1, 1, 1, 2, 2, 3, ranks - 1)), ranks - 1)
    victims = rng.sample(range(ranks), count)
    if first and 0 not in victims:
        victims[0] = 0
    plan = []
    for victim in victims:
        moment = rng.uniform(0, length)
        if rng.random() >= stops:
            plan.append((moment, "SIGKILL", victim))
            continue
        plan.append((moment, "SIGSTOP", victim))
        how = rng.random()
        if how < 0.8:           # else it never wakes
            plan.append((moment + DEADLINE * rng.uniform(*(SHORT if how < 0.4 else LONG)), "SIGCONT", victim))
    return plan


def strike_ranks(run, rng, length, stops=0.0, first=False):
    run.start()
    await_begin(run)
    return follow(run, plan_losses(rng, run.ranks, length, stops, first), signal_ranks(run))


def strike_at_start(run, rng):
    """While MPI starts, and before: MPICH survives no loss there, so the command begins again."""
    run.start()
    moment, count = rng.uniform(0, 0.6), min(rng.choice((1, 1, 2)), run.ranks - 1)
    plan = [(moment + number * rng.uniform(0, 0.05), "SIGKILL", victim)
            for number, victim in enumerate(rng.sample(range(run.ranks), count))]
    return follow(run, plan, signal_ranks(run))


def strike_helpers(run, rng, length):
    """Processes that serve a device, of any rank; now and then a rank with them."""
    def act(what, number):
        if what == "rank":
            return strike_rank("SIGKILL", number)
        helpers = run.of_program("millrace-device", b"--serve")     # others only list the devices
        if not helpers:
            return False
        try:
            os.kill(helpers[number % len(helpers)][0], signal.SIGKILL)
        except ProcessLookupError:      # it has just ended
            return False
        return True
    strike_rank = signal_ranks(run)
    run.start()
    await_begin(run)
    plan = [(rng.uniform(0, length), "helper", rng.randrange(100)) for _ in range(rng.choice((1, 2, 4)))]
    if rng.random() < 0.3:
        plan.append((rng.uniform(0, length), "rank", rng.randrange(run.ranks)))
    return follow(run, plan, act)


def strike_nodes(run, rng, length):
    """Returns the nodes that are dead."""
    dead = []

    def act(what, name):
        run.slurm.hosts[name].kill(silently=what == "silently")
        dead.append(name)
        return True
    run.start()
    await_begin(run)
    count = rng.choice((1, 1, len(run.nodes) - 1))
    plan = [(rng.uniform(0, length), rng.choice(("kill", "silently")), name)
            for name in rng.sample(run.nodes, count)]
    follow(run, plan, act)
    return dead


def strike_link(run, rng, length):
    """The cable of one node is pulled out, and put back before or after the deadline."""
    def act(what, name):
        getattr(run.slurm.hosts[name], what)()
        return True
    run.start()
    await_begin(run)
    name, moment = rng.choice(run.nodes), rng.uniform(0, length)
    gap = DEADLINE * rng.uniform(*rng.choice((SHORT, LONG)))
    try:
        return follow(run, [(moment, "unplug", name), (moment + gap, "plug", name)], act)
    finally:
        run.slurm.hosts[name].plug()
