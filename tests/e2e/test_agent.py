# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What hearthd promises about its host: what it keeps, what it never touches, how it is steered."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import zlib

from client import Client, Database, datagram
from harness import BUILD, Server, Skip, World, cgroup2_root, rows, timeout, wait_for
from watch import WriteWatch

QUICK = {"default": "fixed:100ms", "debounce": "50ms", "idle_grace": "1s", "startup_grace": "0s",
         "enter_hold": "0s", "syn_hold": "100ms"}


def bpftool():
    return shutil.which("bpftool") or "/usr/sbin/bpftool"


def quick(policy=(), **sections):
    return {"policy": dict(QUICK, **dict(policy)), **sections}


def open_world():
    return World(quick())


def get(server, transport="tcp4", path="/", **options):
    with Client(server, transport) as client:
        return client.get(path, **options)


def frozen_server(world, name, transport="tcp4", **options):
    server = world.serve(name, **options)
    assert get(server, transport)[0] == 200
    world.wait_tier(name, "frozen")
    return server


def hold(world, name):
    return (world.instance(name) or {}).get("hold") or ""


def wait_hold(world, name, text, seconds=10):
    wait_for(lambda: text in hold(world, name), seconds, lambda: f"{name} held by {text!r}, is {hold(world, name)!r}")


# ---- freeze and wake


@rows("tcp4", "tcp6")
def test_request_to_a_frozen_instance_is_answered(world, transport):
    server = frozen_server(world, f"wake-{transport}")
    assert world.subtree.frozen(server.cgroup)
    with Client(server, transport) as client:
        for _ in range(3):
            assert client.get() == (200, b"hello\n")
            world.wait_tier(f"wake-{transport}", "frozen")
    function = world.function(f"wake-{transport}")
    assert function["invocations"] == 4
    assert function["wakes"] >= 3 and function["freezes"] >= 4
    server.end()


def test_nothing_is_frozen_in_mid_request(world):
    server = world.serve("mid")
    with Client(server, "tcp4") as client:
        assert client.get()[0] == 200
        client.request("/?hold")
        server.expect("held")
        begun = time.monotonic()
        # ten times the window: plenty of chances to do it wrong
        while time.monotonic() - begun < 1:
            assert not world.subtree.frozen(server.cgroup)
        server.release()
        assert client.response()[0] == 200
    world.wait_tier("mid", "frozen")
    server.end()


def test_nothing_is_frozen_before_one_completed_invocation(world):
    server = world.serve("unproven")
    wait_hold(world, "unproven", "invocation")
    assert not world.subtree.frozen(server.cgroup)
    assert get(server)[0] == 200
    world.wait_tier("unproven", "frozen")
    server.end()


def test_startup_grace():
    with World(quick({"startup_grace": "3s"})) as world:
        created = time.monotonic()
        server = frozen_server(world, "young")
        assert time.monotonic() - created >= 3
        server.end()


def test_cpu_burning_instance_is_not_frozen(world):
    server = world.serve("burner")
    assert get(server, path="/burn")[0] == 200
    wait_hold(world, "burner", "CPU")
    begun = time.monotonic()
    while time.monotonic() - begun < 1:
        assert not world.subtree.frozen(server.cgroup)
    assert get(server, path="/calm")[0] == 200
    world.wait_tier("burner", "frozen")
    server.end()


def test_work_that_is_starved_of_cpu_is_not_frozen():
    if not pathlib.Path("/proc/pressure/cpu").exists():
        raise Skip("this kernel does not tell who waits for a CPU")
    cpu = str(min(os.sched_getaffinity(0)))
    with World(quick({"default": "fixed:100ms"})) as world:
        server = world.serve("starved", prefix=["/usr/bin/taskset", "-c", cpu, "/usr/bin/chrt", "--idle", "0"])
        assert get(server, path="/burn")[0] == 200
        wait_hold(world, "starved", "CPU")
        # in sessions of their own, for each session may get an equal share (autogroup)
        hogs = [subprocess.Popen(["/usr/bin/taskset", "-c", cpu, "/bin/sh", "-c", "while :; do :; done"],
                                 start_new_session=True) for _ in range(40)]
        try:
            begun = time.monotonic()
            while time.monotonic() - begun < 6:  # several looks at it
                assert not world.subtree.frozen(server.cgroup)
                time.sleep(0.02)
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
        assert get(server, path="/calm")[0] == 200
        world.wait_tier("starved", "frozen", seconds=20)


