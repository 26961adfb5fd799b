# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=check timeout=300
"""Whose memory it is where functions are forked from a dependency image: what they share and their page tables
are the image's, what they write is theirs, the caps of both hold, and an image outlives its children. And how many
processes an owner may have."""
import os
import signal

from harness import cgroup2_root, wait_for
from images import OWNER, PATIENCE, Manager, Refused, refused

MB = 1 << 20
SHARED = 32  # what images.py's module "big" keeps
WRITES = """import sys, big
for at in range(0, int(sys.argv[1]) << 20, 4096):
    big.x[at] = 1
print('written', flush=True)
sys.stdin.read()
"""


class Accounted(Manager):
    """The manager's cgroups with the memory controller, and a module to write to."""

    def __init__(self, **images):
        super().__init__({name: {"modules": "big", "policy": "always", "freeze_after": "1h", **keys}
                          for name, keys in images.items()})
        (self.subtree.path / "cgroup.subtree_control").write_text("+memory")
        (self.directory / "writes.py").write_text(WRITES)

        self.pool = self.subtree.path

    def image_cgroup(self, image="py"):
        return self.pool / f"{OWNER}/image" / image

    def start_from_image(self, handler, *args, **request):
        started = self.run(handler, args=args, **request)
        assert started.started["from"] == "image", started.started
        return started


def cgroup_of(instance):
    return cgroup2_root() / instance.started["cgroup"].lstrip("/")


def charged(cgroup):
    return int((cgroup / "memory.current").read_text())


def stat(cgroup, file, key):
    return dict(line.split() for line in (cgroup / file).read_text().splitlines()).get(key)


def tables(cgroup):
    return int(stat(cgroup, "memory.stat", "pagetables"))


def test_shared_pages_and_page_tables_are_the_images_and_written_ones_the_functions():
    with Accounted(py={}) as m:
        m.ask(do="build", image="py")
        image = m.image_cgroup()
        assert charged(image) > SHARED * MB
        before, tables_before = charged(image), tables(image)
        readers = [m.start_from_image("wait.py") for _ in range(4)]
        assert [r.line() for r in readers] == ["up"] * 4
        for reader in readers:
            assert charged(cgroup_of(reader)) < 8 * MB, charged(cgroup_of(reader))
        assert tables(image) >= tables_before + 4 * SHARED * MB // 512 // 2
        writer = m.start_from_image("writes.py", "16")
        assert writer.line() == "written"
        assert charged(cgroup_of(writer)) > 16 * MB
        assert charged(image) < before + 8 * MB
        for instance in (*readers, writer):
            assert instance.end() == {"exit": 0}


def test_function_forked_from_an_image_is_held_to_its_own_limit():
    with Accounted(py={}) as m:
        m.ask(do="build", image="py")
        m.start_from_image("seven.py").end()  # the owner's folders are there now
        limited = m.subtree.make(f"{OWNER}/limited")
        os.chown(limited / "cgroup.procs", OWNER, OWNER)
        (limited / "memory.max").write_text(str(24 * MB))
        beside = m.start_from_image("wait.py")
        assert beside.line() == "up"
        greedy = m.start_from_image("writes.py", "31", cgroup=limited)
        assert greedy.line() == "" and greedy.end() == {"signal": signal.SIGKILL}
        assert int(stat(limited, "memory.events", "oom_kill")) == 1
        assert int(stat(limited, "memory.stat", "anon")) == 0
        assert beside.end() == {"exit": 0}
        modest = m.start_from_image("writes.py", "8", cgroup=limited)
        assert modest.line() == "written" and modest.end() == {"exit": 0}
        assert m.show()["state"] == "resident"


def test_claimed_spare_is_charged_as_a_fork_is():
    with Accounted(py={"spares": 1}) as m:
        m.ask(do="build", image="py")
        image = m.image_cgroup()

        def claim(*arguments, **request):
            wait_for(lambda: m.show()["spares"] == 1, 10, "a spare")
            before = charged(image)
            claimed = m.run("writes.py", args=arguments, **request)
            assert claimed.started["from"] == "spare", claimed.started
            return claimed, before

        writer, before = claim("16")
        assert writer.line() == "written"
        assert 16 * MB < charged(cgroup_of(writer)) < 24 * MB
        assert charged(image) < before + 8 * MB
        assert writer.end() == {"exit": 0}
        limited = m.subtree.make(f"{OWNER}/limited")
        os.chown(limited / "cgroup.procs", OWNER, OWNER)
        (limited / "memory.max").write_text(str(16 * MB))
        greedy, _ = claim("31", cgroup=limited)
        assert greedy.line() == "" and greedy.end() == {"signal": signal.SIGKILL}
        assert int(stat(limited, "memory.events", "oom_kill")) == 1


