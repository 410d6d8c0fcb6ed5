"""slurm.py: a real Slurm of several nodes, private to a test, for as long as it runs.

    with Slurm(3) as slurm:
        slurm.run("srun", "-N3", "uname", "-n")         # a subprocess.CompletedProcess; likewise sbatch, scancel, ...
        slurm.hosts["n2"].kill()                        # the whole node, at once
        slurm.boot("n2")                                # and it comes back

slurmctld runs on the login node of a world of hosts (hosts.py), and a slurmd on each host under that host's name. So
there is no port, no name and no process that a second Slurm could collide with, nodes talk over a network that can be
shaped and cut, and all of it ends with the world. What it writes lies in the world's folder.

There is no munge (auth/none), no cgroup and no accounting: one user, root, and processes that the kernel ends.
A killed node is down after about 10 s, or 15 s if it was killed silently; only then `srun --no-kill` ends."""
import os
import sys
import time

from hosts import Hosts, need

NODE_TIMEOUT = 5        # seconds without an answer after which a node is down: Slurm asks every third of it
IDLE_DEADLINE = 60

CONFIGURATION = """
ClusterName=millrace
SlurmctldHost={login}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={local}/slurmd
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={local}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={local}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=1
MpiDefault=none
PropagateResourceLimits=NONE
ReturnToService=2
SlurmdTimeout={timeout}
KillWait=2
MessageTimeout=5
TCPTimeout=1
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """cpus, memory (MiB), gpus (by the name of the node): what a node says that it has; nothing enforces it."""

    def __init__(self, count, cpus=2, memory=4000, rate=None, gpus=()):
        self.hosts = Hosts(count, rate)
        self._count = count
        self._cpus = cpus
        self._memory = memory
        self._gpus = dict(gpus)

    def __enter__(self):
        need("slurmctld", "slurmd", "srun", "sbatch", "sinfo")
        self.hosts.__enter__()
        try:
            self._begin()
        except BaseException:
            self.hosts.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.hosts.__exit__()

    def run(self, *command, **how):
        """Runs a command on the login node; see hosts.Place."""
        return self.hosts.run(*command, **how)

    def start(self, *command, **how):
        return self.hosts.start(*command, **how)

    def succeed(self, *command, **how):
        return self.hosts.succeed(*command, **how)

    def boot(self, name):
        """Begins a node again whose host was killed; returns when Slurm would give it work."""
        self.hosts[name].boot()
        self._start_node(self.hosts[name])
        self._await_idle(name)

    def states(self):
        """The state of each node, by its name: idle, mixed, down, ..."""
        return dict(line.split() for line in self.succeed("sinfo", "-h", "-N", "-o", "%N %T").splitlines())

    def logs(self):
        """The ends of the daemons' logs, for whom a test failed."""
        files = [os.path.join(self.hosts.folder, "slurmctld.log")]
        files += [os.path.join(host.disk, "slurmd.log") for host in self.hosts]
        text = ""
        for file in filter(os.path.exists, files):
            with open(file, encoding="utf-8", errors="replace") as lines:
                text += f"{file}\n" + "".join(lines.readlines()[-20:])
        return text

    def _begin(self):
        hosts = self.hosts
        file = os.path.join(hosts.folder, "slurm.conf")
        hosts.environment["SLURM_CONF"] = file
        with open(file, "w", encoding="utf-8") as conf:
            conf.write(CONFIGURATION.format(login=hosts.name, address=hosts.address, folder=hosts.folder,
                                            local=hosts.local, timeout=NODE_TIMEOUT, nodes=self._nodes()))
        with open(os.path.join(hosts.folder, "gres.conf"), "w", encoding="utf-8") as conf:
            conf.write("".join(f"NodeName={name} Name=gpu File=/dev/null\n" * count    # Slurm wants to see a file
                               for name, count in self._gpus.items()))
        with open(os.path.join(hosts.folder, "cgroup.conf"), "w", encoding="utf-8") as conf:
            conf.write("CgroupPlugin=cgroup/v1\n")        # found out by itself, it would have to be mounted
        for host in hosts:
            self._start_node(host)
        hosts.succeed("slurmctld", "-c")            # last: it asks nodes that do not answer at once again much later
        self._await_idle(*(host.name for host in hosts))

    def _nodes(self):
        lines = []
        for host in self.hosts:
            gpus = f" Gres=gpu:{self._gpus[host.name]}" if host.name in self._gpus else ""
            lines.append(f"NodeName={host.name} CPUs={self._cpus} RealMemory={self._memory}{gpus} State=UNKNOWN")
        return "\n".join(lines)

    def _start_node(self, host):
        os.makedirs(os.path.join(host.disk, "slurmd"), exist_ok=True)
        host.succeed("slurmd", "-N", host.name)

    def _await_idle(self, *names):
        deadline = time.monotonic() + IDLE_DEADLINE
        while True:
            run = self.run("sinfo", "-h", "-N", "-t", "idle", "-n", ",".join(names), "-o", "%N %T")
            if set(run.stdout.split("\n")[:-1]) == {f"{name} idle" for name in names}:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{', '.join(names)}: not idle after {IDLE_DEADLINE} s\n{run.stdout}{run.stderr}"
                                   f"{self.logs()}")
            time.sleep(0.1)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("slurm.py COUNT COMMAND...: runs a command on the login node of a Slurm of so many nodes")
    with Slurm(int(sys.argv[1])) as slurm:
        sys.exit(slurm.start(*sys.argv[2:], stdin=None).wait())
