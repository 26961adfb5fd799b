# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Shadow policies on real requests: charged, compared, never acting."""
import json
import signal

from client import Client
from harness import Skip, World, wait_for

REQUESTS = 5


def open_world():
    return World({"policy": {"shadow": "none fixed:10m always", "cold_cost": "1m", "debounce": "0s",
                             "startup_grace": "0s"}})


def send(server, n):
    with Client(server, "tcp4") as client:
        for _ in range(n):
            assert client.get()[0] == 200


def shadow(world, name):
    """SHADOW of one function, or None."""
    return world.agent.api("GET", f"/v1/functions/{name}")[1]["shadow"]


def policies(world, name):
    return {row["policy"]: row for row in shadow(world, name)["policies"]}


def starts_of(row):
    return row["cold_starts"], row["lukewarm_starts"], row["warm_starts"]


def wait_charged(world, name, starts):
    """Waits until each policy was charged for so many starts; its rows."""
    wait_for(lambda: all(row["cold_starts"] + row["lukewarm_starts"] + row["warm_starts"] == starts
                         for row in policies(world, name).values()),
             5, lambda: f"{starts} starts charged, is {policies(world, name)}")
    return policies(world, name)


def test_each_policy_is_charged_its_own_starts(world):
    server = world.serve("charged")
    send(server, REQUESTS)
    rows = wait_charged(world, "charged", REQUESTS)
    assert [row["policy"] for row in shadow(world, "charged")["policies"]] == ["always", "none", "fixed:10m"]
    assert starts_of(rows["none"]) == (1, REQUESTS - 1, 0)  # its instance is there, but would be frozen
    assert starts_of(rows["always"]) == starts_of(rows["fixed:10m"]) == (1, 0, REQUESTS - 1)
    assert rows["none"]["waste_s"] == 0 and rows["none"]["cost_s"] == 60 * REQUESTS
    assert [row["policy"] for row in rows.values() if row["acting"]] == ["always"]
    server.end()


def test_idle_time_is_waste_and_busy_time_is_not(world):
    server = world.serve("wasted")
    with Client(server, "tcp4") as client:
        assert client.get()[0] == 200
        waste = wait_charged(world, "wasted", 1)["always"]["waste_s"]
        wait_for(lambda: policies(world, "wasted")["always"]["waste_s"] > waste + 0.1, 5, "idle time is charged")
        client.request("/?hold")
        server.expect("held")
        before = wait_charged(world, "wasted", 2)["always"]
        idle = world.function("wasted")["idle_s"]
        after = policies(world, "wasted")["always"]
        assert idle is None and after["waste_s"] == before["waste_s"] > 0.1
        assert after["cost_s"] == after["waste_s"] + 60
        server.release()
        assert client.response()[0] == 200
    server.end()


def test_a_shadow_never_acts(world):
    server = world.serve("untouched")
    send(server, REQUESTS)
    wait_charged(world, "untouched", REQUESTS)
    wait_for(lambda: world.instance("untouched")["proven"], 5, "proven")
    function = world.function("untouched")
    assert function["policy"] == "always" and function["freezes"] == 0
    server.end()


def test_the_acting_policy_may_change_places_with_a_shadow(world):
    server = world.serve("swapped")
    send(server, REQUESTS)
    since = shadow(world, "swapped")["since_at_s"]
    wait_charged(world, "swapped", REQUESTS)
    world.agent.cli("policy", "swapped", "fixed:10m")
    rows = policies(world, "swapped")
    assert rows["fixed:10m"]["acting"] and not rows["always"]["acting"]
    assert shadow(world, "swapped")["since_at_s"] == since
    assert starts_of(rows["none"]) == (1, REQUESTS - 1, 0)
    world.agent.cli("policy", "swapped", "fixed:7m")  # one that has seen nothing
    assert set(policies(world, "swapped")) == {"fixed:7m", "none", "fixed:10m", "always"}
    assert shadow(world, "swapped")["since_at_s"] > since
    assert all(starts_of(row) == (0, 0, 0) for row in policies(world, "swapped").values())
    send(server, 1)  # after an idle time that all of them know of
    rows = wait_charged(world, "swapped", 1)
    assert starts_of(rows["none"]) == (0, 1, 0) and starts_of(rows["fixed:7m"]) == (0, 0, 1)
    server.end()