def test_node_spare_leaves_to_the_image_what_it_had_loaded():
    with Accounted(js={"runtime": "node", "modules": "fs"}) as m:
        (m.directory / "fill.js").write_text("const kept = Buffer.alloc(32 << 20, 'x')\nconsole.log('filled')\n"
                                             "process.stdin.resume().on('end', () => process.exit(kept[0]))\n")
        m.ask(do="build", image="js")
        wait_for(lambda: m.show("js")["spares"] == 1, 20, "a spare")
        before = charged(m.image_cgroup("js"))
        claimed = m.run("fill.js", image="js")
        assert claimed.started["from"] == "spare" and claimed.line() == "filled"
        assert 32 * MB < charged(cgroup_of(claimed)) < 64 * MB
        wait_for(lambda: m.show("js")["spares"] == 1, 20, "another")
        assert charged(m.image_cgroup("js")) > before + 4 * MB, "that of the instance and that of its successor"
        assert claimed.end() == {"exit": ord("x")}


def test_image_with_children_is_not_retired_and_a_dead_ones_pages_stay_in_the_pool():
    with Accounted(py={}) as m:
        m.ask(do="build", image="py")
        child = m.start_from_image("wait.py")
        assert child.line() == "up"
        try:
            m.ask(do="evict", image="py")
            raise AssertionError("evicted with a child")
        except Refused as refusal:
            assert "EBUSY" in str(refusal)
        os.kill(m.show()["pid"], signal.SIGKILL)
        wait_for(lambda: not m.image_cgroup().exists(), 10, "the dead image's cgroup is removed")
        assert charged(cgroup_of(child)) < 8 * MB  # the kernel leaves them where they were
        assert charged(m.pool) > SHARED * MB  # and the pool's cap still counts them
        assert child.end() == {"exit": 0}
        wait_for(lambda: charged(m.pool) < SHARED * MB, 10, "given back with the last child")


def test_images_together_are_held_to_the_pools_limit():
    with Accounted(one={}, two={"modules": "big tellme"}) as m:
        m.ask(do="build", image="one")
        limit = charged(m.pool) + SHARED // 2 * MB
        (m.pool / "memory.max").write_text(str(limit))
        try:
            m.ask(do="build", image="two")
        except Refused:
            pass
        assert int(stat(m.pool, "memory.events", "oom_kill")) > 0
        assert charged(m.pool) <= limit
        for image in "one", "two":  # from what is left of them, or cold
            assert m.run("seven.py", image=image).end() == {"exit": 7}
        done = m.hearth("run", "--image", "one", "--function", "f", "--", m.directory / "seven.py")
        assert done.returncode == 7, done


BOMB = """import os, sys, time
n = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(3600)
        n += 1
except BlockingIOError:
    print(n, flush=True)
sys.stdin.read()
"""


def test_an_owner_that_forks_without_end_leaves_the_others_their_processes():
    with Manager({"py": {"policy": "always"}, "other": {"owner": 1000}}, owner_processes=40) as m:
        (m.directory / "bomb.py").write_text(BOMB)
        m.ask(do="build", image="py")
        limit = m.subtree.path / f"{OWNER}/pids.max"
        assert limit.read_text() == "40\n"
        bomb = m.run("bomb.py")
        assert bomb.started["from"] == "image" and 10 < int(bomb.line()) < 40
        assert "EAGAIN" in refused(m, do="run", image="py", function="f", argv=[str(m.directory / "seven.py")])
        assert m.run("seven.py", image="other").end() == {"exit": 7}
        m.config.write_text(m.config.read_text().replace("owner_processes = 40", "owner_processes = 0"))
        m.process.send_signal(signal.SIGHUP)
        wait_for(lambda: limit.read_text() == "max\n", PATIENCE, limit.read_text)
        x = m.run("seven.py")
        assert x.started["from"] == "image" and x.end() == {"exit": 7}
        m.subtree.kill(f"{OWNER}/fn")
