"""A job on more nodes than there are here: a simulation that draws task times from a recorded run.

    profile.py      what it takes from records and traces of `millrace run`
    ledger.py       who maps what, as net/ledger.c gives it out
    model.py        nodes, network and coordinator: the events of a job

bench/simulate is the command; docs/scaling.md says what is modelled, what is not, and how far off it is. Only the
standard library is used, and all that is drawn comes from one seed.
"""
