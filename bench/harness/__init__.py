"""What bench/run is made of. docs/benchmarks.md says how to use it and what the numbers mean.

    process.py   run one command: seconds, peak memory of its process tree
    machine.py   what the numbers belong to: machine, versions, commit
    data.py      inputs by seed, made once and kept in a cache
    side.py      one side of a comparison: command, answer, what counts as its time
    contest.py   two sides in turn, A B A B; medians and ratios
    limits.py    what the machine allows at best
    apps.py      each app against its peers
    must.py      the claims, each with both numbers; devices.py has those about OpenCL devices, ranks.py
                 those about several ranks
    sweep.py     over workers, input size, memory limit and ranks (scaling.py); plot.py draws it
    report.py    the results as JSON and as a page to read

Only the standard library is used here: the harness runs before anything is installed, and says what is missing.
"""
