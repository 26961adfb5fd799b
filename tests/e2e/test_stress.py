# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Freezes race against requests: none may be lost, whatever step takes long.

A client asks the agent to freeze the instances, over and over, while others
send them requests after short random pauses: begins then hit every step of the
protocol. HEARTH_TEST_DELAYS stretches one step per round.
"""
import random
import threading
import time

from client import Client
from harness import SLOW, UnixConnection, World, rows, timeout, wait_for

INSTANCES = 8
RING_BYTES = 4096  # holds 170 wakes
CROWD = 220
PAUSE_S = 0.003
ANSWER_SECONDS = 10

# steps of the freeze and wake protocol; each is stretched in a round of its own
STEPS = ("after_intent", "after_arm", "before_freeze_write", "after_freeze_write", "before_frozen",
         "before_thaw_write", "after_thaw_write", "before_thawed", "wake_read")
CONFIG = {"policy": {"default": "always", "debounce": "1ms", "idle_grace": "1ms", "startup_grace": "0s",
                     "syn_hold": "1ms", "enter_hold": "0s", "cpu_threshold": "1024"}}


class Load(threading.Thread):
    """Sends requests to one instance until told to stop; keeps the first error."""

    def __init__(self, server, transport, seed):
        super().__init__()
        self.server, self.transport, self.random = server, transport, random.Random(seed)
        self.sent = self.answered = 0
        self.stop, self.error = threading.Event(), None

    def run(self):
        try:
            while not self.stop.is_set():
                with Client(self.server, self.transport, seconds=ANSWER_SECONDS) as client:
                    # keep-alive and new connections take different ways to the wake
                    for _ in range(self.random.choice((1, 1, 50))):
                        self.sent += 1
                        if client.get() != (200, b"hello\n"):
                            raise AssertionError("wrong answer")
                        self.answered += 1
                        if self.random.random() < 0.7:
                            time.sleep(self.random.uniform(0, PAUSE_S))
                        if self.stop.is_set():
                            break
        except Exception as error:
            self.error = error


class Freezer(threading.Thread):
    """Asks for a freeze of the function again and again; a refusal is as good as a freeze."""

    def __init__(self, world):
        super().__init__()
        self.socket, self.stop, self.error = world.agent.socket, threading.Event(), None

    def run(self):
        try:
            connection = UnixConnection(self.socket)
            while not self.stop.is_set():
                connection.request("POST", "/v1/functions/racer/freeze")
                reply = connection.getresponse()
                text = reply.read()
                assert reply.status in (200, 409), (reply.status, text)
            connection.close()
        except Exception as error:
            self.error = error


def race(world, enough, transport="tcp4"):
    """Runs the load until enough(requests, freezes); returns both."""
    servers = [world.serve("racer", str(i)) for i in range(INSTANCES)]
    loads = [Load(s, transport, seed) for seed, s in enumerate(servers)]
    wait_for(lambda: len(world.function("racer")["instances"]) == INSTANCES, 10, "instances registered")
    threads = [*loads, Freezer(world)]
    for thread in threads:
        thread.start()

    def reached():
        failed = [thread.error for thread in threads if thread.error]
        if failed:
            raise AssertionError(f"request lost: {failed[0]!r}")
        return enough(sum(load.answered for load in loads), world.function("racer")["freezes"])

    try:
        wait_for(reached, 240, lambda: f"enough requests and freezes; "
                                       f"{sum(load.answered for load in loads)} requests, "
                                       f"{world.function('racer')['freezes']} freezes")
    finally:
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join()
    assert not any(thread.error for thread in threads), [thread.error for thread in threads]
    sent = sum(load.sent for load in loads)
    world.wait_counts("racer", sent, 0)
    freezes = world.function("racer")["freezes"]
    print(f"     {sent} requests against {freezes} freezes, every one answered", flush=True)
    for server in servers:
        server.end()
        world.servers.remove(server)
    world.subtree.remove("fn/racer")
    return sent, freezes


@timeout(300)
def test_20000_requests_against_5000_freezes():
    with World(CONFIG) as world:
        sent, freezes = race(world, lambda requests, freezes: requests >= 20000 and freezes >= 5000)
        assert sent >= 20000 and freezes >= 5000


@timeout(120)
@rows(*STEPS)
def test_a_slow_step_loses_nothing(step):
    with World(CONFIG, env={"HEARTH_TEST_DELAYS": f"{step}=2000us"}) as world:
        race(world, lambda requests, freezes: requests >= 1000 / SLOW and freezes >= 200 / SLOW)


@timeout(120)
def test_all_steps_slow_lose_nothing():
    delays = ",".join(f"{step}=500us" for step in STEPS)
    with World(CONFIG, env={"HEARTH_TEST_DELAYS": delays}) as world:
        race(world, lambda requests, freezes: requests >= 1000 / SLOW and freezes >= 200 / SLOW)


@timeout(120)
def test_unix_sockets_lose_nothing():
    # the hold covers the time until an accepted socket is known: see syn_hold in hearth.conf(5)
    config = {"policy": dict(CONFIG["policy"], source="unix", syn_hold="100ms")}
    with World(config) as world:
        race(world, lambda requests, freezes: requests >= 2000 and freezes >= 200, "unix")


@timeout(180)
def test_full_rings_lose_nothing():
    """More wakes at once than the ring holds while its reader sleeps: the scan finds the rest."""
    env = {"HEARTH_TEST_RINGS": str(RING_BYTES), "HEARTH_TEST_DELAYS": "wake_read=2000us"}
    config = {"policy": dict(CONFIG["policy"], default="none", debounce="50ms")}
    with World(config, env=env) as world:
        servers = [world.serve("crowd", str(i)) for i in range(CROWD)]
        clients = [Client(server, "tcp4", seconds=30) for server in servers]
        for client in clients:
            assert client.get()[0] == 200
        rounds = 0
        while not all(world.drops()[ring] for ring in ("wakes-ring-full", "events-ring-full")):
            assert rounds < 20, f"the rings were never full: {world.drops()}"
            wait_for(lambda: all(i["tier"] == "frozen" for i in world.function("crowd")["instances"]), 60,
                     "all of the crowd frozen")
            for client in clients:
                client.request()
            for client in clients:
                assert client.response() == (200, b"hello\n")
            rounds += 1
        world.wait_counts("crowd", CROWD * (rounds + 1), 0)
