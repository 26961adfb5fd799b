# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The exec matrix: an executed program per invocation, and what is no invocation."""
import socket

from client import Client
from harness import BUILD, Spawner, World, rows, wait_for


def open_world():
    return World({"function exec-*": {"source": "exec"}})


class ExecCase:
    """A spawner that listened, so that what it executes from now on counts."""

    def __init__(self, world, name, listen=True):
        self.world, self.name = world, f"exec-{name}"
        self.spawner = Spawner(world, self.name)
        if listen:
            self.do("listen", "listening")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.spawner.end()
        self.world.servers.remove(self.spawner)
        self.world.subtree.remove(f"fn/{self.name}")

    def do(self, line, answer="done"):
        return self.spawner.command(line, answer)

    def counts(self, begins, inflight):
        self.world.wait_counts(self.name, begins, inflight)

    def done(self, begins):
        """Nothing in flight after so many begins, and none comes later."""
        self.counts(begins, 0)
        self.do("exec")
        self.counts(begins + 1, 0)

    def pids(self):
        return (self.world.subtree.path / self.spawner.cgroup / "cgroup.procs").read_text().split()


def test_simple(world):
    with ExecCase(world, "simple") as c:
        for _ in range(5):
            c.do("exec")
        c.done(5)


def test_concurrent(world):
    with ExecCase(world, "concurrent") as c:
        c.do("hold 100", "started")
        c.counts(100, 100)
        c.do("release")
        c.done(100)


def test_slow(world):
    with ExecCase(world, "slow") as c:
        c.do("hold 1", "started")
        c.counts(1, 1)
        c.do("release")
        c.done(1)


# one program that starts others, or replaces itself, is one invocation
@rows(("children", "exec 3<&0; true & true & cat <&3 & wait"), ("pipeline", "cat | cat | cat; :"),
      ("chain", "exec sh -c 'exec sh -c \"exec cat\"'"))
def test_shell(world, name, script):
    with ExecCase(world, name) as c:
        c.do(f"shell {script}", "started")
        c.counts(1, 1)
        c.do("release")
        c.done(1)


@rows("leader-exits", "exec-from-thread", "threads")
def test_handler(world, mode):
    with ExecCase(world, mode) as c:
        c.do(f"handler {mode}", "started")
        if mode == "leader-exits":
            wait_for(lambda: any(state(pid) == "Z" for pid in c.pids()), 5, "leader exited")
        c.counts(1, 1)
        c.do("release")
        c.done(1)


def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def test_daemon_that_outlives_its_invocation(world):
    with ExecCase(world, "daemon") as c:
        c.do("handler daemon", "started")
        c.counts(1, 0)
        assert len(c.pids()) >= 2, "the daemon should be alive"
        c.do("release")
        c.done(1)
        # the process between them may also end after the root
        wait_for(lambda: world.instance(c.name)["stragglers"] >= 1, 5, "the daemon is counted as a straggler")


def test_killed_by_a_signal(world):
    with ExecCase(world, "killed") as c:
        c.do("hold 3", "started")
        c.counts(3, 3)
        c.do("kill")
        c.done(3)


def test_program_that_does_not_exist(world):
    with ExecCase(world, "missing") as c:
        c.do("missing")
        c.counts(0, 0)
        # here the shell is a program that was executed: its failure comes later
        c.do("shell exec /nonexistent/program 2>/dev/null", "started")
        c.do("release")
        c.done(1)


def test_everything_before_the_first_listen_is_the_entry_point(world):
    """tini, npm start, shell wrappers: they fork and execute the server."""
    wrapper = ["/bin/sh", "-c", 'true; /bin/echo >/dev/null; "$@"; :', "sh"]
    server = world.serve("wrapped", prefix=wrapper)
    with Client(server, "tcp4") as client:
        assert client.get()[0] == 200
        world.wait_counts("wrapped", 1, 0)
        assert client.get()[0] == 200
    world.wait_counts("wrapped", 2, 0)
    server.end()
    world.subtree.remove("fn/wrapped")


def test_programs_entering_from_outside_are_no_invocations(world):
    """docker exec, exec probes: trees that enter later, with all their children."""
    with ExecCase(world, "entered") as c:
        for _ in range(3):
            probe = world.subtree.spawn(c.spawner.cgroup, ["/bin/sh", "-c", "true; /bin/echo | cat >/dev/null; true"])
            assert probe.wait(10) == 0
        c.counts(0, 0)
        c.done(0)


def test_programs_entering_while_an_invocation_runs(world):
    with ExecCase(world, "entered-busy") as c:
        c.do("hold 1", "started")
        c.counts(1, 1)
        probe = world.subtree.spawn(c.spawner.cgroup, ["/bin/sh", "-c", "true; true"])
        assert probe.wait(10) == 0
        c.counts(1, 1)
        c.do("release")
        c.done(1)


@rows("tcp4", "tcp6")
def test_programs_inside_a_live_request_are_part_of_it(world, transport):
    name = f"inside-{transport}"
    server = world.serve(name)
    with Client(server, transport) as client:
        for n in range(3):
            client.request("/exec?n=5")
            server.expect("held executed")
            world.wait_counts(name, n + 1, 1)
            server.release()
            assert client.response()[0] == 200
            world.wait_counts(name, n + 1, 0)
    server.end()


@rows("request", "exec")
def test_watchdog_counts_one_per_request(world, source):
    """Requests and the programs they execute are the same invocations, seen either way."""
    name = {"exec": "exec-watchdog", "request": "watchdog"}[source]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    watchdog = world.subtree.spawn(f"fn/{name}/1", [BUILD / "demo/watchdog", port, "tr", "a-z", "A-Z"])
    try:
        wait_for(lambda: world.instance(name), 5, f"{name} registered")
        with wait_for(lambda: connected(port), 5, "watchdog listens") as sock:
            for n in range(20):
                sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")
                answer = b""
                while not answer.endswith(b"HELLO"):
                    answer += sock.recv(4096)
                world.wait_counts(name, n + 1, 0)
    finally:
        watchdog.kill()
        watchdog.wait()


def connected(port):
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=10)
    except ConnectionRefusedError:
        return None


def test_mark_is_not_inherited_by_a_recycled_pid(world):
    """Many short programs: every begin has its end, whatever pids they get."""
    with ExecCase(world, "many") as c:
        for n in range(200):
            c.do("exec")
        c.done(200)


def test_agent_restart_in_mid_invocation():
    with World({"function exec-*": {"source": "exec"}}) as world, ExecCase(world, "restart") as c:
        c.do("hold 2", "started")
        c.counts(2, 2)
        world.agent.stop()
        world.agent.start()
        wait_for(lambda: world.instance(c.name), 5, "instance adopted")
        c.counts(2, 2)
        c.do("release")
        c.done(2)


def test_invocation_that_ends_while_the_agent_is_away():
    with World({"function exec-*": {"source": "exec"}}) as world, ExecCase(world, "away") as c:
        c.do("hold 2", "started")
        c.counts(2, 2)
        world.agent.stop()
        c.do("release")
        world.agent.start()
        wait_for(lambda: world.instance(c.name), 5, "instance adopted")
        c.done(2)
