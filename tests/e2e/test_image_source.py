# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Source image: who enters the instance begins an invocation, its exit ends it; servers count by requests."""
import json
import os
import pathlib
import signal
import socket
import subprocess

import zygote
from harness import World, rows, wait_for
from images import Manager
from test_agent import bpftool
from test_metrics import MetricsWorld
from test_spares import Node, node

HANDLERS = '''
import os, sys
os.environ["PATH"] = "/usr/bin:/bin"

def until_closed():
    sys.stdin.read()

def with_helper():
    os.fork() or os.fork()
    os.write(1, b"%d\\n" % os.getpid())
    until_closed()

def quick():
    pass

def program():
    os.execvp("cat", ["cat"])

def programs():
    os.system("true; true")
    sys.stdin.read()

def daemon():
    if os.fork() == 0:
        os.setsid()
        os.close(1)
        while True: os.read(os.open("/dev/zero", os.O_RDONLY), 0) or __import__("time").sleep(3600)

def listen_late():
    sys.stdin.readline()
    listen()

def listen():
    import socket
    s = socket.create_server(("127.0.0.1", 0))
    os.write(1, b"%d\\n" % s.getsockname()[1])
    while True:
        c, _ = s.accept()
        while c.recv(4096):
            c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
'''


class Child:
    """An instance of the image whose stdin and stdout are pipes."""

    def __init__(self, image, handler, cgroup):
        read, self.stdin = os.pipe2(os.O_CLOEXEC)
        self.stdout, write = os.pipe2(os.O_CLOEXEC)
        try:
            self.process = image.fork([f"{image.handlers}:{handler}"], cgroup=cgroup, stdio=(read, write, None))
        finally:
            os.close(read)
            os.close(write)

    def line(self):
        text = b""
        while not text.endswith(b"\n"):
            part = os.read(self.stdout, 1)
            assert part, "it ended"
            text += part
        return text.decode().strip()

    def end(self, sig=0):
        """Closes its stdin, or kills it, and returns how it ended."""
        if self.stdin < 0:
            return None
        if sig:  # before its stdin ends, at which it would exit
            signal.pidfd_send_signal(self.process.pidfd, sig)
        os.close(self.stdin)
        os.close(self.stdout)
        self.stdin = -1
        return self.process.wait()


class ImageWorld(World):
    """A World with an image, whose rule says that its instances come from there."""

    def __init__(self, config=None, **options):
        rule = {"rule test": {"source": "image"}}
        super().__init__({**rule, **(config or {})}, **options)
        (self.directory / "hearth_test_handlers.py").write_text(HANDLERS)
        self.image = zygote.Image(self.directory, modules=["hearth_test_handlers"], cgroup=self.subtree.make("image"))
        self.image.handlers = "hearth_test_handlers"
        self.image.ready()
        self.children = []

    def cgroup(self, function, instance="1", known=True):
        path = self.subtree.make(f"fn/{function}/{instance}")
        if known:
            wait_for(lambda: self.instance(function, instance), 5, f"{function}/{instance} registered")
        return path

    def fork(self, handler, cgroup):
        self.children.append(Child(self.image, handler, cgroup))
        return self.children[-1]

    def end(self, sig=0):
        ended = [child.end(sig) for child in self.children if child.stdin >= 0]
        self.children = []
        return ended

    def close(self):
        self.end(signal.SIGKILL)
        self.image.end()
        super().close()


def open_world():
    return ImageWorld()


def test_each_fork_is_one_invocation_from_fork_to_exit(world):
    cgroup = world.cgroup("many")
    for n in range(1, 6):
        world.fork("until_closed", cgroup)
        world.wait_counts("many", n, n)
    assert world.end() == [0] * 5
    world.wait_counts("many", 5, 0)
    found = world.function("many")
    assert found["cold_starts"] == 0 and world.instance("many")["sources"] == "request+image", found


def test_killed_child_ends_its_invocation(world):
    cgroup = world.cgroup("killed")
    world.fork("until_closed", cgroup)
    world.fork("until_closed", cgroup)
    world.wait_counts("killed", 2, 2)
    assert world.end(signal.SIGKILL) == [-signal.SIGKILL] * 2
    world.wait_counts("killed", 2, 0)


