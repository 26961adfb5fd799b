# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A function's own commands around its tiers."""
import atexit
import pathlib
import shutil
import stat
import tempfile

from client import Client
from harness import World, timeout, wait_for

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="hearth-hooks-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
FIELDS = "$HEARTH_FUNCTION $HEARTH_INSTANCE $HEARTH_CGROUP"


def script(name, body):
    """An executable that says in FOLDER/NAME.log that it ran, then does its part."""
    path = FOLDER / name
    path.write_text(f"#!/bin/sh\necho {name} {FIELDS} >> {FOLDER}/{name}.log\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def runs(name):
    log = FOLDER / f"{name}.log"
    return log.read_text().splitlines() if log.exists() else []


def open_world():
    return World({"policy": {"default": "none", "tiers": "warm frozen", "debounce": "100ms", "startup_grace": "0s",
                             "enter_hold": "100ms", "cpu_threshold": 1},
                  "function told": {"pre_freeze": script("before", ""), "post_thaw": script("after", "")},
                  "function refused": {"pre_freeze": script("refuse", "exit 3")},
                  "function slow": {"pre_freeze": script("slow", "exec sleep 60"), "hook_timeout": "1s"},
                  "function by-hand": {"on_evict": script("by-hand", "sleep 0.5"), "post_thaw": script("risen", "")},
                  "function evicted": {"tiers": "warm gone",
                                       "on_evict": script("evict", "")},
                  "function kept": {"tiers": "warm gone",
                                    "on_evict": script("keep", "exit 1")},
                  "function started": {"prewarm": script("start", "")}})


def get(server):
    with Client(server, "tcp4") as client:
        assert client.get()[0] == 200


def test_freeze_waits_for_pre_freeze_and_post_thaw_follows_the_thaw(world):
    server = world.serve("told")
    get(server)
    world.wait_tier("told", "frozen")
    cgroup = world.instance("told")["cgroup"]
    fields = runs("before")[-1].split()
    assert fields[:3] == ["before", "told", "1"] and fields[3].endswith(cgroup)
    assert not runs("after")
    get(server)
    wait_for(lambda: len(runs("after")) == 1, 5, "post_thaw ran")
    world.wait_tier("told", "frozen")
    assert len(runs("before")) == 2
    server.end()


def test_failing_pre_freeze_keeps_it_warm(world):
    server = world.serve("refused")
    get(server)
    wait_for(lambda: "pre_freeze" in (world.instance("refused")["hold"] or ""), 5, "held by its command")
    wait_for(lambda: "failed" in world.instance("refused")["hold"], 5, "the failure is told")
    assert world.instance("refused")["tier"] == "warm" and len(runs("refuse")) == 1
    server.end()


def test_pre_freeze_that_hangs_is_ended_and_keeps_it_warm(world):
    server = world.serve("slow")
    get(server)
    wait_for(lambda: "failed" in (world.instance("slow")["hold"] or ""), 10, "timed out")
    assert world.instance("slow")["tier"] == "warm"
    get(server)
    server.end()


def test_on_evict_runs_before_the_kill(world):
    server = world.serve("evicted")
    get(server)
    world.wait_tier("evicted", "gone", seconds=20)
    assert len(runs("evict")) == 1
    world.servers.remove(server)


def test_evict_by_hand_waits_for_on_evict_and_nothing_follows_the_kill(world):
    server = world.serve("by-hand")
    get(server)
    world.wait_tier("by-hand", "frozen")
    world.agent.cli("evict", "by-hand")
    assert world.instance("by-hand")["tier"] == "frozen"  # as long as the command runs
    world.wait_tier("by-hand", "gone")
    assert len(runs("by-hand")) == 1 and not runs("risen")
    world.servers.remove(server)


def test_failing_on_evict_keeps_it_alive(world):
    server = world.serve("kept")
    get(server)
    wait_for(lambda: runs("keep"), 10, "on_evict ran")
    world.wait_tier("kept", "frozen")
    get(server)
    server.end()


@timeout(30)
def test_prewarm_command_of_a_function_without_an_instance(world):
    server = world.serve("started")
    get(server)
    world.subtree.kill("fn/started/1")
    world.subtree.remove("fn/started/1")
    world.servers.remove(server)
    wait_for(lambda: world.instance("started") is None, 5, "gone")
    world.agent.cli("prewarm", "started")
    wait_for(lambda: runs("start"), 5, "prewarm ran")
    assert runs("start")[0].split()[1] == "started"