def test_the_command_shows_totals_and_functions(world):
    server = world.serve("shown")
    send(server, REQUESTS)
    wait_charged(world, "shown", REQUESTS)
    text = world.agent.cli("shadow").stdout
    assert "what acts" in text and "\nshown  since " in text
    one = world.agent.cli("shadow", "shown").stdout
    assert "what acts" not in one and "* always" in one and "fixed:10m" in one
    listed = json.loads(world.agent.cli("shadow", "--json").stdout)["functions"]
    alone = json.loads(world.agent.cli("shadow", "shown", "--json").stdout)["functions"]
    assert [f["function"] for f in alone] == ["shown"]
    assert "shown" in [f["function"] for f in listed]
    wrong = world.agent.cli("shadow", "shwon", check=False)
    assert wrong.returncode == 1 and "did you mean shown?" in wrong.stderr
    server.end()


def test_another_instance_is_a_cold_start_under_every_policy(world):
    first = world.serve("renewed", "1")
    send(first, 1)
    wait_charged(world, "renewed", 1)
    first.end()
    second = world.serve("renewed", "2")
    send(second, 2)
    rows = wait_charged(world, "renewed", 3)
    assert starts_of(rows["always"]) == (2, 0, 1)
    assert starts_of(rows["none"]) == (2, 1, 0)
    second.end()


def test_memory_is_charged_while_a_policy_keeps_it(world):
    server = world.serve("weighed")
    send(server, 1)
    wait_charged(world, "weighed", 1)
    if world.instance("weighed")["memory_bytes"] is None:
        raise Skip("the memory controller is not on in this cgroup2 hierarchy")
    wait_for(lambda: policies(world, "weighed")["always"]["waste_gb_s"] > 0, 5, "GB-s are charged")
    rows = policies(world, "weighed")
    assert rows["none"]["waste_gb_s"] == 0 and rows["none"]["cost_gb_s"] >= 0
    assert rows["always"]["cost_gb_s"] >= rows["always"]["waste_gb_s"]
    server.end()


def test_a_restart_goes_on_with_what_was_learned():
    """A shadow that starts with the agent knows the open idle time: no row has a first start."""
    with open_world() as world:
        server = world.serve("again")
        send(server, REQUESTS)
        wait_charged(world, "again", REQUESTS)
        world.agent.stop()
        world.agent.start()
        wait_for(lambda: shadow(world, "again") is not None, 5, "shadows of the adopted function")
        assert all(starts_of(row) == (0, 0, 0) for row in policies(world, "again").values())
        send(server, 1)
        rows = wait_charged(world, "again", 1)
        assert starts_of(rows["none"]) == (0, 1, 0) and starts_of(rows["always"]) == (0, 0, 1)
        server.end()


def test_sections_choose_shadows_and_a_reload_takes_them_away():
    with World({"function lone": {"shadow": "none"}}) as world:
        lone, other = world.serve("lone"), world.serve("other")
        send(lone, 2)
        wait_charged(world, "lone", 2)
        assert set(policies(world, "lone")) == {"always", "none"}
        assert shadow(world, "other") is None
        assert [f["function"] for f in world.agent.api("GET", "/v1/shadow")[1]["functions"]] == ["lone"]
        world.agent.write_config({k: v for k, v in world.config.items() if k != "function lone"})
        world.agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shadow(world, "lone") is None, 5, "no shadows after the reload")
        assert "no shadow policies" in world.agent.cli("shadow").stdout
        send(lone, 1)
        lone.end()
        other.end()
