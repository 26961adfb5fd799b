# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Spares of the image manager: forked ahead, or processes of a runtime that cannot fork."""
import json
import os
import signal
import subprocess

from harness import BUILD, SLOW, Skip, wait_for
from images import OWNER, PATIENCE, Manager, refused

NUMBERS = "import os, random, uuid\nprint(random.random(), uuid.uuid4(), os.urandom(8).hex())\n"
NODE = "/usr/bin/node"
SCRIPTS = {
    "loaded.js": "console.log(process.getuid(), Object.keys(require.cache).some(k => k.endsWith('/tellme.js')), "
                 "require('fs').readFileSync('/proc/self/cgroup', 'utf8').split('::')[1].trim(), process.argv.slice(2).join(), "
                 "process.env.WORD, process.cwd(), require.main === module, Object.keys(process.env).length)\n"
                 "console.error('to stderr')\n",
    "echo.js": "process.stdin.on('data', d => process.stdout.write(d)).on('end', () => process.exit(7))\n",
    "wait.js": "console.log('up')\nprocess.stdin.resume()\n",
    "answers.js": "exports.nine = async () => 9\nexports.random = () => console.log(Math.random(), require('crypto').randomUUID())\n",
    "tellme.js": "exports.text = Buffer.alloc(16 << 20, 'x').toString()\n",
    "helper.js": "const cat = require('child_process').spawn('/bin/cat', {stdio: ['pipe', 'pipe', 'inherit']})\n"
                 "exports.ask = say => { cat.stdout.on('data', d => { say(String(d).trim(), cat.pid); process.exit(0) }); "
                 "cat.stdin.write('alive') }\n",
    "asks.js": "require('helper').ask((word, pid) => console.log(word, require('fs')"
               ".readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('::')[1].trim()))\n",
    "broken.js": "throw new Error('out of order')\n",
}


def spares(m, image="py"):
    """Their cgroups."""
    return [p for p in m.subtree.all() if p.name.startswith("spare-") and p.parent.name == image]


def pids(m, image="py"):
    return [int(pid) for path in spares(m, image) for pid in (path / "cgroup.procs").read_text().split()]


def wait_spares(m, n, image="py"):
    wait_for(lambda: m.show(image)["spares"] == n and len(spares(m, image)) == n, 20,
             lambda: f"{n} spares: {m.show(image)} {spares(m, image)}")


def frozen(path):
    return "frozen 1" in (path / "cgroup.events").read_text()


def python(spares=2, **keys):
    return {"py": {"spares": spares, "policy": "always", "freeze_after": "1h", **keys}}


def ready(m, n=2):
    m.ask(do="build", image="py")
    wait_spares(m, n)


def test_a_spare_is_claimed_and_another_takes_its_place():
    with Manager(python()) as m:
        ready(m)
        wait_for(lambda: all(frozen(path) for path in spares(m)), PATIENCE, "spares frozen")
        before = pids(m)
        x = m.run("said.py", args=["a", "b c"])
        uid, cgroup, rest = x.line().split(" ", 2)
        assert x.started["from"] == "spare" and x.started["pid"] not in before, x.started
        assert int(uid) == OWNER and rest == "['a', 'b c']" and cgroup.startswith(f"/{m.subtree.name}/{OWNER}/fn/f/")
        assert x.end() == {"exit": 0}
        x = m.run("loaded.py")
        assert (x.started["from"], x.line(), x.end()) == ("spare", "True", {"exit": 0})
        assert m.run("seven.py").end() == {"exit": 7}
        wait_spares(m, 2)
        found = m.show()
        assert found["claims"] + found["forks"] == 3 and found["claims"] >= 2 and found["cold"] == 0, found
        assert found["running"] == found["children"] == 0 and found["hits"] == 3 and found["claim_s"] > 0, found
        wait_for(lambda: not m.cgroups("fn"), PATIENCE, "its cgroup is removed")
        missing = m.hearth("run", "-i", "py", "-f", "f", "nowhere.py")
        assert missing.returncode == 125 and "nowhere.py" in missing.stderr, missing


def test_random_numbers_differ_between_claims():
    with Manager(python()) as m:
        (m.directory / "numbers.py").write_text(NUMBERS)
        ready(m)
        running = [m.run("numbers.py") for _ in range(2)]
        assert [x.started["from"] for x in running] == ["spare"] * 2
        first, second = (x.line().split() for x in running)
        assert len(first) == 3 and all(a != b for a, b in zip(first, second)), (first, second)
        assert [x.end() for x in running] == [{"exit": 0}] * 2