@rows(("tls", b"\x16\x03\x01\x00\x04data"), ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      ("websocket", b"GET /websocket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
def test_stream_is_not_frozen_within_the_idle_grace(world, name, opening):
    server = world.serve(name)
    assert get(server)[0] == 200
    with Client(server, "tcp4") as client:
        client.send(opening)
        client.read(1)
        begun = time.monotonic()
        while time.monotonic() - begun < 2.5:
            client.send(b"ping")
            client.read_until(b"ping")
            assert not world.subtree.frozen(server.cgroup)
        world.wait_tier(name, "frozen")
        client.send(b"pong")
        client.read_until(b"pong")
    server.end()


def test_server_sent_events_hold_until_the_stream_ends(world):
    server = world.serve("events")
    with Client(server, "tcp4") as client:
        client.request("/events?events=3")
        for _ in range(3):
            server.expect("held event")
            assert not world.subtree.frozen(server.cgroup)
            server.release()
        assert client.response()[1].count(b"data:") == 3
    world.wait_counts("events", 1, 0)
    world.wait_tier("events", "frozen")
    server.end()


@rows(("udp", ["--udp"], "datagram"), ("unix", ["--unix", "/tmp/{}.sock"], "AF_UNIX"))
def test_socket_that_cannot_be_attributed_holds(world, name, args, text):
    path = f"/tmp/{world.subtree.path.parent.name}.sock"
    server = world.serve(f"holder-{name}", args=[a.replace("/tmp/{}.sock", path) for a in args])
    try:
        assert get(server)[0] == 200
        wait_hold(world, f"holder-{name}", text)
        assert not world.subtree.frozen(server.cgroup)
    finally:
        server.end()
        pathlib.Path(path).unlink(missing_ok=True)


def test_outbound_connection_holds(world):
    with Database() as database:
        server = world.serve("consumer")
        assert get(server, path=f"/subscribe?port={database.port}")[0] == 200
        database.accept()
        wait_hold(world, "consumer", "connection open to")
        database.connection.close()
        database.connection = None
        world.wait_tier("consumer", "frozen", seconds=30)
        server.end()


@rows("tcp4", "tcp6", "unix")
def test_first_data_on_a_connection_older_than_the_freeze(transport):
    """Accepted and read by a blocked server long before the first byte comes."""
    with World(quick({"source": "unix"} if transport == "unix" else ())) as world:
        server = frozen_server(world, "old", transport=transport)
        with Client(server, transport) as client:
            world.wait_tier("old", "warm")
            world.wait_tier("old", "frozen")
            assert client.get() == (200, b"hello\n")
        world.wait_counts("old", 2, 0)


def test_datagram_wakes():
    with World(quick({"udp": "ignore"})) as world:
        server = frozen_server(world, "udp", args=["--udp"])
        assert datagram(server, b"ping") == b"ping"
        assert world.function("udp")["invocations"] == 1
        server.end()


def test_program_that_enters_a_frozen_instance_runs(world):
    """docker exec, kubectl exec, exec probes: born frozen if nobody thawed."""
    server = frozen_server(world, "entered")
    for _ in range(3):
        assert world.subtree.spawn(server.cgroup, ["/bin/true"]).wait(10) == 0
        world.wait_tier("entered", "frozen", seconds=20)
    assert world.function("entered")["invocations"] == 1
    server.end()


# ---- what is not ours


def test_foreign_freeze_is_left_alone(world):
    server = world.serve("foreign")
    assert get(server)[0] == 200
    world.agent.cli("pin", "foreign")
    wait_for(lambda: not world.subtree.frozen(server.cgroup), 5, "thawed by the pin")
    world.subtree.freeze(server.cgroup, 1)
    wait_for(lambda: world.subtree.frozen(server.cgroup), 5, "frozen by somebody else")
    world.wait_tier("foreign", "foreign")
    with Client(server, "tcp4") as client:
        client.request()
        world.wait_counts("foreign", 2, 1)
        assert world.subtree.frozen(server.cgroup), "hearthd thawed a freeze that is not its own"
        world.agent.cli("thaw", "foreign", check=False)
        assert world.subtree.frozen(server.cgroup), "hearthd thawed a freeze that is not its own"
        world.subtree.freeze(server.cgroup, 0)
        assert client.response() == (200, b"hello\n")
    world.wait_counts("foreign", 2, 0)
    world.wait_tier("foreign", "warm")
    world.agent.cli("unpin", "foreign")
    world.wait_tier("foreign", "frozen")
    server.end()


def test_freeze_of_a_frozen_instance_by_someone_else_changes_hands(world):
    server = frozen_server(world, "taken")
    world.subtree.freeze(server.cgroup, 1)
    world.wait_tier("taken", "foreign")
    world.subtree.freeze(server.cgroup, 0)
    assert get(server)[0] == 200
    world.wait_tier("taken", "frozen")
    server.end()


def test_freeze_after_a_foreign_thaw_is_our_own_again(world):
    """docker unpause on our freeze: respected, and the next freeze still wakes."""
    server = frozen_server(world, "unpaused")
    for _ in range(3):
        world.subtree.freeze(server.cgroup, 0)
        world.wait_tier("unpaused", "warm")
        world.wait_tier("unpaused", "frozen")
        assert get(server)[0] == 200
        world.wait_tier("unpaused", "frozen")
    server.end()


def test_instance_inside_a_frozen_one_runs():
    with World(quick(**{"rule inner": {"match": "*/*/fn/outer/1/{function}"}})) as world:
        outer = frozen_server(world, "outer")
        inner = Server(world, "inner", where="fn/outer/1/inner")
        wait_for(lambda: world.function("inner"), 5, "the inner instance is found")

        def counted():
            before = world.function("inner")["invocations"]
            assert get(inner)[0] == 200
            try:
                world.wait_function("inner", "invocations", before + 1, seconds=2)
            except AssertionError:
                return False
            return True

        wait_for(counted, 10, "its socket, which was the outer's when it was made, is its own")
        begins = world.function("outer")["invocations"]
        assert counted()
        assert world.function("outer")["invocations"] == begins, "the inner instance's request counted for the outer"
        assert "inside" in hold(world, "outer") or world.instance("outer")["tier"] != "frozen"
        inner.end()
        outer.end()


def test_holder_of_a_lock_that_others_wait_for_is_thawed(world):
    with tempfile.NamedTemporaryFile() as shared:
        server = frozen_server(world, "locker", prefix=["flock", shared.name])
        with subprocess.Popen(["flock", shared.name, "true"]) as waiter:
            wait_for(lambda: not world.subtree.frozen(server.cgroup), 20, "thawed for the waiter")
            wait_for(lambda: world.function("locker")["next"]["reason"].endswith("file lock it holds"), 5, "the reason")
            waiter.kill()
        world.wait_tier("locker", "frozen")


def test_threaded_cgroup_inside_an_instance_does_not_hold_it(world):
    server = world.serve("threads")
    inner = world.subtree.make("fn/threads/1/pool")
    (inner / "cgroup.type").write_text("threaded")
    assert get(server)[0] == 200
    try:
        world.wait_tier("threads", "frozen")
        assert get(server)[0] == 200
    finally:
        inner.rmdir()
    server.end()


def test_wrapper_of_an_activated_server_is_not_an_invocation():
    """Its listener was made elsewhere, so it says nothing of whether the instance is up."""
    with World(quick({"unattributed": "ignore"})) as world, \
            socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        server = world.serve("activated", args=["--fd", fd], pass_fds=[fd],
                             prefix=["sh", "-c", '"$@" & wait', "sh"])
        function = world.function("activated")
        assert (function["invocations"], function["inflight"]) == (0, 0)
        server.end()


def test_excluded_function_is_not_frozen_by_hand():
    with World(quick(**{"function kept": {"exclude": "yes"}})) as world:
        server = world.serve("kept")
        assert get(server)[0] == 200
        assert world.agent.cli("freeze", "kept", check=False).returncode != 0
        assert not world.subtree.frozen(server.cgroup)


def bins(world, name):
    shown = json.loads(world.agent.cli("show", name, "--json").stdout)
    return shown["histogram"]["bin_s"], shown["histogram"]["bins"]


def test_restart_and_policy_changes_keep_the_bins_of_a_policy_set_by_hand():
    with World(quick()) as world:
        server = world.serve("fine")
        world.agent.cli("policy", "fine", "hybrid:4m,bin=1s")
        for _ in range(4):
            assert get(server)[0] == 200
        wait_for(lambda: sum(bins(world, "fine")[1]) == 3, 5, "three idle times learned")
        before = bins(world, "fine")
        assert before[0] == 1
        world.agent.cli("policy", "fine", "fixed:1s")
        world.agent.cli("policy", "fine", "hybrid:4m,bin=1s")
        assert bins(world, "fine") == before
        world.agent.stop()
        world.agent.start()
        assert bins(world, "fine") == before
        server.end()


def test_foreign_freeze_outlives_the_agent():
    with World(quick()) as world:
        ours, theirs = frozen_server(world, "ours"), world.serve("theirs")
        world.agent.cli("pin", "theirs")
        world.subtree.freeze(theirs.cgroup, 1)
        wait_for(lambda: world.subtree.frozen(theirs.cgroup), 5, "frozen by somebody else")
        world.wait_tier("theirs", "foreign")
        world.agent.stop()
        assert world.subtree.frozen(theirs.cgroup)
        assert not world.subtree.frozen(ours.cgroup)
        world.subtree.freeze(theirs.cgroup, 0)


def test_freezes_of_our_own_are_never_taken_for_foreign(world):
    servers = [world.serve("own", str(i)) for i in range(4)]
    for _ in range(10):
        for server in servers:
            assert get(server)[0] == 200
        world.agent.cli("freeze", "own", check=False)
    wait_for(lambda: all(i["tier"] == "frozen" for i in world.function("own")["instances"]), 20, "all frozen")
    for server in servers:
        assert get(server)[0] == 200
        server.end()


def test_cgroups_outside_the_rules_are_never_touched():
    with World(quick()) as world:
        elsewhere = Server(world, "x", where="elsewhere/x/1")
        mine = [world.subtree.path, world.subtree.path / "fn", world.subtree.path / elsewhere.cgroup]
        outside = [pathlib.Path(d) for d, _, _ in os.walk(cgroup2_root())
                   if not d.startswith(str(world.subtree.path.parent)) and "hearth-" not in d]
        with WriteWatch(mine + outside) as watch:
            server = frozen_server(world, "fn")
            for _ in range(3):
                assert get(server)[0] == 200 and get(elsewhere)[0] == 200
                world.wait_tier("fn", "frozen")
            world.agent.stop(signal.SIGKILL)
            wait_for(lambda: not world.subtree.frozen(server.cgroup), 5, "thawed by the guard")
            world.agent.start()
            world.agent.stop()
            assert not watch.written()
            # and the watch sees what it should
            world.subtree.freeze(elsewhere.cgroup, 0)
            assert watch.written()


def test_observe_mode_writes_nothing():
    with World(quick(agent={"mode": "observe"})) as world:
        server = world.serve("fn")
        with WriteWatch([pathlib.Path(d) for d, _, _ in os.walk(world.subtree.path)]) as watch:
            assert get(server)[0] == 200
            wait_for(lambda: "would" in world.function("fn")["next"]["action"], 10,
                     lambda: f"a freeze that would be done, is {world.function('fn')['next']}")
            assert world.agent.cli("freeze", "fn", check=False).returncode != 0
            assert world.function("fn")["freezes"] == 0
            world.agent.stop()
            assert not watch.written()


# ---- what it keeps


def learn(server, n=6):
    for _ in range(n):
        assert get(server)[0] == 200
        time.sleep(0.02)  # an idle time to be learned, of any length


@rows("SIGTERM", "SIGKILL")
def test_restart_keeps_what_was_learned(name):
    with World({"policy": {"default": "hybrid:240s,bin=1s"}}) as world:
        server = world.serve("fn")
        learn(server)
        wait_for(lambda: world.function("fn")["it_count"] == 5, 5, "five idle times learned")
        before = world.function("fn")
        world.agent.stop(getattr(signal, name))
        learn(server, 2)  # counting goes on without an agent
        world.agent.start()
        wait_for(lambda: world.instance("fn"), 5, "instance adopted")
        world.wait_counts("fn", before["invocations"] + 2, 0)
        assert world.function("fn")["it_count"] == before["it_count"] + 2
        learn(server, 1)
        world.wait_counts("fn", before["invocations"] + 3, 0)


def test_history_survives_without_the_pinned_maps():
    with World({"policy": {"default": "hybrid:240s,bin=1s"}}) as world:
        server = world.serve("fn")
        learn(server)
        wait_for(lambda: world.function("fn")["it_count"] == 5, 5, "five idle times learned")
        world.agent.stop()
        subprocess.run(["rm", "-r", world.agent.pins], check=True)
        world.agent.start()
        wait_for(lambda: world.instance("fn"), 5, "instance registered")
        assert world.function("fn")["it_count"] == 5


def test_another_layout_of_the_pinned_maps_is_told_and_rebuilt():
    """As after an upgrade: nothing is reinterpreted, and the state file brings the history back."""
    with World(quick()) as world:
        server = world.serve("upgraded")
        for _ in range(4):
            assert get(server)[0] == 200
        wait_for(lambda: world.function("upgraded")["it_count"] == 3, 5, "three idle times learned")
        world.agent.stop()
        node = f"{world.agent.pins}/node"
        found = json.loads(subprocess.check_output([bpftool(), "-j", "map", "dump", "pinned", node]))
        value = [int(byte, 16) for byte in found[0]["value"]]
        value[0] ^= 0x55  # the layout version
        subprocess.check_call([bpftool(), "map", "update", "pinned", node, "key", "0", "0", "0", "0", "value",
                               *map(str, value)])
        world.agent.start()
        assert "layout version" in world.agent.log()
        assert world.function("upgraded")["it_count"] == 3
        assert get(server)[0] == 200
        world.wait_function("upgraded", "invocations", 5)
        server.end()


def test_pinned_links_that_this_build_does_not_have_are_removed():
    """An earlier build's hook, left attached, would count on its own."""
    with World(quick()) as world:
        links = world.agent.pins / "links"
        before = sorted(p.name for p in links.iterdir())
        world.agent.stop()
        (links / "sched_process_exec").rename(links / "of_another_build")
        world.agent.start()
        assert sorted(p.name for p in links.iterdir()) == before
        assert all(hook["attached"] for hook in world.status()["hooks"] if not hook.get("why_not"))


def test_ready_is_told_to_the_service_manager():
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = f"{directory}/notify"
        manager.bind(path)
        manager.settimeout(20)
        with World(quick(), env={"NOTIFY_SOCKET": path}) as world:
            assert manager.recv(100) == b"READY=1"
            world.agent.stop()
            assert manager.recv(100) == b"STOPPING=1"


def test_damaged_state_file_is_set_aside():
    with World({"policy": {"default": "hybrid:240s,bin=1s"}}) as world:
        learn(world.serve("fn"))
        state = pathlib.Path(world.status()["state_file"])
        world.agent.stop()
        state.write_bytes(state.read_bytes()[:-20])
        world.agent.start()
        assert str(state) in world.agent.log()
        assert list(state.parent.glob(state.name + ".*")), "the damaged file should be kept"


def test_uninstall_leaves_nothing_behind():
    with World(quick()) as world:
        server = frozen_server(world, "fn")
        world.agent.stop(signal.SIGKILL)
        assert world.agent.pins.exists()
        done = world.agent.uninstall()
        assert done.returncode == 0, done.stderr
        assert not world.agent.pins.exists()
        wait_for(lambda: not world.subtree.frozen(server.cgroup), 5, "thawed")
        attached = subprocess.run(["bpftool", "cgroup", "show", world.subtree.path], capture_output=True, text=True,
                                  env=dict(os.environ, PATH="/usr/sbin:/usr/bin:/sbin:/bin"))
        if attached.returncode == 0:
            assert "hearth" not in attached.stdout, attached.stdout
        assert get(server)[0] == 200


# ---- many things at once


@timeout(120)
def test_instances_made_and_removed_in_a_storm(world):
    stop, errors = threading.Event(), []

    def storm(n):
        try:
            while not stop.is_set():
                path = world.subtree.make(f"fn/storm-{n}/1")
                world.subtree.make(f"fn/storm-{n}/2/nested")
                (path.parent / "2/nested").rmdir()
                (path.parent / "2").rmdir()
                path.rmdir()
                path.parent.rmdir()
        except Exception as error:
            errors.append(error)

    server = world.serve("steady")
    threads = [threading.Thread(target=storm, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        with Client(server, "tcp4") as client:
            for n in range(200):
                assert client.get()[0] == 200
        for n in range(20):
            passing = world.serve(f"passing-{n}")
            assert get(passing)[0] == 200
            world.wait_counts(f"passing-{n}", 1, 0)
            passing.end()
            world.servers.remove(passing)
            world.subtree.remove(f"fn/passing-{n}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors, errors
    world.wait_counts("steady", 200, 0)
    gone = lambda: [n for n, f in world.agent.functions().items()  # noqa: E731
                    if n.startswith(("storm", "passing")) and f["instances"]]
    wait_for(lambda: not gone(), 10, lambda: f"instances gone: {gone()}")
    server.end()


@timeout(120)
def test_overflow_of_the_event_ring_loses_no_instance():
    """The agent is stopped while far more cgroups come and go than the ring can tell."""
    with World({"policy": {"default": "always"}}) as world:
        before = world.serve("before")
        world.agent.process.send_signal(signal.SIGSTOP)
        storm = world.subtree.make("fn/storm/1")
        full = lambda: world.drops()["events-ring-full"]  # noqa: E731
        for _ in range(15000):
            (storm / "x").mkdir()
            (storm / "x").rmdir()
        server = Server(world, "during")
        before.end()
        world.subtree.remove("fn/before")
        for _ in range(15000):
            (storm / "x").mkdir()
            (storm / "x").rmdir()
        world.agent.process.send_signal(signal.SIGCONT)
        wait_for(lambda: world.instance("during"), 20, "the instance found after all")
        assert full() > 0, "the ring was not full: this test tests nothing"
        wait_for(lambda: not world.instance("before"), 20, "the removed instance gone")
        begun = world.function("during")["invocations"]
        assert get(server)[0] == 200
        world.wait_counts("during", begun + 1, 0)


# ---- how it is steered


def test_ls_json_has_the_promised_fields(world):
    server = world.serve("listed")
    get(server)
    world.wait_counts("listed", 1, 0)
    shown = json.loads(world.agent.cli("ls", "--json").stdout)
    function = next(f for f in shown["functions"] if f["name"] == "listed")
    assert {"name", "policy", "mode", "invocations", "busy_spans", "inflight", "cold_starts", "lukewarm_starts",
            "freezes", "wakes", "idle_s", "it_p50_s", "it_p99_s", "it_count", "windows", "next",
            "instances"} <= set(function)
    assert {"action", "in_s", "reason"} <= set(function["next"])
    assert {"cgroup", "id", "tier", "inflight", "last_begin_s", "last_end_s"} <= set(function["instances"][0])
    with Client(server, "tcp4") as client:
        client.request("/?hold")
        server.expect("held")
        world.wait_counts("listed", 2, 1)
        assert world.function("listed")["idle_s"] is None
        server.release()
        client.response()
    server.end()


def test_freeze_thaw_and_pin_by_hand():
    with World({"policy": dict(QUICK, default="always")}) as world:
        server = world.serve("manual")
        assert get(server)[0] == 200
        world.wait_guard()
        world.agent.cli("freeze", "manual")
        world.wait_tier("manual", "frozen")
        world.agent.cli("thaw", "manual")
        world.wait_tier("manual", "warm")
        assert not world.subtree.frozen(server.cgroup)
        world.agent.cli("policy", "manual", "fixed:100ms")
        world.wait_tier("manual", "frozen")
        world.agent.cli("pin", "manual")
        world.wait_tier("manual", "warm")
        assert get(server)[0] == 200
        world.agent.cli("unpin", "manual")
        world.wait_tier("manual", "frozen")
        assert get(server)[0] == 200


def test_unknown_function_and_bad_policy_are_refused(world):
    server = world.serve("resize")
    for arguments in (["freeze", "resise"], ["policy", "resize", "hybird:240"]):
        done = world.agent.cli(*arguments, check=False)
        assert done.returncode != 0 and done.stderr.strip(), arguments
    assert "resize" in world.agent.cli("freeze", "resise", check=False).stderr
    server.end()


def test_health_checks_wake_but_do_not_count():
    with World(quick({"probes": "127.0.0.2/32 ua:kube-probe/"})) as world:
        server = frozen_server(world, "fn")

        def from_probe(sock):
            sock.bind(("127.0.0.2", 0))

        for n in range(3):
            with Client(server, "tcp4", before_connect=from_probe) as client:
                assert client.get()[0] == 200
            world.wait_tier("fn", "frozen")
            assert get(server, headers=["User-Agent: kube-probe/1.29"])[0] == 200
            world.wait_tier("fn", "frozen")
        assert world.function("fn")["invocations"] == 1
        assert world.function("fn")["busy_spans"] == 1
        assert get(server, headers=["User-Agent: curl/8"])[0] == 200
        world.wait_function("fn", "invocations", 2)
        server.end()


def test_reload_takes_a_good_config_and_keeps_the_old_one_otherwise():
    with World() as world:
        world.serve("fn")
        assert world.function("fn")["policy"] == "always"
        world.agent.write_config({**world.config, "policy": {"default": "fixed:30s"}})
        world.agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: world.function("fn")["policy"].startswith("fixed:30"), 5, "new policy")
        world.agent.write_config({**world.config, "policy": {"default": "fixed:40s", "debonce": "1s"}})
        world.agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "debonce" in world.agent.log(), 5, "complaint about the unknown key")
        assert f"{world.agent.config}:" in world.agent.log()
        assert world.function("fn")["policy"].startswith("fixed:30")
        world.agent.write_config(world.config)


@rows(("agent", "mode", "observe"), ("function fn", "exclude", "yes"), ("function fn", "pin", "yes"))
def test_frozen_by_hand_it_is_thawed_by_a_reload_that_forbids_it(section, key, value):
    with World(quick()) as world:
        server = world.serve("fn")
        assert get(server)[0] == 200
        world.agent.cli("freeze", "fn")
        world.wait_tier("fn", "frozen")
        world.agent.write_config({**world.config, section: {key: value}})
        world.agent.process.send_signal(signal.SIGHUP)
        world.wait_tier("fn", "warm")
        assert get(server)[0] == 200
        server.end()


def write_prior(world, minute):
    """A population that always waits so many clock minutes."""
    table = world.directory / "prior.csv"
    table.write_text(f"minute,probability\n0,0\n{minute},0.9\n{minute + 1},0\n")
    return table


def rewrite_state(world, change):
    """Changes every function of the state file of an agent that is not running."""
    file = world.agent.state / "state.json"
    head, rest = file.read_text().split("\n", 1)
    lines = rest.removesuffix("\n]}\n").split(",\n")
    functions = [json.loads(line) for line in lines]
    for function in functions:
        change(function)
    rest = "\n" + ",\n".join(json.dumps(f, separators=(",", ":")) for f in functions) + "\n]}\n"
    head = re.sub(r'"crc32":"[0-9a-f]{8}"', f'"crc32":"{zlib.crc32(rest.encode()):08x}"', head)
    file.write_text(head + rest)


def opens_s(world, name):
    """When its first window opens, counted from the last end; None: never."""
    return next((open_s for open_s, _ in world.function(name)["windows"]), None)


def test_a_function_without_history_is_expected_as_the_prior_says():
    with World({"policy": {"default": "predictive,cost=1h"}}, start=False) as world:
        table = write_prior(world, 30)
        world.config["policy"]["prior"] = table
        world.agent.write_config(world.config)
        world.agent.start()
        server = world.serve("new")
        assert get(server)[0] == 200
        world.wait_counts("new", 1, 0)
        assert 29 * 60 <= opens_s(world, "new") <= 30 * 60
        write_prior(world, 50)
        world.agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: 49 * 60 <= opens_s(world, "new") <= 50 * 60, 5, "the table is read again")
        table.write_text("minute,probability\n0,2\n")
        checked = world.agent.cli("config", "check", world.agent.config, check=False)
        assert checked.returncode == 1 and f"{table}:2: " in checked.stderr and "[policy] prior" in checked.stderr
        world.agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: f"{table}:2: " in world.agent.log(), 5, "complaint about the table")
        world.agent.cli("policy", "new", "predictive,cost=61m")
        assert 49 * 60 <= opens_s(world, "new") <= 50 * 60
        write_prior(world, 30)  # hearthd --uninstall reads the configuration too
        server.end()


def test_the_prior_learns_from_other_functions_and_survives_a_restart():
    def decide_again():
        world.agent.cli("policy", "new", "predictive,cost=1h")
        return opens_s(world, "new")

    with World({"agent": {"state_interval": "1s"}, "policy": {"learn_prior": "yes"}}, start=False) as world:
        world.config["policy"]["prior"] = write_prior(world, 30)
        world.agent.write_config(world.config)
        world.agent.start()
        new, busy = world.serve("new"), world.serve("busy")
        assert get(new)[0] == 200
        world.wait_counts("new", 1, 0)
        assert decide_again() >= 29 * 60
        learn(busy, 10)  # gaps within a minute
        wait_for(lambda: world.function("busy")["it_count"] == 9, 5, "nine idle times learned")
        assert decide_again() >= 29 * 60  # all known for moments only
        world.agent.stop()
        rewrite_state(world, lambda function: function.update(first_seen_s=function["first_seen_s"] - 86400))
        world.agent.start()
        assert decide_again() == 0  # an arrival within the minute is likely enough
        world.agent.stop()
        rewrite_state(world, lambda function: function.pop("gaps", None))  # a file of an earlier version
        world.agent.start()
        assert decide_again() >= 29 * 60
        world.agent.stop()
        world.agent.start()
        learn(busy, 10)
        wait_for(lambda: decide_again() == 0, 10, "the prior is renewed while it runs")
        world.config["policy"]["learn_prior"] = "no"
        world.agent.write_config(world.config)
        world.agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: decide_again() >= 29 * 60, 5, "the table as it is written")
        new.end()
        busy.end()


def test_second_agent_on_the_same_pins_is_refused(world):
    second = subprocess.run([BUILD / "hearthd", "--config", world.agent.config], capture_output=True, text=True,
                            timeout=20)
    assert second.returncode != 0 and second.stderr.strip()
    assert world.agent.answers()
