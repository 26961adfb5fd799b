# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A private world for end-to-end tests: a cgroup subtree, a hearthd, servers in instances.

A test asks for a World, starts servers in it, and waits for conditions with a
deadline. Nothing outlives the process: worlds that are still open are closed
at exit and on SIGTERM and SIGINT.
"""
import atexit
import functools
import itertools
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tools"))
from hearth_host import BUILD, SLOW, Hearthd, Subtree, UnixConnection, cgroup2_root, wait_for  # noqa: E402,F401

NAME = f"hearth-test-{os.getpid()}"
PARTS = BUILD / "e2e"
SERVER = [PARTS / "server"]
PYTHON_SERVER = ["/usr/bin/python3", REPO / "tests/e2e/parts/server.py"]

_serial = itertools.count(1)
_open = []
_base = None


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


def rows(*values):
    """Runs the test once per value, handed over after the world."""
    def mark(function):
        function.rows = [v if isinstance(v, tuple) else (v,) for v in values]
        return function
    return mark


def timeout(seconds):
    """Lets a long test run longer than the runner's default."""
    def mark(function):
        function.timeout = seconds
        return function
    return mark


@functools.lru_cache
def sees_unix():
    """Does the kernel tell of data on AF_UNIX sockets (6.3 and later)?"""
    return b"btf_trace_sk_data_ready" in pathlib.Path("/sys/kernel/btf/vmlinux").read_bytes()


def _base_subtree():
    global _base
    if _base is None:
        _base = Subtree(NAME)
    return _base


def close_all():
    global _base
    for world in list(_open):
        world.close()
    if _base is not None:
        _base.close()
        _base = None


atexit.register(close_all)


class World:
    """config: as for Hearthd; a rule for the subtree and harmless defaults are added."""

    def __init__(self, config=None, env=None, start=True):
        if (config or {}).get("policy", {}).get("source") == "unix" and not sees_unix():
            raise Skip("this kernel has no sk_data_ready tracepoint: AF_UNIX servers are not seen")
        number = next(_serial)
        _base_subtree()
        self.subtree = Subtree(f"{NAME}/w{number}")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
        self.servers = []
        self.config = {
            "agent": {"mode": "manage", "wake_priority": 10, "attach": f"/{NAME}/w{number}"},
            "policy": {"default": "always", "tiers": "warm frozen"},  # test_memory.py is about the others
            "rule test": {"match": f"{NAME}/w{number}/fn/{{function}}/{{instance}}"},
        }
        for section, keys in (config or {}).items():
            self.config.setdefault(section, {}).update(keys)
        self.subtree.make("fn")
        self.with_memory = "memory" in (config or {})
        self.agent = Hearthd(f"{NAME}-{number}", self.directory / "run", self.config, env)
        _open.append(self)
        if start:
            self.agent.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def function(self, name):
        """The function as `hearth ls --json` shows it, or None."""
        return self.agent.functions().get(name)

    def instance(self, name, instance="1"):
        """One instance of a function, found by its cgroup, or None."""
        found = self.function(name) or {"instances": []}
        ends = f"fn/{name}/{instance}"
        return next((i for i in found["instances"] if i["cgroup"].endswith(ends)), None)

    def wait_function(self, name, key, value, seconds=5.0):
        """Waits until a field of the function has a value."""
        last = {}

        def reached():
            last.update(self.function(name) or {})
            return last.get(key) == value

        wait_for(reached, seconds, lambda: f"{name}.{key} == {value}, is {last.get(key)}")

    def wait_counts(self, name, invocations, inflight, seconds=5.0):
        """Waits for both counters of the function at once."""
        last = {}

        def reached():
            last.update(self.function(name) or {})
            return (last.get("invocations"), last.get("inflight")) == (invocations, inflight)

        wait_for(reached, seconds,
                 lambda: f"{name}: invocations={invocations} inflight={inflight}, is "
                         f"{last.get('invocations')} and {last.get('inflight')}")

    def wait_tier(self, name, tier, instance="1", seconds=10.0):
        last = {}

        def reached():
            last.update(self.instance(name, instance) or {})
            return last.get("tier") == tier

        wait_for(reached, seconds, lambda: f"{name}/{instance} {tier}, is {last.get('tier')}; next step: "
                                           f"{(self.function(name) or {}).get('next')}")

    def status(self):
        return self.agent.api("GET", "/v1/status")[1]

    def wait_guard(self):
        """Nothing is frozen, not even by hand, before the guard is in place."""
        wait_for(lambda: self.status()["guard"]["alive"], 10, "guard watching")

    def drops(self):
        return {d["reason"]: d["count"] for d in self.status()["drops"]}

    def serve(self, name, instance="1", **options):
        """A Server in an instance's cgroup, after the agent registered it."""
        if self.with_memory:
            self._delegate_memory(name)
        server = Server(self, name, instance, **options)
        if self.agent.process is not None:
            wait_for(lambda: self.instance(name, instance), 5, f"{name}/{instance} registered")
        return server

    def _delegate_memory(self, name):
        """Instances of the function get the memory controller, where there is one."""
        self.subtree.make(f"fn/{name}")
        if "memory" not in (self.subtree.root / "cgroup.controllers").read_text():
            return
        for path in (_base.path, self.subtree.path, self.subtree.path / "fn", self.subtree.path / "fn" / name):
            (path / "cgroup.subtree_control").write_text("+memory")

    def close(self):
        if self not in _open:
            return
        _open.remove(self)
        try:
            self.agent.close()
        finally:
            for server in self.servers:
                server.end()
            self.subtree.close()
            shutil.rmtree(self.directory, ignore_errors=True)