def test_a_spare_that_was_killed_is_not_missed():
    with Manager(python()) as m:
        ready(m)
        killed = set(pids(m))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        x = m.run("seven.py")
        assert x.started["from"] in ("spare", "image") and x.end() == {"exit": 7}
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in killed), 20, "the manager has seen them end")
        wait_spares(m, 2)
        assert m.run("seven.py").started["from"] == "spare"


def test_ten_at_once_with_two_spares():
    with Manager(python()) as m:
        ready(m)
        calls = [m.call(do="run", image="py", function="f", argv=[str(m.directory / "seven.py")]) for _ in range(10)]
        sources = [call.answer()["from"] for call in calls]
        assert sources.count("spare") >= 2 and set(sources) == {"spare", "image"}, sources
        assert [call.answer() for call in calls] == [{"exit": 7}] * 10
        wait_spares(m, 2)
        found = m.show()
        assert found["claims"] == sources.count("spare") and found["forks"] == sources.count("image"), found
        assert found["children"] == 0


def test_a_claim_may_go_where_a_fork_may():
    with Manager(python()) as m:
        ready(m)
        mine = m.subtree.make(f"{OWNER}/mine")
        os.chown(mine / "cgroup.procs", OWNER, OWNER)
        x = m.run("said.py", cgroup=mine)
        assert x.line().split()[1].endswith(f"{OWNER}/mine") and x.started["from"] == "spare"
        assert x.end() == {"exit": 0} and mine.exists()
        wait_spares(m, 2)
        x = m.run("said.py", cgroup=m.subtree.make("foreign"))
        assert x.started["from"] == "cold" and "delegate" in x.started["why"], x.started
        assert x.line().split()[1].endswith("/foreign") and x.end() == {"exit": 0}


def test_evicting_the_image_drops_its_spares():
    with Manager(python()) as m:
        ready(m)
        held = pids(m)
        m.ask(do="evict", image="py")
        m.wait_state("none")
        assert not spares(m) and m.show()["spares"] == 0 and not m.cgroups("image")
        assert not any(os.path.exists(f"/proc/{pid}") for pid in held)
        ready(m)
        x = m.run("wait.py")
        assert x.started["from"] == "spare" and x.line() == "up"
        assert "EBUSY" in refused(m, do="evict", image="py"), "it has the image's pages"
        assert x.end() == {"exit": 0}


def test_spares_of_a_killed_manager_end_though_they_are_frozen():
    with Manager(python()) as m:
        ready(m)
        x = m.run("wait.py")
        assert x.started["from"] == "spare" and x.line() == "up"
        wait_spares(m, 2)
        image = m.subtree.path / f"{OWNER}/image/py"
        m.stop(signal.SIGKILL)
        wait_for(lambda: "populated 0" in (image / "cgroup.events").read_text(), PATIENCE, "its spares ended")
        os.kill(x.started["pid"], 0)
        m.start()
        assert not image.exists() and m.show()["state"] == "none"
        os.close(x.stdin)


def test_a_stopped_manager_takes_its_spares_along():
    with Manager(python()) as m:
        ready(m)
        m.stop()
        assert not spares(m)


def test_the_image_is_paged_out_and_its_spares_stay():
    with Manager(python(modules="big", freeze_after="200ms")) as m:
        before = m.ask(do="build", image="py")["resident_bytes"]
        m.wait_state("frozen")
        wait_spares(m, 2)
        m.wait_state("frozen")
        swap = int(next(l for l in open("/proc/meminfo") if l.startswith("SwapFree")).split()[1])
        if swap > 64 << 10:
            assert m.show()["resident_bytes"] < before - (16 << 20), m.show()
        x = m.run("seven.py")
        assert x.started["from"] == "spare" and x.end() == {"exit": 7}
        m.wait_state("frozen")
        wait_spares(m, 2)


def test_spares_are_dropped_when_nobody_uses_them():
    with Manager(python(1, spares_for=f"{int(2000 * SLOW)}ms", freeze_after="100ms")) as m:
        def has_one():
            """If it was not there before its time was over, it takes another use."""
            found = m.show()
            if found["state"] == "frozen" and not found["spares"]:
                assert m.run("seven.py").end() == {"exit": 7}
            return found["spares"] == 1

        m.ask(do="build", image="py")
        wait_for(has_one, PATIENCE)
        wait_for(lambda: m.show()["spares"] == 0 and not spares(m), PATIENCE, "none")
        m.wait_state("frozen")
        wait_for(has_one, PATIENCE, "a use brings it back")


