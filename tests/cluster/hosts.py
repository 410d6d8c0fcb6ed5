"""hosts.py: a cluster's hosts on one machine, with a real network between them, for as long as a test runs.

    with Hosts(3, rate=80_000_000) as hosts:                    # bits a second, each host, each way
        hosts["n1"].succeed("uname", "-n")                      # "n1\\n"
        hosts.run("mpiexec.mpich", "-launcher", "ssh", "-launcher-exec", hosts.rsh, "-hosts", "n1,n2", ...)

                    namespaces of the world                      namespaces of a host, inside of the world
    test  --pipe--  login (the first process; the switch) --+--  n1   eth0 10.77.0.1    process ids, network, mounts,
                    eth0 10.77.0.254                        +--  n2   eth0 10.77.0.2    IPC and host name of its own
                    no other way in or out                  +--  n3   eth0 10.77.0.3

Why namespaces within a namespace, and none that `ip netns` would name: nothing of a world has a name outside of it.
Any number of worlds may run at a time with the same host names, addresses and ports, and none can reach the machine's
own network or be reached from it. And nothing has to be cleaned up: when the first process of a process-id namespace
ends, the kernel ends all others in it, and with the last process go the network, the cables and the mounts. The first
process of the login node ends when the pipe from the test does. So a test may die in any way.

Hosts share the file system, as on a cluster, except for /proc, /sys, /dev/shm and the folder hosts.local: that is
another one on each host, its local disk. From outside it is host.disk, also when the host is dead.

1. Whatever runs in a world has MILLRACE_WORLD, the world's folder, in its environment.
2. The folder is called millrace-cluster-PID-*; PID is the test. The first process removes it as its last act. If that
   was killed too, the next world that anyone makes removes it: there is no such PID any more."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
NETWORK = "10.77.0."
PREFIX = "millrace-cluster-"
NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid"]
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
LAUNCHERS = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SALLOC_", "PMI_", "PMIX_", "HYDRA_", "MPIEXEC_")
FORBIDDEN = re.compile("not permitted|Permission denied|not supported|Unknown device type|No space left|chroot")


class Skip(unittest.SkipTest):
    """This machine cannot do it; the text says why."""


def need(*programs):
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            raise Skip(f"{program} is not installed")


def stop(process):
    """Ends what start() started, and what that started without leaving its session; returns when they are gone."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while True:             # the leader only stood before the namespaces: its child may take a moment longer
            os.killpg(process.pid, 0)
            time.sleep(0.005)
    except ProcessLookupError:
        process.wait()