# the program that a fork becomes, and those that it starts, are part of it
@rows("program", "programs")
def test_programs_in_a_fork_are_part_of_it(world, handler):
    world.fork(handler, world.cgroup(handler))
    world.wait_counts(handler, 1, 1)
    world.end()
    world.wait_counts(handler, 1, 0)


def test_claimed_spare_is_counted_once(world):
    spare = world.fork("until_closed", world.subtree.make("spare"))
    cgroup = world.cgroup("spare")
    (cgroup / "cgroup.procs").write_text(str(spare.process.pid))
    world.wait_counts("spare", 1, 1)
    (cgroup / "cgroup.procs").write_text(str(spare.process.pid))
    assert spare.end() == 0
    world.wait_counts("spare", 1, 0)
    assert world.function("spare")["cold_starts"] == 0


@rows("known", "new")
def test_what_a_spare_has_started_is_part_of_it(known):
    """In whatever order they are moved: the spare first, then those below it."""
    with ImageWorld() as world:
        spare = world.fork("with_helper", world.subtree.make("spare"))
        below = {int(spare.line()) for _ in range(3)} - {spare.process.pid}
        assert len(below) == 2
        if known == "new":
            world.agent.stop()
        procs = world.cgroup("spare", known=known == "known") / "cgroup.procs"
        for pid in [spare.process.pid, *below]:
            procs.write_text(str(pid))
        if known == "new":
            world.agent.start()
        world.wait_counts("spare", 1, 1)
        assert spare.end() == 0
        world.wait_counts("spare", 1, 0)


def test_spare_that_leaves_again_has_ended(world):
    spare = world.fork("until_closed", world.cgroup("left"))
    world.wait_counts("left", 1, 1)
    (world.subtree.make("spare") / "cgroup.procs").write_text(str(spare.process.pid))
    world.wait_counts("left", 1, 0)
    spare.end()


def test_cold_start_is_an_invocation_too(world):
    world.cgroup("cold")
    with world.subtree.spawn("fn/cold/1", ["cat"], stdin=subprocess.PIPE) as process:
        world.wait_counts("cold", 1, 1)
        process.stdin.close()
    world.wait_counts("cold", 1, 0)


def test_sixty_at_once(world):
    """In cgroups of their own, made a moment before and removed a moment after, as a manager does."""
    paths = [world.cgroup(f"at-once-{i % 3}", str(i), known=False) for i in range(60)]
    for path in paths:
        world.fork("quick", path)
    assert world.end() == [0] * 60
    for path in paths:
        path.rmdir()
    for i in range(3):
        world.wait_counts(f"at-once-{i}", 20, 0, 20)


def test_what_came_and_went_while_the_agent_was_away():
    with ImageWorld() as world:
        first = world.fork("until_closed", world.cgroup("away"))
        first.end()
        world.wait_counts("away", 1, 0)
        world.agent.stop()
        for i in range(2, 7):
            path = world.cgroup("away", str(i), known=False)
            world.fork("quick", path).end()
            path.rmdir()
        world.fork("quick", world.cgroup("away", "8", known=False)).end()
        running = [world.fork("until_closed", world.cgroup("away", str(i), known=False)) for i in (9, 9, 10)]
        running.pop().end()
        world.agent.start()
        world.wait_counts("away", 1 + 5 + 1 + 3, 2)
        for child in running:
            child.end()
        world.wait_counts("away", 10, 0)


@rows("TERM", "KILL")
def test_agent_restart_in_the_middle(how):
    with ImageWorld() as world:
        cgroup = world.cgroup("restart")
        running = [world.fork("until_closed", cgroup) for _ in range(3)]
        world.wait_counts("restart", 3, 3)
        world.agent.stop(signal.SIGKILL if how == "KILL" else signal.SIGTERM)
        running.pop().end()
        world.agent.start()
        world.wait_counts("restart", 3, 2)
        world.end()
        world.wait_counts("restart", 3, 0)


def test_fork_that_was_there_before_a_reload_names_its_cgroup_is_adopted():
    with ImageWorld() as world:
        world.agent.process.send_signal(signal.SIGSTOP)
        child = world.fork("programs", world.subtree.make("other/renamed/1"))
        world.agent.process.send_signal(signal.SIGCONT)
        assert world.function("renamed") is None
        match = world.config["rule test"]["match"].replace("/fn/", "/other/")
        world.agent.write_config({**world.config, "rule more": {"match": match, "source": "image"}})
        world.agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: world.function("renamed"), 5, "named by the reload")
        world.wait_counts("renamed", 1, 1)
        child.end()
        world.wait_counts("renamed", 1, 0)