def test_a_budget_is_met_by_spares_before_images():
    with Manager({"py": {"modules": "big", "policy": "always", "freeze_after": "1h"}}) as m:
        alone = m.ask(do="build", image="py")["resident_bytes"]
    with Manager(python(8, modules="big"), budget=alone + (4 << 20)) as m:
        def some_are_made():
            """They may be gone before somebody looks; the next use makes them anew."""
            if len(spares(m)) > 2:
                return True
            return not spares(m) and m.run("seven.py").end() != {"exit": 7}

        m.ask(do="build", image="py")
        wait_for(some_are_made, PATIENCE)
        wait_for(lambda: not spares(m), 20, lambda: f"all are dropped: {m.show()}")
        assert m.show()["state"] == "resident"
        assert m.run("seven.py").end() == {"exit": 7}


# ---- Node.js

def node(modules="tellme", **keys):
    return {"js": {"runtime": "node", "modules": modules, "policy": "always", "freeze_after": "1h", **keys}}


class Node(Manager):
    def __init__(self, images=None, **manager):
        if not os.path.exists(NODE):
            raise Skip("no Node.js")
        super().__init__(images or node(), **manager)
        for name, text in SCRIPTS.items():
            (self.directory / name).write_text(text)

    def run(self, handler, image="js", **request):
        return super().run(handler, image, **request)

    def build(self, n=1):
        built = self.ask(do="build", image="js")
        wait_spares(self, n, "js")
        return built


def test_a_node_spare_becomes_the_instance():
    with Node() as m:
        assert m.build()["runtime"] == "node"
        waiting = pids(m, "js")
        x = m.run("loaded.js", args=["a", "b"], env=["WORD=w"], directory="/usr")
        uid, loaded, cgroup, rest = x.line().split(" ", 3)
        assert x.started["from"] == "spare" and [x.started["pid"]] == waiting, x.started
        assert int(uid) == OWNER and loaded == "true" and cgroup.startswith(f"/{m.subtree.name}/{OWNER}/fn/f/"), cgroup
        assert rest == "a,b w /usr true 2" and x.line() == "to stderr"
        assert x.end() == {"exit": 0}
        wait_spares(m, 1, "js")
        x = m.run("echo.js")
        os.write(x.stdin, b"back\n")
        assert (x.started["from"], x.line(), x.end()) == ("spare", "back", {"exit": 7})
        found = m.show("js")
        assert found["claims"] == 2 and found["forks"] == found["cold"] == found["children"] == 0, found


def test_a_node_function_and_status_are_those_of_a_cold_start():
    with Node({**node(), "cold": {"runtime": "node", "modules": "broken"}}) as m:
        m.build()
        for image, source in ("js", "spare"), ("cold", "cold"):
            x = m.run("answers:nine", image, directory=str(m.directory))
            assert (x.started["from"], x.end()) == (source, {"exit": 9}), image
            if image == "js":
                wait_spares(m, 1, "js")
            x = m.run("wait.js", image)
            assert (x.started["from"], x.line()) == (source, "up")
            signal.pidfd_send_signal(x.started["pidfd"], signal.SIGUSR2)
            assert x.end() == {"signal": signal.SIGUSR2}
            if image == "js":
                wait_spares(m, 1, "js")
            found = m.hearth("run", "-i", image, "-f", "f", "nowhere.js")
            assert found.returncode == 125 and "nowhere.js" in found.stderr, found


def test_node_spares_have_random_numbers_of_their_own():
    with Node(node(spares=2)) as m:
        m.build(2)
        running = [m.run("answers:random", directory=str(m.directory)) for _ in range(2)]
        assert [x.started["from"] for x in running] == ["spare"] * 2
        first, second = (x.line().split() for x in running)
        assert len(first) == 2 and all(a != b for a, b in zip(first, second)), (first, second)
        assert [x.end() for x in running] == [{"exit": 0}] * 2


def test_a_node_spare_is_paged_out_and_claimed():
    with Node(node(freeze_after="100ms")) as m:
        m.ask(do="build", image="js")
        m.wait_state("frozen", "js")
        found = m.show("js")
        assert found["spares"] == 1 and frozen(spares(m, "js")[0])
        swap = int(next(l for l in open("/proc/meminfo") if l.startswith("SwapFree")).split()[1])
        if swap > 64 << 10:
            assert found["swap_bytes"] > 8 << 20, found
        x = m.run("loaded.js", env=["WORD=w"])
        assert x.started["from"] == "spare" and " true " in x.line() and x.end() == {"exit": 0}
        m.wait_state("frozen", "js")
        assert m.show("js")["spares"] == 1, "another, which was paged out in its turn"


def test_what_a_module_has_started_goes_with_the_node_spare():
    with Node(node("helper")) as m:
        m.build()
        x = m.run("asks.js")
        assert x.started["from"] == "spare", x.started
        word, cgroup = x.line().split()
        assert word == "alive" and cgroup.startswith(f"/{m.subtree.name}/{OWNER}/fn/f/"), cgroup
        assert x.end() == {"exit": 0}