class Part:
    """A child process of the tests that talks in lines."""

    def __init__(self, world, cgroup, start):
        self.world, self.cgroup = world, cgroup
        self.process = start(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode().rstrip("\n"))

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def expect(self, start, seconds=10.0):
        """The next line, which must begin with start."""
        try:
            line = self.lines.get(timeout=seconds * SLOW)
        except queue.Empty:
            raise AssertionError(f"no line {start!r} within {seconds * SLOW:g} s") from None
        assert line.startswith(start), f"line {line!r}, expected {start!r}"
        return line

    def end(self):
        """Kills it and all that it left in its cgroup."""
        self.world.subtree.kill(self.cgroup)
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


class Server(Part):
    """The test server (C by default) in the cgroup of an instance.

    It serves AF_UNIX in worlds that watch that: unwatched, it would hold the instance.
    """

    def __init__(self, world, name, instance="1", argv=None, args=(), where=None, prefix=(), **options):
        cgroup = where or f"fn/{name}/{instance}"
        self.unix = str(world.directory / f"{next(_serial)}.sock")
        watched = world.config["policy"].get("source") == "unix"
        full = [*prefix, *(argv or SERVER), *(["--unix", self.unix] if watched else []), *args]
        super().__init__(world, cgroup, lambda **pipes: world.subtree.spawn(cgroup, full, **pipes, **options))
        world.servers.append(self)
        ready = dict(word.split("=") for word in self.expect("ready").split()[1:])
        self.ports = {key: int(value) for key, value in ready.items()}

    def release(self, n=1):
        self.say(f"release {n}")

    def pids(self):
        procs = self.world.subtree.path / self.cgroup / "cgroup.procs"
        return [int(p) for p in procs.read_text().split()]


class Spawner(Part):
    """The process that executes programs in an instance on command."""

    def __init__(self, world, name, instance="1", prefix=()):
        full = [*prefix, PARTS / "spawner"]
        cgroup = f"fn/{name}/{instance}"
        super().__init__(world, cgroup, lambda **pipes: world.subtree.spawn(cgroup, full, **pipes))
        world.servers.append(self)
        self.expect("ready")
        wait_for(lambda: world.instance(name, instance), 5, f"{name}/{instance} registered")

    def command(self, line, answer):
        self.say(line)
        return self.expect(answer)
