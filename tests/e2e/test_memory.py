# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Memory of idle instances: out, back ahead of a request, back beside one, gone."""
import json
import pathlib
import signal
import threading
import time

from client import Client
from harness import SLOW, Skip, World, cgroup2_root, rows, timeout, wait_for
from swap import swap

MB = 1 << 20
KEEP = 64


def open_paging(tiers, **functions):
    """A world whose idle instances go down through the tiers at once."""
    swap()
    return World({"policy": {"default": "none", "tiers": tiers, "debounce": "100ms",
                             "startup_grace": "0s", "enter_hold": "100ms", "cold_cost": "1s", "cpu_threshold": 1,
                             "outbound": "ignore"},
                  "memory": {"swap_free_min": "0%", "pressure": "off", "swap_rate": "2G",
                             "prewarm_rate": "2G", "prewarm_cpu": 1},
                  **functions})


def open_world():
    return open_paging("warm reclaimed", **{
        "function windowed*": {"policy": "fixed:10m", "windows": "resident"},
        "function alive*": {"policy": "fixed:10m"},
        "function periodic*": {"policy": "hybrid:1m,bin=1s,arima=off", "tiers": "frozen reclaimed"},
        "function frozen-only*": {"tiers": "warm frozen"},
        "function least": {"tiers": "warm frozen", "min_warm": 1},
        "function gone*": {"tiers": "warm gone"}})


def keep(server, mb=KEEP, random=0):
    with Client(server, "tcp4") as client:
        assert client.get(f"/keep?mb={mb}&random={random}")[0] == 200


def touch(server, share=100):
    """Microseconds that the server took for it."""
    with Client(server, "tcp4") as client:
        status, body = client.get(f"/touch?share={share}")
        assert status == 200
        return int(body.split()[0])


def events(world, name, *actions):
    text = world.agent.cli("events", name, "--json").stdout
    return [e for e in map(json.loads, text.splitlines()) if e["action"] in actions]


