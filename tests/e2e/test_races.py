# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Requests, removals and the agent's death in the middle of what is done to idle memory."""
import random
import signal
import threading
import time

from client import Client
from harness import SLOW, World, rows, timeout, wait_for
from test_memory import ended, events, keep, open_paging, reclaim, touch, wait_reclaimed

TIERS = "warm", "frozen", "reclaimed"
JOBS = "freeze", "reclaim", "prewarm"


def open_world(**functions):
    return open_paging("warm frozen reclaimed", **{
        "function warm*": {"policy": "always"},
        "function frozen*": {"tiers": "warm frozen"},
        "function hooked*": {"tiers": "warm frozen gone", "cold_cost": "1ms", "on_evict": "/bin/sleep 1"},
        **functions})


def begin(world, name, job):
    """Starts the job on an instance that kept quiet, and does not wait for its end."""
    if job == "freeze":
        world.agent.cli("freeze", name, check=False)
        return
    reclaim(world, name)
    if job == "prewarm":
        wait_reclaimed(world, name)
        world.agent.cli("prewarm", name)


@rows(*TIERS)
def test_removed_by_its_runtime_in_a_tier(world, tier):
    name = f"{tier}-removed"
    server = world.serve(name)
    keep(server, mb=16)
    world.wait_tier(name, tier, seconds=30)
    assert_forgotten(world, server, name)


@rows("reclaim", "prewarm")
def test_removed_by_its_runtime_in_the_middle(world, job):
    name = f"{job}-middle"
    server = world.serve(name)
    keep(server, mb=128, random=1)
    begin(world, name, job)
    assert_forgotten(world, server, name)


def assert_forgotten(world, server, name):
    pids = server.pids()
    world.subtree.kill(f"fn/{name}/1")
    wait_for(lambda: all(map(ended, pids)), 10, "dead, frozen or not")
    world.subtree.remove(f"fn/{name}/1")
    wait_for(lambda: world.instance(name) is None, 5, "gone from the list")
    world.servers.remove(server)
    fresh = world.serve(name)
    assert request(fresh) == "hello"
    fresh.end()


def request(server):
    with Client(server, "tcp4") as client:
        status, body = client.get()
        assert status == 200
        return body.decode().strip()


@timeout(120)
def test_requests_at_any_moment_of_freeze_reclaim_and_prewarm_are_answered(world):
    """Two instances, two clients each, and somebody who freezes, reclaims and prewarms without a pause."""
    servers = {name: world.serve(name) for name in ("any-one", "any-two")}
    for server in servers.values():
        keep(server, mb=48, random=1)
    stop, failures, answered = threading.Event(), [], []

    def ask(server, seed):
        dice = random.Random(seed)
        while not stop.wait(dice.uniform(0, 0.4 * SLOW)):
            try:
                assert dice.random() < 0.5 or touch(server, share=dice.randint(1, 100)) >= 0
                answered.append(request(server))
            except Exception as failure:
                failures.append(f"{failure!r} after {len(answered)} answers")

    clients = [threading.Thread(target=ask, args=(s, seed)) for seed, s in enumerate(list(servers.values()) * 2)]
    for client in clients:
        client.start()
    dice, deadline = random.Random(1), time.monotonic() + 15 * SLOW
    while time.monotonic() < deadline:
        world.agent.cli(dice.choice(JOBS), dice.choice(list(servers)), check=False)
    stop.set()
    for client in clients:
        client.join()
    assert not failures, failures
    assert len(answered) > 20
    done = {a for name in servers for a in (e["action"] for e in events(world, name, "freeze", "reclaim"))}
    assert done == {"freeze", "reclaim"}, done
    for name, server in servers.items():
        wait_for(lambda n=name: world.function(n)["inflight"] == 0, 5, "nothing in flight")
        server.end()


def test_request_before_the_kill_wins(world):
    """on_evict takes a second: the request that comes meanwhile is served, and by the same processes."""
    server = world.serve("hooked")
    pids = server.pids()
    assert request(server) == "hello"
    for _ in range(3):
        world.wait_tier("hooked", "frozen", seconds=20)
        assert request(server) == "hello"
        assert server.pids() == pids
    world.wait_tier("hooked", "gone", seconds=20)
    assert all(ended(pid) for pid in pids)
    world.servers.remove(server)


@timeout(120)
def test_request_at_the_moment_of_the_kill_is_served_or_finds_nobody(world):
    """By hand: whoever the request reaches alive answers it; half an answer or a hang would be a loss."""
    outcomes = {"served": 0, "killed": 0}
    for i in range(12):
        name = f"frozen-kill{i}"
        server = world.serve(name)
        assert request(server) == "hello"
        world.wait_tier(name, "frozen")
        killer = threading.Thread(target=world.agent.cli, args=("evict", name), kwargs={"check": False})
        killer.start()
        time.sleep(0.01 * i)
        try:
            outcomes["served"] += request(server) == "hello"
        except (ConnectionError, AssertionError):
            killer.join()
            assert events(world, name, "evict"), "failed, yet nobody was killed"
            outcomes["killed"] += 1
        killer.join()
        server.end()
    print(f"requests at the moment of a kill: {outcomes}")
    assert sum(outcomes.values()) == 12


@rows(*JOBS, "settled")
def test_agent_killed_while_requests_come(world, job):
    """SIGKILL: all are thawed, every request before, at and after it is answered."""
    with open_world() as other:
        server = other.serve("survivor")
        keep(server, mb=96, random=1)
        begin(other, "survivor", "reclaim" if job == "settled" else job)
        if job == "settled":
            wait_reclaimed(other, "survivor")
        other.agent.process.send_signal(signal.SIGKILL)
        answers = [request(server) for _ in range(5)]
        assert answers == ["hello"] * 5
        wait_for(lambda: not other.subtree.frozen("fn/survivor/1"), 5, "thawed")
        assert touch(server) > 0
        other.agent.process.wait()
        other.agent.start()
        wait_for(lambda: other.instance("survivor"), 10, "found again")
        assert touch(server) > 0
        server.end()