def test_a_node_image_that_cannot_be_built_says_why():
    with Node({**node("nope"), "broken": {"runtime": "node", "modules": "broken"},
               "missing": {"runtime": "node", "modules": "fs", "interpreter": "/usr/bin/no-such-node"}}) as m:
        assert "Cannot find module 'nope'" in refused(m, do="build", image="js")
        assert "out of order" in refused(m, do="build", image="broken")
        assert "/usr/bin/no-such-node" in refused(m, do="build", image="missing")
        for image in "js", "broken", "missing":
            m.wait_state("none", image)
        assert not m.cgroups("image")
        assert m.run("echo.js").end() == {"exit": 7}, "cold"


def test_a_node_image_whose_spares_die_is_built_again():
    with Node() as m:
        m.build()
        os.kill(pids(m, "js")[0], signal.SIGKILL)
        x = m.run("echo.js")
        assert x.end() == {"exit": 7}
        wait_for(lambda: "signal 9" in m.show("js")["error"] or m.show("js")["spares"], PATIENCE, "told, or made anew")
        wait_for(lambda: m.run("echo.js").started["from"] == "spare", 20, "it recovers")


def test_ten_at_once_with_two_node_spares_and_eviction():
    with Node(node(spares=2)) as m:
        m.build(2)
        calls = [m.call(do="run", image="js", function="f", argv=[str(m.directory / "echo.js")]) for _ in range(10)]
        sources = [call.answer()["from"] for call in calls]
        assert sources.count("spare") >= 2 and set(sources) <= {"spare", "cold"}, sources
        assert [call.answer() for call in calls] == [{"exit": 7}] * 10
        wait_spares(m, 2, "js")
        x = m.run("wait.js")
        assert x.started["from"] == "spare" and x.line() == "up"
        m.ask(do="evict", image="js")
        m.wait_state("none", "js")
        assert not spares(m, "js") and x.end() == {"exit": 0}, "an instance has nothing of the image"


def test_a_node_claim_may_go_where_the_owner_may():
    with Node() as m:
        m.build()
        x = m.run("loaded.js", cgroup=m.subtree.make("foreign"))
        assert x.started["from"] == "cold" and "delegate" in x.started["why"], x.started
        assert x.line().split()[2].endswith("/foreign") and x.end() == {"exit": 0}
        wait_spares(m, 1, "js")
        mine = m.subtree.make(f"{OWNER}/mine")
        os.chown(mine / "cgroup.procs", OWNER, OWNER)
        x = m.run("loaded.js", cgroup=mine)
        assert x.started["from"] == "spare" and x.line().split()[2].endswith(f"{OWNER}/mine") and x.end() == {"exit": 0}


def test_node_spares_of_a_killed_manager_end():
    with Node(node(freeze_after="50ms")) as m:
        m.build()
        x = m.run("wait.js")
        assert x.started["from"] == "spare" and x.line() == "up"
        m.wait_state("frozen", "js")
        image = m.subtree.path / f"{OWNER}/image/js"
        m.stop(signal.SIGKILL)
        wait_for(lambda: "populated 0" in (image / "cgroup.events").read_text(), PATIENCE, "its spares ended")
        os.kill(x.started["pid"], 0)
        os.close(x.stdin)


def test_hearth_image_tells_of_spares():
    with Manager(python()) as m:
        ready(m)
        assert m.run("seven.py").end() == {"exit": 7}
        wait_spares(m, 2)
        listed = m.hearth("image", "ls")
        assert "SPARES" in listed.stdout and "CLAIMS" in listed.stdout, listed.stdout
        shown = json.loads(m.hearth("image", "show", "--json", "py").stdout)
        assert (shown["spares"], shown["claims"], shown["runtime"]) == (2, 1, "python"), shown


def test_settings_of_spares_are_checked():
    with Manager(python()) as m:
        good = m.config.read_text()
        (m.directory / "lock").write_text("six==1.0\n")
        for bad, words in (("spares = many", "whole number"), ("spares = 65", "at most 64"), ("runtime = perl", "python, node"),
                           ("spares_for = soon", "spares_for"), (f"runtime = node\nlock = {m.directory}/lock", "pip")):
            m.config.write_text(good + f"[image x]\nowner = {OWNER}\nmodules = json\n{bad}\n")
            found = subprocess.run([BUILD / "hearth-images", "--check-config", "-c", m.config], capture_output=True, text=True)
            assert found.returncode == 1 and words in found.stderr and f"{m.config}:" in found.stderr, found.stderr