def ended(pid):
    """Gone, or dead and not yet waited for by the test."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def reclaim(world, name):
    """By hand, as soon as nothing holds it."""
    wait_for(lambda: world.agent.cli("reclaim", name, check=False).returncode == 0, 10, f"{name} reclaims")


def memory(world, name):
    return world.instance(name)["memory_bytes"]


def page_out(world, name):
    """By hand until its memory is out: a guard that a late machine alarmed may thaw it in between."""
    thaws = None

    def out():
        nonlocal thaws
        now = world.status()["guard"]["thaw_epoch"]
        if now != thaws:
            thaws = now
            reclaim(world, name)
        return world.instance(name)["tier"] == "reclaimed"

    wait_for(out, 30, lambda: f"{name} reclaimed, is {world.instance(name)['tier']}: "
                              f"{events(world, name, 'freeze', 'thaw', 'foreign', 'guard', 'failed')[-3:]}")


def wait_reclaimed(world, name):
    world.wait_tier(name, "reclaimed", seconds=30)


def test_idle_instance_gives_its_memory_back(world):
    server = world.serve("idle")
    keep(server)
    wait_reclaimed(world, "idle")
    assert memory(world, "idle") < KEEP * MB / 5
    assert events(world, "idle", "reclaim")[-1]["reason"].startswith("returned")
    server.end()


def test_request_to_a_reclaimed_instance_is_answered_and_lukewarm(world):
    server = world.serve("asked")
    keep(server)
    wait_reclaimed(world, "asked")
    before = world.function("asked")["lukewarm_starts"]
    assert touch(server) > 0
    world.wait_function("asked", "lukewarm_starts", before + 1)
    server.end()


def test_tier_that_is_not_listed_is_never_entered(world):
    server = world.serve("frozen-only")
    keep(server)
    world.wait_tier("frozen-only", "frozen")
    witness = world.serve("witness")
    keep(witness)
    wait_reclaimed(world, "witness")  # which was idle for less long
    witness.end()
    assert world.instance("frozen-only")["tier"] == "frozen"
    assert memory(world, "frozen-only") > KEEP * MB
    assert not events(world, "frozen-only", "reclaim")
    server.end()


def test_window_ends_early_for_memory_that_is_worth_more_than_a_wake(world):
    server = world.serve("alive")
    keep(server)
    wait_reclaimed(world, "alive")
    assert "inside its keep-alive window, memory worth more" in world.agent.cli("explain", "alive").stdout
    assert touch(server) > 0
    server.end()


def test_min_warm_takes_the_next_one_when_the_first_dies(world):
    servers = [world.serve("least", instance) for instance in ("1", "2")]
    for server in servers:
        keep(server, mb=1)
    world.wait_tier("least", "frozen", instance="1")
    assert world.instance("least", "2")["tier"] == "warm"
    servers[1].end()
    world.wait_tier("least", "warm", instance="1")
    servers[0].end()


def test_inside_its_window_it_keeps_its_memory(world):
    server = world.serve("windowed")
    keep(server)
    wait_for(lambda: world.function("windowed")["next"]["action"] == "freeze", 5, "the close is planned")
    assert world.instance("windowed")["tier"] == "warm"
    assert memory(world, "windowed") > KEEP * MB
    server.end()


def test_prewarmed_by_hand_it_keeps_its_memory_whatever_its_plan_wants(world):
    server = world.serve("recalled")
    keep(server)
    wait_reclaimed(world, "recalled")
    world.agent.cli("prewarm", "recalled")
    world.wait_tier("recalled", "frozen")
    wait_for(lambda: "by hand" in world.function("recalled")["next"]["reason"], 5, "stays so by hand")
    assert not events(world, "recalled", "failed")
    server.end()


def test_memory_comes_back_ahead_of_the_request_by_hand(world):
    server = world.serve("ahead")
    keep(server)
    touch(server)
    warm = min(touch(server) for _ in range(3))
    reclaim(world, "ahead")
    wait_reclaimed(world, "ahead")
    cold = touch(server)
    reclaim(world, "ahead")
    wait_reclaimed(world, "ahead")
    world.agent.cli("prewarm", "ahead")
    world.wait_tier("ahead", "frozen")
    restored = touch(server)
    print(f"touch of {KEEP} MB: warm {warm} us, paged out {cold} us, restored {restored} us")
    assert restored < cold / 3
    server.end()


@timeout(120)
def test_prewarm_is_ready_before_the_predicted_request(world):
    """Every few seconds: the histogram learns it, and its memory is back when the request comes."""
    server = world.serve("periodic")
    keep(server, mb=16)  # out and back within a period, in an emulated guest too
    deadline = time.monotonic() + 60 * SLOW
    while not world.function("periodic")["prewarms_hit"]:
        assert time.monotonic() < deadline, world.function("periodic")
        time.sleep(4 * min(SLOW, 2))
        assert touch(server) > 0
    assert events(world, "periodic", "prewarm")
    server.end()


@rows("reclaim", "prewarm")
@timeout(60)
def test_request_in_the_middle_wins(world, job):
    server = world.serve(f"middle-{job}")
    keep(server, mb=256, random=1)
    with Client(server, "tcp4") as client:
        for i in range(12):
            reclaim(world, f"middle-{job}")
            if job == "prewarm":
                wait_reclaimed(world, f"middle-{job}")
                world.agent.cli("prewarm", f"middle-{job}")
            time.sleep(0.01 * i)
            assert client.get()[0] == 200
    world.wait_counts(f"middle-{job}", 13, 0)
    server.end()


def test_running_instance_is_never_paged_out(world):
    server = world.serve("busy")
    keep(server)
    with Client(server, "tcp4") as client:
        client.request("/?hold")
        server.expect("held")
        refused = world.agent.cli("reclaim", "busy", check=False)
        assert refused.returncode != 0 and "in flight" in refused.stderr
        assert memory(world, "busy") > KEEP * MB
        server.release()
        assert client.response()[0] == 200
    server.end()


def test_instance_removed_while_reclaimed_is_forgotten(world):
    server = world.serve("removed")
    keep(server)
    wait_reclaimed(world, "removed")
    world.subtree.kill("fn/removed/1")
    world.subtree.remove("fn/removed/1")
    wait_for(lambda: world.instance("removed") is None, 5, "gone from the list")
    world.servers.remove(server)


def test_thaw_by_somebody_else_while_reclaimed(world):
    server = world.serve("foreign")
    keep(server)
    wait_reclaimed(world, "foreign")
    world.subtree.freeze("fn/foreign/1", 0)
    wait_for(lambda: world.instance("foreign")["tier"] not in ("reclaimed", "frozen"), 5, "seen")
    assert touch(server) > 0
    server.end()


@rows("reclaim", "prewarm")
def test_agent_killed_in_the_middle_leaves_nothing_frozen(world, job):
    with open_world() as other:
        server = other.serve("orphan")
        keep(server, mb=256, random=1)
        reclaim(other, "orphan")
        if job == "prewarm":
            wait_reclaimed(other, "orphan")
            other.agent.cli("prewarm", "orphan")
        other.agent.process.send_signal(signal.SIGKILL)
        wait_for(lambda: not other.subtree.frozen("fn/orphan/1"), 5, "thawed")
        assert touch(server) > 0
        server.end()


def test_idle_instance_is_killed_where_gone_is_allowed(world):
    server = world.serve("gone")
    pids = server.pids()
    with Client(server, "tcp4") as client:
        assert client.get()[0] == 200
    world.wait_tier("gone", "gone", seconds=20)
    assert all(ended(pid) for pid in pids)
    assert events(world, "gone", "evict")
    world.servers.remove(server)


@timeout(90)
def test_reclaims_at_once_share_the_swap_budget(world):
    with World({"policy": {"default": "fixed:3s", "windows": "resident", "tiers": "warm frozen reclaimed",
                           "debounce": "100ms", "startup_grace": "0s", "enter_hold": "100ms", "cpu_threshold": 1,
                           "outbound": "ignore", "cold_cost": "1s"},
                "memory": {"swap_budget": f"{KEEP * 3 // 2}M", "swap_free_min": "0%", "pressure": "off",
                           "swap_rate": "2G"}}) as other:
        servers = {name: other.serve(name) for name in ("one", "two", "three")}
        for server in servers.values():
            keep(server)
        for name in servers:
            wait_reclaimed(other, name)
        assert KEEP * MB / 2 < other.status()["memory"]["swapped_bytes"] < KEEP * 2 * MB, other.status()["memory"]
        for server in servers.values():
            assert touch(server) > 0
            server.end()


def test_idle_instances_step_down_to_the_budget(world):
    with World({"policy": {"default": "always", "tiers": "warm frozen reclaimed", "debounce": "100ms",
                           "startup_grace": "0s", "enter_hold": "100ms", "cpu_threshold": 1, "outbound": "ignore"},
                "memory": {"budget": "160M", "ranker": "lru", "swap_free_min": "0%", "pressure": "off"},
                "function kept": {"min_warm": 1}}) as other:
        servers = {name: other.serve(name) for name in ("kept", "first", "second", "third")}
        for server in servers.values():
            keep(server)
        wait_reclaimed(other, "first")
        wait_for(lambda: other.status()["memory"]["idle_bytes"] < 160 * MB, 40,
                 lambda: f"below the budget, is {other.status()['memory']}")
        tiers = {name: other.instance(name)["tier"] for name in servers}
        assert tiers["kept"] == "warm", tiers
        assert tiers["first"] == "reclaimed" and tiers["third"] == "warm", tiers
        assert events(other, "first", "squeeze")
        for server in servers.values():
            assert touch(server) > 0
            server.end()