def test_fork_from_before_the_agent_is_adopted():
    with ImageWorld(start=False) as world:
        cgroup = world.cgroup("before", known=False)
        child = world.fork("programs", cgroup)
        world.agent.start()
        world.wait_counts("before", 1, 1)
        child.end()
        world.wait_counts("before", 1, 0)


def test_lost_exit_is_recounted():
    with ImageWorld() as world:
        child = world.fork("until_closed", world.cgroup("lost"))
        world.wait_counts("lost", 1, 1)
        world.agent.stop()
        (world.agent.pins / "links/sched_process_exit").unlink()
        child.end()
        world.agent.start()
        world.wait_counts("lost", 1, 0, 30)


def early_cgroups(world):
    dump = subprocess.check_output([bpftool(), "-j", "map", "dump", "pinned", world.agent.pins / "early"])
    return {sum(int(byte, 16) << 8 * i for i, byte in enumerate(entry["key"])) for entry in json.loads(dump)}


def test_cgroups_that_went_unseen_are_forgotten():
    with ImageWorld() as world:
        cgroup = world.cgroup("unseen")
        kept = world.cgroup("kept")
        world.wait_counts("unseen", 0, 0)
        inodes = [os.stat(path).st_ino for path in (cgroup, kept)]
        assert early_cgroups(world) >= set(inodes)
        world.agent.stop()
        (world.agent.pins / "links/cgroup_rmdir").unlink()
        os.rmdir(cgroup)
        world.agent.start()
        world.wait_counts("kept", 0, 0)
        assert early_cgroups(world) & set(inodes) == set(inodes[1:])


def test_server_is_counted_by_its_requests(world):
    server = world.fork("listen", world.cgroup("server"))
    with socket.create_connection(("127.0.0.1", int(server.line())), timeout=zygote.PATIENCE) as client:
        world.wait_counts("server", 0, 0)
        for n in range(1, 4):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += client.recv(4096)
            world.wait_counts("server", n, 0)
    probe = world.subtree.spawn("fn/server/1", ["/bin/true"])
    assert probe.wait(10) == 0
    world.wait_counts("server", 3, 0)
    wait_for(lambda: world.function("server")["it_count"] == 2, 5, "the idle times between its requests, and no other")


def test_server_that_listens_while_it_is_registered_is_no_invocation(world):
    servers = [f"soon{i}" for i in range(30)]
    for name in servers:
        world.fork("listen", world.cgroup(name, known=False))
    for name in servers:
        world.wait_counts(name, 0, 0, 20)
    world.end(signal.SIGKILL)


class ImageMetricsWorld(ImageWorld, MetricsWorld):
    pass


def test_counter_of_metrics_does_not_go_back_when_a_begin_is_taken_back():
    with ImageMetricsWorld() as world:
        cgroup = world.cgroup("late")
        world.fork("until_closed", cgroup)
        world.wait_counts("late", 1, 1)
        world.end()
        world.wait_counts("late", 1, 0)
        server = world.fork("listen_late", cgroup)
        world.wait_counts("late", 2, 1)
        counters = "hearth_function_invocations_total", "hearth_invocations_total"
        for counter in counters:
            world.wait_sample(2, counter)
        world.wait_sample(1, "hearth_function_idle_seconds_count")
        idle_s = world.sample("hearth_function_idle_seconds_sum")
        os.write(server.stdin, b"\n")
        port = int(server.line())
        world.wait_counts("late", 1, 0)
        wait_for(lambda: world.function("late")["it_count"] == 0, 5, "its idle time unlearned")
        world.wait_sample(0, "hearth_inflight")
        assert [world.sample(counter) for counter in counters] == [2, 2]
        assert world.sample("hearth_function_idle_seconds_count") == 1
        assert world.sample("hearth_function_idle_seconds_bucket", le="+Inf") == 1
        assert world.sample("hearth_function_idle_seconds_sum") == idle_s > 0
        with socket.create_connection(("127.0.0.1", port), timeout=zygote.PATIENCE) as client:
            for n in range(2, 4):
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(4096)
                world.wait_counts("late", n, 0)
        for counter in counters:
            world.wait_sample(3, counter)
        world.wait_sample(2, "hearth_function_idle_seconds_count")