class Place:
    """Where commands can be run: a host, or the login node."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self._first = None          # the first process, as a child of the test; None: not running
        self._pid = None            # its number one level up
        self._outside = []          # a command that runs the rest of its arguments one level up

    def start(self, *command, env=None, cwd=None, **how):
        """A subprocess.Popen, of text, without input, in a session of its own. It ends with the place at the latest."""
        how = {"stdin": subprocess.DEVNULL, "text": True, **how}
        process = subprocess.Popen([*self._inside(), "env", "-C", cwd or os.getcwd(), *command], start_new_session=True,
                                   env={**self.world.environment, **(env or {})}, **how)
        self.world._started = [other for other in self.world._started if other.returncode is None] + [process]
        return process

    def run(self, *command, timeout=60, **how):
        """A subprocess.CompletedProcess with the output. A command that takes longer fails the test."""
        with self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                stop(process)
                out, err = process.communicate()
                raise AssertionError(f"{command} takes more than {timeout} s\n{out}{err}") from None
            except BaseException:
                stop(process)
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def succeed(self, *command, **how):
        """The output of a command that must succeed."""
        run = self.run(*command, **how)
        if run.returncode != 0:
            raise AssertionError(f"{command} ended with status {run.returncode}\n{run.stdout}{run.stderr}")
        return run.stdout

    def _inside(self):
        # --root: where a world was begun under chroot, its mounts have more above
        return [*self._outside, "nsenter", "--target", self._pid, *NAMESPACES, "--root", "--"]

    def _begin(self, kind):
        """Makes the namespaces, and starts the first process in them."""
        unshare = ["unshare", *NAMESPACES, "--fork", "--propagation", "unchanged"]
        script = ["bash", os.path.join(HERE, "world.sh"), kind, self.world.folder, self.name]
        with open(self._file("err"), "w", encoding="utf-8") as errors:
            self._first = subprocess.Popen([*self._outside, *unshare, *script], env=self.world.environment, bufsize=0,
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                           start_new_session=True)
        self._pid = self._hear()

    def _connect(self, address):
        """The first process configures the network device that is there by now."""
        self._first.stdin.write(address.encode() + b"\n")
        self._hear()

    def _hear(self):
        line = self._first.stdout.readline().decode().strip()
        if not line:
            self._end()
            with open(self._file("err"), encoding="utf-8") as errors:
                text = errors.read().strip()
            raise (Skip if FORBIDDEN.search(text) else RuntimeError)(f"no namespaces can be made here: {text}")
        return line

    def _end(self):
        """Ends the first process, and so all others of the place; returns when the last of them is gone."""
        self._first.stdin.close()
        self._first.wait()
        self._first.stdout.close()
        self._first = None

    def _file(self, kind):
        return os.path.join(self.world.folder, f"{self.name}.{kind}")


class Host(Place):
    def __init__(self, world, number):
        super().__init__(world, f"n{number}")
        self.address = f"{NETWORK}{number}"
        self._mac = f"02:00:00:00:00:{number:02x}"      # always the same: others remember it
        self.disk = os.path.join(world.folder, self.name)
        self._outside = world._inside()
        os.mkdir(self.disk)

    def boot(self):
        """Begins the host, for the first time or after kill(). Its disk stays as it is."""
        self._begin("host")
        self.world.succeed("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0",
                           "address", self._mac, "netns", self._pid)
        self.world.succeed("ip", "link", "set", self.name, "master", "eth0", "up")
        self._connect(self.address)
        with open(self._file("pid"), "w", encoding="utf-8") as file:
            file.write(self._pid)
        if self.world.rate is not None:
            self.shape(self.world.rate)

    def is_up(self):
        return self._first is not None

    def kill(self, silently=False):
        """Ends the host with all that runs on it; returns when that is done. silently: the cable is out first, as when
        the power fails, so that no other host hears of closed connections."""
        if silently:
            self.unplug()
        os.remove(self._file("pid"))
        self.world.succeed("sh", "-c", f"kill -s KILL {self._pid}")
        self._end()
        self.world.run("ip", "link", "delete", self.name)       # the kernel would, a little later

    def unplug(self):
        """Pulls the cable out: both ends see that there is no carrier. Connections stay open."""
        self.world.succeed("ip", "link", "set", self.name, "down")

    def plug(self):
        self.world.succeed("ip", "link", "set", self.name, "up")

    def shape(self, rate):
        """Lets so many bits a second through the cable, each way, in bursts of 10 ms."""
        need("tc")
        bucket = ["root", "tbf", "rate", f"{rate}bit", "burst", f"{max(rate // 800, 16384)}b", "latency", "50ms"]
        self.succeed("tc", "qdisc", "replace", "dev", "eth0", *bucket)
        self.world.succeed("tc", "qdisc", "replace", "dev", self.name, *bucket)


class Hosts(Place):
    """The world; as a place, its login node. A context manager; iterates over its hosts; hosts["n1"] is the first."""

    rsh = os.path.join(HERE, "rsh.sh")      # stands in for ssh, on the login node

    def __init__(self, count, rate=None):
        super().__init__(self, "login")
        self.address = f"{NETWORK}254"
        self.rate = rate
        self.folder = self.local = None
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
        self._count = count
        self._hosts = {}
        self._started = []

    def __getitem__(self, name):
        return self._hosts[name]

    def __iter__(self):
        return iter(self._hosts.values())

    def __enter__(self):
        if os.geteuid() != 0:
            raise Skip("making namespaces needs root")
        need("unshare", "nsenter", "ip")
        remove_leftovers()
        self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._first is not None:
            self._end()
        for host in self:
            if host._first is not None:
                host._end()
        for process in self._started:       # what they ran is dead
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _build(self):
        self.environment.update(PATH=PATH, MILLRACE_WORLD=self.folder)
        self.local = os.path.join(self.folder, "local")
        os.mkdir(self.local)
        numbers = range(1, self._count + 1)
        with open(os.path.join(self.folder, "names"), "w", encoding="utf-8") as names:
            names.write(f"127.0.0.1 localhost\n{self.address} {self.name}\n")
            names.writelines(f"{NETWORK}{number} n{number}\n" for number in numbers)
        self._begin("world")
        self._connect(self.address)
        for number in numbers:
            host = Host(self, number)
            self._hosts[host.name] = host
            host.boot()


def remove_leftovers():
    """Removes the folders of worlds whose test and first process were both killed."""
    for name in os.listdir(tempfile.gettempdir()):
        match = re.match(PREFIX + r"(\d+)-", name)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)
