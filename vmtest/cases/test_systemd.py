# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=check timeout=400 init=systemd
"""Under systemd as the first process: units are named by their set, scopes and slices by a glob,
and a service is frozen, woken, and left alone while `systemctl freeze` holds it."""
import subprocess

from client import Client
from harness import SERVER, SLOW, Part, Skip, World, wait_for

CONFIG = {
    "agent": {"attach": "/"},
    "policy": {"default": "fixed:100ms", "debounce": "50ms", "idle_grace": "100ms", "startup_grace": "0s",
               "enter_hold": "0s", "syn_hold": "100ms"},
    "rule scopes": {"match": "tenant.slice/tenant-{function}.slice/{instance}.scope"},
    "rule services": {"set": "systemd"},
}


def open_world():
    if open("/proc/1/comm").read() != "systemd\n":
        raise Skip("systemd is not the first process here")
    return World(CONFIG)


class Unit(Part):
    """The test server as a unit of systemd's."""

    def __init__(self, world, *options):
        def start(**pipes):
            return subprocess.Popen(["systemd-run", "--quiet", *options, *map(str, SERVER)], **pipes)

        super().__init__(world, None, start)
        ready = dict(word.split("=") for word in self.expect("ready", 20).split()[1:])
        self.ports = {key: int(value) for key, value in ready.items()}

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


def systemctl(*words):
    subprocess.run(["systemctl", *words], check=True, timeout=30 * SLOW)


def service(world, unit, *options):
    return Unit(world, "--pipe", "--collect", f"--unit={unit}", *options)


def instance(world, function):
    found = (world.function(function) or {"instances": []})["instances"]
    return found[0] if len(found) == 1 else None


def wait_instance(world, function, ending, tier=None):
    def good():
        one = instance(world, function)
        return one and one["cgroup"].endswith(ending) and (tier is None or one["tier"] == tier) and one

    return wait_for(good, 10, lambda: f"{function} {tier or 'found'} at {ending}, is {instance(world, function)}")


def ask(server):
    with Client(server, "tcp4") as client:
        assert client.get() == (200, b"hello\n")


def test_service_is_named_frozen_and_woken(world):
    server = service(world, "resize")
    try:
        wait_instance(world, "resize", "system.slice/resize.service")
        ask(server)
        for _ in range(2):
            wait_instance(world, "resize", "resize.service", "frozen")
            ask(server)
        world.wait_function("resize", "invocations", 3)
    finally:
        systemctl("stop", "resize.service")
        server.end()
    wait_for(lambda: instance(world, "resize") is None, 10, "the stopped service is forgotten")


def test_template_instance_in_a_slice_is_named(world):
    server = service(world, "render@blue", "--slice=shop.slice")
    try:
        assert wait_instance(world, "render", "shop.slice/render@blue.service")["name"] == "blue"
    finally:
        systemctl("stop", "render@blue.service")
        server.end()


def test_scope_in_nested_slices_is_named_by_a_glob(world):
    server = Unit(world, "--scope", "--unit=one", "--slice=tenant-mail.slice")
    try:
        wait_instance(world, "mail", "tenant.slice/tenant-mail.slice/one.scope")
        ask(server)
        wait_instance(world, "mail", "one.scope", "frozen")
        ask(server)
    finally:
        systemctl("kill", "--signal=KILL", "one.scope")
        server.end()


def test_services_of_the_system_are_left_alone(world):
    names = set(world.agent.functions())
    assert not [n for n in names if n.startswith(("systemd", "dbus", "hearthd"))], names


def test_systemctl_freeze_keeps_its_hold(world):
    """Pinned first: systemctl writes nothing to a cgroup that is frozen already, and nobody could tell."""
    server = service(world, "held")
    try:
        ask(server)
        wait_instance(world, "held", "held.service")
        world.agent.cli("pin", "held")
        wait_instance(world, "held", "held.service", "warm")
        systemctl("freeze", "held.service")
        wait_instance(world, "held", "held.service", "foreign")
        with Client(server, "tcp4") as client:
            client.request()
            world.wait_counts("held", 2, 1)
            wait_instance(world, "held", "held.service", "foreign")
            systemctl("thaw", "held.service")
            assert client.response() == (200, b"hello\n")
        world.agent.cli("unpin", "held")
        wait_instance(world, "held", "held.service", "frozen")
    finally:
        systemctl("stop", "held.service")
        server.end()
