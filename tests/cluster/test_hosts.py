"""Hosts made of namespaces: names, their own network, bandwidth, cables, the stand-in for ssh, and nothing left."""
import os
import signal
import socket
import subprocess
import sys
import unittest

import cluster_test
from cluster_test import PATIENCE, await_true, processes_of, read_within, start_test
from hosts import Hosts, Skip, need, stop

PORT = 7000     # every world has this port
TURNS = 5       # of a measurement: a machine that stands still for a moment makes a link slower, never faster

CONNECT = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])).close()
"""

RECEIVE = """
import socket
with socket.create_server(("", 7000)) as server:
    print("listens", flush=True)
    peer, _ = server.accept()
    total = 0
    while data := peer.recv(1 << 16):
        total += len(data)
    peer.sendall(b"%d" % total)
"""

SEND = """
import socket, sys, time
size = int(sys.argv[2])
with socket.create_connection((sys.argv[1], 7000)) as peer:
    begun = time.monotonic()
    peer.sendall(bytes(size))
    peer.shutdown(socket.SHUT_WR)
    assert int(peer.recv(100)) == size      # the receiver has the last byte
    print(time.monotonic() - begun)
"""

TICK = """
import socket, time
with socket.create_server(("", 7000)) as server:
    print("listens", flush=True)
    peer, _ = server.accept()
    try:
        while True:
            peer.sendall(b"x")
            time.sleep(0.01)
    except OSError:     # the client is gone
        pass
"""

SHOW = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000)) as peer:
    while data := peer.recv(100):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
"""


def setUpModule():
    with Hosts(1):      # or all of this is skipped
        pass


def python(program, *arguments):
    return [sys.executable, "-c", program, *map(str, arguments)]