def test_never_frozen_while_it_runs_and_woken_by_a_fork():
    with ImageWorld({"policy": {"default": "fixed:1s", "startup_grace": "0s", "debounce": "100ms", "enter_hold": "0s"}}) as w:
        w.wait_guard()
        cgroup = w.cgroup("cold-room")
        w.fork("daemon", cgroup).end()
        w.wait_counts("cold-room", 1, 0)
        w.wait_tier("cold-room", "frozen", seconds=30)
        child = w.fork("until_closed", cgroup)
        w.wait_counts("cold-room", 2, 1)
        w.wait_tier("cold-room", "running")
        assert w.agent.cli("freeze", "cold-room", check=False).returncode != 0
        assert child.end() == 0
        w.wait_counts("cold-room", 2, 0)
        assert w.function("cold-room")["lukewarm_starts"] == 1
        w.wait_tier("cold-room", "frozen", seconds=30)
        w.subtree.kill("fn/cold-room/1")


def test_others_that_are_born_into_a_cgroup_count_by_their_programs():
    """crun and service managers do that; without source = image nothing changes for them."""
    with ImageWorld({"rule test": {}}) as world:
        child = world.fork("until_closed", world.cgroup("other"))
        wait_for(lambda: (pathlib.Path(world.subtree.path) / "fn/other/1/cgroup.procs").read_text(), 5)
        world.wait_counts("other", 0, 0)
        child.end()
        world.wait_counts("other", 0, 0)


def test_image_manager_and_hearthd_agree():
    with Manager({"py": {"freeze_after": "50ms", "policy": "always"}}) as m:
        rule = {"match": f"{m.subtree.name}/*/fn/{{function}}/{{instance}}", "source": "image"}
        with World({"agent": {"attach": "/"}, "rule images": rule}) as world:
            m.ask(do="build", image="py")
            calls = [m.call(do="run", image="py", function=f"f{i % 7}", argv=[str(m.directory / "seven.py")])
                     for i in range(20)]
            assert [c.answer()["from"] for c in calls] == ["image"] * 20
            assert [c.answer() for c in calls] == [{"exit": 7}] * 20

            def counted():
                found = [f for name, f in world.agent.functions().items() if name.startswith("f")]
                return sum(f["invocations"] for f in found), sum(f["inflight"] for f in found)

            wait_for(lambda: counted() == (20, 0), 20, lambda: f"20 invocations, is {counted()}")
            assert all(f["cold_starts"] == 0 for f in world.agent.functions().values())
            m.ask(do="evict", image="py")
            assert m.run("seven.py", function="cold").end() == {"exit": 7}
            world.wait_counts("cold", 1, 0)
            assert world.function("cold")["cold_starts"] == 1


def counts_runs(m, image, handler, status, froms, n=6):
    """Runs n instances one after the other: each is an invocation, wherever it came from."""
    rule = {"match": f"{m.subtree.name}/*/fn/{{function}}/{{instance}}", "source": "image"}
    with World({"agent": {"attach": "/"}, "rule images": rule}) as world:
        seen = []
        for i in range(n):
            x = m.run(handler, image=image, function="one")
            seen.append(x.started["from"])
            assert x.end() == status
            world.wait_counts("one", i + 1, 0, 20)
        assert froms <= set(seen), seen
        assert world.function("one")["cold_starts"] == seen.count("cold"), seen


def test_spares_of_the_image_manager_are_counted_once():
    with Manager({"py": {"spares": 2, "policy": "always", "freeze_after": "1h"}}) as m:
        m.ask(do="build", image="py")
        wait_for(lambda: m.show()["spares"] == 2, 20, "two spares")
        counts_runs(m, "py", "seven.py", {"exit": 7}, {"spare"})


def test_spare_of_a_runtime_that_cannot_fork_is_counted_once_with_what_it_has_started():
    with Node(node("helper")) as m:
        m.ask(do="build", image="js")
        wait_for(lambda: m.show("js")["spares"] == 1, 20, "a spare")
        counts_runs(m, "js", "asks.js", {"exit": 0}, {"spare"}, 3)