class World(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = cls.enterClassContext(Hosts(3))

    def start(self, place, *command, **how):
        """Starts what ends with the test at the latest."""
        process = place.start(*command, stdout=subprocess.PIPE, **how)
        self.addCleanup(process.stdout.close)
        self.addCleanup(stop, process)
        return process

    def serve(self, host, program):
        server = self.start(host, *python(program))
        self.assertEqual(server.stdout.readline(), "listens\n")
        return server

    def test_each_host_has_its_name_and_process_ids(self):
        for host in self.hosts:
            self.assertEqual(host.succeed("uname", "-n"), host.name + "\n")
            self.assertEqual(host.succeed("sh", "-c", "tr '\\0' ' ' </proc/1/cmdline").split()[-1], host.name)
        self.assertEqual(self.hosts.succeed("uname", "-n"), "login\n")
        self.assertEqual(os.uname().nodename, socket.gethostname())
        self.assertNotEqual(socket.gethostname(), "login")

    def test_a_command_brings_status_output_and_folder(self):
        run = self.hosts["n2"].run("sh", "-c", "pwd; echo $WORD; echo wrong >&2; exit 5", cwd="/usr",
                                   env={"WORD": "a b"})
        self.assertEqual((run.returncode, run.stdout, run.stderr), (5, "/usr\na b\n", "wrong\n"))
        with self.assertRaisesRegex(AssertionError, "ended with status 1"):
            self.hosts.succeed("false")
        output = ""
        for seconds in (0.5, 2, 8, 32):         # a busy machine may not come to the first word so soon
            with self.assertRaises(AssertionError) as late:
                self.hosts["n1"].run("sh", "-c", "echo begun; sleep 1000", timeout=seconds)
            _, says, output = str(late.exception).partition(f" takes more than {seconds} s\n")
            if output or not says:
                break
        self.assertEqual(output, "begun\n")
        await_true(lambda: "sleep" not in self.hosts["n1"].run("sh", "-c", "cat /proc/[0-9]*/comm").stdout, "it ended")

    def test_hosts_reach_each_other_by_name(self):
        places = [self.hosts, *self.hosts]
        for server, client in zip(places, places[1:] + places[:1], strict=True):
            receiver = self.serve(server, RECEIVE)
            client.succeed(*python(SEND, server.name, 1000))
            self.assertEqual(receiver.wait(PATIENCE), 0)

    def test_nobody_reaches_the_outside_or_is_reached_from_there(self):
        with socket.create_server(("", 0)) as server:
            port = server.getsockname()[1]
            shown = subprocess.run(["ip", "-4", "-o", "address", "show"], text=True, capture_output=True, check=True)
            addresses = [line.split()[3].split("/")[0] for line in shown.stdout.splitlines()]
            self.assertIn("127.0.0.1", addresses)
            for address in addresses:
                socket.create_connection((address, port), timeout=PATIENCE).close()
                for place in (self.hosts, self.hosts["n1"]):
                    self.assertNotEqual(place.run(*python(CONNECT, address, port, 1)).returncode, 0, address)
        # some networks answer for any address; but n1, which takes one connection only, takes it from n2
        self.serve(self.hosts["n1"], RECEIVE)
        subprocess.run(python(CONNECT, self.hosts["n1"].address, PORT, 1), stderr=subprocess.DEVNULL, check=False)
        self.hosts["n2"].succeed(*python(SEND, "n1", 1000))

    def test_a_second_world_with_the_same_names_is_another_one(self):
        self.serve(self.hosts["n1"], RECEIVE)
        with Hosts(1) as others:
            self.assertNotEqual(others["n1"].run(*python(CONNECT, "n1", PORT, 1)).returncode, 0)
            self.serve(others["n1"], RECEIVE)       # the same port is free
            self.assertNotEqual(others.folder, self.hosts.folder)
        self.hosts["n2"].succeed(*python(SEND, "n1", 1000))

    def test_each_host_has_its_own_disk_and_shared_memory(self):
        for host in self.hosts:
            host.succeed("sh", "-c", "uname -n >local/name; uname -n >/dev/shm/millrace-name", cwd=self.hosts.folder)
        for host in self.hosts:
            names = host.succeed("sh", "-c", "cat local/name /dev/shm/millrace-name", cwd=self.hosts.folder)
            self.assertEqual(names.split(), [host.name] * 2)
            with open(os.path.join(host.disk, "name"), encoding="utf-8") as file:
                self.assertEqual(file.read(), host.name + "\n")
        self.assertFalse(os.path.exists("/dev/shm/millrace-name"))

    def test_a_cable_that_is_pulled_stops_traffic_until_it_is_put_back(self):
        self.serve(self.hosts["n1"], TICK)
        client = self.start(self.hosts["n2"], *python(SHOW, "n1"), text=False, bufsize=0)
        self.assertTrue(read_within(client.stdout, PATIENCE))
        self.hosts["n1"].unplug()
        self.assertIn("NO-CARRIER", self.hosts["n1"].succeed("ip", "link", "show", "eth0"))
        # what was under way comes yet; else there would be some more 100 times a second
        await_true(lambda: not read_within(client.stdout, 1), "a second without traffic")
        self.hosts["n3"].succeed(*python(CONNECT, "login", self.listen_on_login(), PATIENCE))
        self.hosts["n1"].plug()
        self.assertTrue(read_within(client.stdout, PATIENCE))

    def listen_on_login(self):
        self.serve(self.hosts, RECEIVE)
        return PORT

    def test_a_killed_host_is_gone_and_can_come_back(self):
        for silently in (False, True):
            with self.subTest(silently=silently):
                self.serve(self.hosts["n3"], TICK)
                client = self.start(self.hosts["n2"], *python(SHOW, "n3"), text=False, bufsize=0)
                self.assertTrue(read_within(client.stdout, PATIENCE))
                self.hosts["n3"].kill(silently)
                if silently:                        # no FIN: the client waits for more
                    while read_within(client.stdout, 0.2):
                        pass
                    self.assertIsNone(client.poll())
                else:                               # the dead host's kernel closed the connection
                    self.assertEqual(client.wait(PATIENCE), 0)
                self.assertNotEqual(self.hosts["n2"].run(*python(CONNECT, "n3", PORT, 1)).returncode, 0)
                self.assertEqual(self.hosts.run(self.hosts.rsh, "n3", "true").returncode, 255)
                self.hosts["n3"].boot()
                self.serve(self.hosts["n3"], RECEIVE)
                self.hosts["n2"].succeed(*python(SEND, "n3", 1000))

    def test_the_stand_in_for_ssh(self):
        rsh = self.hosts.rsh
        run = self.hosts.run(rsh, "-x", "n2", "uname", "-n;", 'echo "$WORD."; exit 3', env={"WORD": "not handed on"})
        self.assertEqual((run.returncode, run.stdout, run.stderr), (3, "n2\n.\n", ""))
        run = self.hosts.run(rsh, "n9", "true")
        self.assertEqual((run.returncode, run.stderr), (255, "rsh.sh: connect to host n9: No route to host\n"))

    def test_a_missing_program_is_a_reason_to_skip(self):
        with self.assertRaisesRegex(Skip, "^millrace-no-such-program is not installed$"):
            need("sh", "millrace-no-such-program")

    def test_mpiexec_starts_a_process_on_each_host(self):
        need("mpiexec.mpich")
        names = self.hosts.succeed("mpiexec.mpich", "-launcher", "ssh", "-launcher-exec", self.hosts.rsh,
                                   "-hosts", "n1,n2,n3", "-ppn", "1", "-n", "3", "uname", "-n")
        self.assertEqual(sorted(names.split()), ["n1", "n2", "n3"])


class Bandwidth(unittest.TestCase):
    def measure(self, hosts, sender, receiver, size):
        server = hosts[receiver].start(*python(RECEIVE), stdout=subprocess.PIPE)
        try:
            self.assertEqual(server.stdout.readline(), "listens\n")
            return 8 * size / float(hosts[sender].succeed(*python(SEND, receiver, size)))
        finally:
            server.stdout.close()
            stop(server)

    def test_measured_bandwidth_follows_the_rate(self):
        rate, slow = 80_000_000, 16_000_000
        with Hosts(3, rate) as hosts:
            def assert_rate(sender, receiver, rate):
                best = 0
                for _ in range(TURNS):
                    measured = self.measure(hosts, sender, receiver, rate // 8)     # it should take a second
                    self.assertLess(measured, 1.2 * rate)
                    best = max(best, measured)
                    if best > 0.5 * rate:
                        break
                self.assertGreater(best, 0.5 * rate)
            assert_rate("n1", "n2", rate)
            hosts["n2"].shape(slow)
            assert_rate("n1", "n2", slow)
            assert_rate("n2", "n3", slow)
            assert_rate("n3", "n1", rate)
        with Hosts(2) as hosts:
            self.assertTrue(any(self.measure(hosts, "n1", "n2", 100_000_000) > 2 * rate for _ in range(TURNS)))


class Ends(unittest.TestCase):
    PROGRAM = """
        from hosts import Hosts
        with Hosts(2) as hosts:
            hosts["n2"].start("sleep", "1000")
            hosts.start("sh", "-c", "setsid sleep 1000 & exec sleep 1000")
            print(hosts.folder, flush=True)
            input()
        """

    def start(self):
        test, folder = start_test(self.PROGRAM)
        self.addCleanup(test.stdout.close)
        self.addCleanup(test.stdin.close)
        self.addCleanup(test.wait)
        self.addCleanup(test.kill)
        await_true(lambda: len(processes_of(folder)) >= 8, "all processes of the world run")
        return test, folder

    def test_what_ends_well_or_fails_leaves_nothing(self):
        for error in (None, KeyError):
            with self.subTest(error=error):
                try:
                    with Hosts(1) as hosts:
                        hosts["n1"].start("sleep", "1000")
                        hosts["n1"].succeed("sh", "-c", "setsid sleep 1000 >local/x 2>&1 &", cwd=hosts.folder)
                        if error:
                            raise error
                except KeyError:
                    pass
                self.assertEqual(processes_of(hosts.folder), [])
                self.assertFalse(os.path.exists(hosts.folder))

    def test_a_test_that_is_killed_leaves_nothing(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            with self.subTest(signal=number.name):
                test, folder = self.start()
                test.send_signal(number)
                await_true(lambda: not processes_of(folder) and not os.path.exists(folder), "all is gone")

    def test_what_even_the_first_process_could_not_remove_the_next_test_does(self):
        test, folder = self.start()
        first, = [pid for pid in processes_of(folder) if self.command(pid)[2:3] == ["world"]]
        os.kill(first, signal.SIGSTOP)
        test.kill()
        test.wait()
        os.kill(first, signal.SIGKILL)
        await_true(lambda: not processes_of(folder), "no process is left")
        self.assertTrue(os.path.exists(folder))
        with Hosts(1):
            self.assertFalse(os.path.exists(folder))

    @staticmethod
    def command(pid):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
                return file.read().split("\0")
        except OSError:     # it has just ended
            return []



if __name__ == "__main__":
    cluster_test.main()
