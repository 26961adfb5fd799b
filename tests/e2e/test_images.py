# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The image manager: instances from images, or cold whenever there is none."""
import array
import atexit
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import BUILD, NAME, SLOW, Subtree, wait_for
from zygote import BOOTSTRAP, LIBRARY, NODE

OWNER = 65534
BASE = f"{NAME}-images"
PATIENCE = 20 * SLOW
_serial = itertools.count(1)
_open = []

HANDLERS = {
    "said.py": "import os, sys\nprint(os.getuid(), open('/proc/self/cgroup').read().split('::')[1].strip(), sys.argv[1:])\n",
    "loaded.py": "import sys\nprint('tellme' in sys.modules)\n",
    "wait.py": "import sys\nprint('up', flush=True)\nsys.stdin.read()\n",
    "seven.py": "import sys\nsys.exit(7)\n",
    "handlers.py": "def nine():\n    return 9\n",
    "tellme.py": "import time\ntime.sleep(0.1)\n",
    "slow.py": "import time\ntime.sleep(3600)\n",
    "broken.py": "raise ValueError('out of order')\n",
    "hungry.py": "x = bytearray(3 << 30)\n",
    "big.py": "x = bytearray(b'x') * (32 << 20)\n",
}


class Refused(Exception):
    pass


class Call:
    """One request on a connection of its own."""

    def __init__(self, path, request, fds=()):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([json.dumps(request).encode()], rights)

    def answer(self):
        data, rights, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        assert data, "the connection ended"
        found = json.loads(data)
        if rights:
            found["pidfd"] = array.array("i", rights[0][2][:4])[0]
        if "error" in found and "code" in found:
            raise Refused(f"{found['code']}: {found['error']}")
        return found

    def close(self):
        self.socket.close()


class Manager:
    """hearth-images with a cgroup, a folder and a configuration of its own."""

    def __init__(self, images, **manager):
        self.number = next(_serial)
        self.subtree = Subtree(f"{BASE}-{self.number}")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="hearth-images-"))
        self.directory.chmod(0o755)
        for name, text in HANDLERS.items():
            (self.directory / name).write_text(text)
        shutil.copy(LIBRARY, self.directory)
        for file in (BOOTSTRAP, BOOTSTRAP.with_name("hearth_lock.py"), *NODE):
            shutil.copy(file, self.directory)
        self.socket = self.directory / "images.sock"
        sections = {"manager": {"socket": self.socket, "cgroup": self.subtree.name, "run_dir": self.directory / "run",
                                "state": self.directory / "state/images.json",
                                "bootstrap": self.directory / BOOTSTRAP.name, "library": self.directory / LIBRARY.name,
                                "node_bootstrap": self.directory / NODE[0].name,
                                **manager}}
        for name, keys in images.items():
            sections[f"image {name}"] = {"owner": OWNER, "modules": "tellme", "path": self.directory, **keys}
        self.config = self.directory / "images.conf"
        self.config.write_text("".join(f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                                       for s, keys in sections.items()))
        self.log = open(self.directory / "log", "ab")
        self.process = None
        self.calls = []
        _open.append(self)
        self.start()

    def start(self):
        self.process = subprocess.Popen([BUILD / "hearth-images", "-c", self.config], stderr=self.log)
        wait_for(self.answers, 10, lambda: f"hearth-images answers: {(self.directory / 'log').read_text()}")

    def answers(self):
        try:
            return self.ask(do="ls") is not None
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def call(self, descriptors=(), **request):
        self.calls.append(Call(self.socket, request, descriptors))
        return self.calls[-1]

    def ask(self, **request):
        return self.call(**request).answer()

    def show(self, image="py"):
        return self.ask(do="show", image=image)

    def wait_state(self, state, image="py", seconds=10):
        wait_for(lambda: self.show(image)["state"] == state, seconds, lambda: f"{state}: {self.show(image)}")

    def run(self, handler, image="py", function="f", args=(), **request):
        """An Instance whose stdin and stdout are pipes."""
        file = handler if ":" in handler else str(self.directory / handler)
        return Instance(self, [file, *args], dict(request, do="run", image=image, function=function))

    def hearth(self, *arguments, **options):
        return subprocess.run([BUILD / "hearth", *map(str, arguments)], capture_output=True, text=True,
                              env=dict(os.environ, HEARTH_IMAGES_SOCKET=str(self.socket)), timeout=PATIENCE, **options)

    def cgroups(self, kind):
        return [p for p in self.subtree.all() if p.relative_to(self.subtree.path).match(f"*/{kind}/*")]

    def stop(self, sig=signal.SIGTERM):
        if self.process:
            self.process.send_signal(sig)
            self.process.wait(timeout=PATIENCE)
            self.process = None

    def close(self):
        if self not in _open:
            return
        _open.remove(self)
        for call in self.calls:
            call.close()
        try:
            self.stop()
        finally:
            self.subtree.close()
            self.log.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@atexit.register
def close_all():
    for manager in list(_open):
        manager.close()


class Instance:
    def __init__(self, manager, argv, request):
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        fds, names = [stdin, stdout, stdout], ["stdin", "stdout", "stderr"]
        if "cgroup" in request:
            fds.append(os.open(request.pop("cgroup"), os.O_RDONLY | os.O_DIRECTORY))
            names.append("cgroup")
        self.call = manager.call(fds, argv=argv, fds=names, **request)
        for fd in set(fds):
            os.close(fd)
        self.started = self.call.answer()

    def line(self):
        text = b""
        while not text.endswith(b"\n"):
            part = os.read(self.stdout, 1)
            if not part:
                break
            text += part
        return text.decode().rstrip("\n")

    def end(self):
        """Closes its stdin and returns how it ended."""
        os.close(self.stdin)
        ended = self.call.answer()
        os.close(self.stdout)
        os.close(self.started["pidfd"])
        return ended


def test_instance_comes_from_the_image_into_its_cgroup():
    with Manager({"py": {}}) as m:
        m.ask(do="build", image="py")
        x = m.run("said.py", args=["a", "b c"])
        uid, cgroup, rest = x.line().split(" ", 2)
        assert x.started["from"] == "image" and x.started["pid"] > 0
        assert int(uid) == OWNER and rest == "['a', 'b c']"
        assert cgroup.startswith(f"/{m.subtree.name}/{OWNER}/fn/f/")
        assert x.end() == {"exit": 0}
        wait_for(lambda: not m.cgroups("fn"), 5, "its cgroup is removed")
        assert m.show()["forks"] == 1 and m.show()["running"] == 0


def test_status_and_modules_are_those_of_the_image_and_of_a_cold_start():
    with Manager({"cold": {"modules": "broken"}, "image": {}}) as m:
        m.ask(do="build", image="image")
        for source in "cold", "image":
            x = m.run("loaded.py", image=source)
            assert (x.started["from"], x.line()) == (source, str(source == "image"))
            assert x.end() == {"exit": 0}
            x = m.run("seven.py", image=source)
            assert (x.started["from"], x.end()) == (source, {"exit": 7})
            x = m.run("handlers:nine", image=source, directory=str(m.directory))
            assert (x.started["from"], x.end()) == (source, {"exit": 9})
            x = m.run("wait.py", image=source)
            assert x.line() == "up"
            signal.pidfd_send_signal(x.started["pidfd"], signal.SIGUSR1)
            assert x.end() == {"signal": signal.SIGUSR1}


def test_cgroup_of_the_caller_is_used_and_kept():
    with Manager({"py": {}}) as m:
        m.ask(do="build", image="py")
        mine = m.subtree.make(f"{OWNER}/mine")
        os.chown(mine / "cgroup.procs", OWNER, OWNER)
        x = m.run("said.py", cgroup=mine)
        assert x.line().split()[1].endswith(f"{OWNER}/mine") and x.started["from"] == "image"
        assert x.end() == {"exit": 0} and mine.exists()


def test_cgroup_that_the_owner_may_not_enter_is_entered_cold():
    with Manager({"py": {}}) as m:
        m.ask(do="build", image="py")
        x = m.run("said.py", cgroup=m.subtree.make("foreign"))
        assert x.started["from"] == "cold" and "delegate" in x.started["why"]
        uid, cgroup, _ = x.line().split(" ", 2)
        assert int(uid) == OWNER and cgroup.endswith("/foreign")
        assert x.end() == {"exit": 0} and m.show()["children"] == 0


def test_starts_cold_while_the_image_is_built():
    with Manager({"py": {"modules": "slow"}}) as m:
        pending = m.call(do="build", image="py")
        m.wait_state("building")
        x = m.run("said.py")
        assert x.started["from"] == "cold" and x.line() and x.end() == {"exit": 0}
        m.ask(do="evict", image="py")
        try:
            pending.answer()
            raise AssertionError("built all the same")
        except Refused:
            pass
        m.wait_state("none")


def test_second_use_builds():
    with Manager({"py": {"policy": "always"}}) as m:
        assert m.run("seven.py").end() == {"exit": 7} and m.show()["state"] == "none"
        assert m.run("seven.py").end() == {"exit": 7}
        m.wait_state("resident")
        assert m.run("seven.py").started["from"] == "image"


def refused(m, **request):
    try:
        m.ask(**request)
    except Refused as error:
        return str(error)
    raise AssertionError(f"{request} was not refused")


def test_failed_build_says_why_and_functions_start_cold():
    with Manager({"broken": {"modules": "broken"}, "slow": {"modules": "slow", "build_timeout": "300ms"},
                  "hungry": {"modules": "hungry", "memory": "1G"}}) as m:
        assert "ValueError: out of order" in refused(m, do="build", image="broken")
        assert "not ready in time" in refused(m, do="build", image="slow")
        assert "hungry" in m.show("hungry")["name"] and refused(m, do="build", image="hungry")
        for image in "broken", "slow", "hungry":
            m.wait_state("none", image)
            assert m.run("seven.py", image=image).end() == {"exit": 7}
        assert m.show("broken")["error"] and not m.cgroups("image")


def as_user(uid, function):
    """What function returns when it is called by this user: text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(writer, function().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def test_only_root_and_the_owner_may_ask():
    with Manager({"py": {}}) as m:
        m.ask(do="build", image="py")
        assert "EACCES" in as_user(1000, lambda: refused(m, do="show", image="py"))
        assert "EACCES" in as_user(1000, lambda: refused(m, do="run", image="py", function="f", argv=["x.py"]))
        assert as_user(1000, lambda: json.dumps(m.ask(do="ls")["images"])) == "[]"
        assert as_user(OWNER, lambda: m.show()["state"]) == "resident"
        assert as_user(OWNER, lambda: m.run("said.py").line()).startswith(f"{OWNER} ")
        foreign = m.subtree.make("foreign")
        assert "EACCES" in as_user(OWNER, lambda: run_refused(m, foreign))


def run_refused(m, cgroup):
    try:
        m.run("said.py", cgroup=cgroup)
    except Refused as error:
        return str(error)
    return "not refused"


def test_bad_requests_are_refused_with_a_reason():
    with Manager({"py": {}}) as m:
        assert "accepted: ls" in refused(m, do="dance")
        assert "no image" in refused(m, do="show", image="nope")
        assert "function" in refused(m, do="run", image="py", function="../x", argv=["a"])
        assert "argv" in refused(m, do="run", image="py", function="f", argv=[])
        assert "fds" in refused(m, do="run", image="py", function="f", argv=["a"], fds=["stdin"])
        assert "ENOENT" in refused(m, do="evict", image="py")
        assert m.show()["state"] == "none"


def test_image_with_children_is_not_evicted():
    with Manager({"py": {}}) as m:
        m.ask(do="build", image="py")
        x = m.run("wait.py")
        assert x.line() == "up"
        assert "EBUSY" in refused(m, do="evict", image="py")
        assert x.end() == {"exit": 0}
        m.ask(do="evict", image="py")
        m.wait_state("none")


def test_idle_image_is_frozen_and_paged_out_and_forks_again():
    with Manager({"py": {"modules": "big", "policy": "always", "freeze_after": "100ms"}}) as m:
        before = m.ask(do="build", image="py")["resident_bytes"]
        m.wait_state("frozen")
        cgroup = f"{OWNER}/image/py"
        assert m.subtree.frozen(cgroup)
        swap = int(next(l for l in open("/proc/meminfo") if l.startswith("SwapFree")).split()[1])
        if swap > 64 << 10:
            assert m.show()["resident_bytes"] < before - (16 << 20), m.show()
        x = m.run("wait.py")
        assert x.started["from"] == "image" and x.line() == "up"
        m.wait_state("frozen")
        assert x.end() == {"exit": 0}, "an instance runs on while its image is frozen"


def test_policy_decides_how_long_it_is_kept():
    with Manager({"short": {"policy": "fixed:1s", "freeze_after": "100ms"},
                  "kept": {"policy": "always", "modules": "tellme json"},
                  "none": {"policy": "none", "modules": "json"}}) as m:
        for image in "short", "kept", "none":
            try:
                m.ask(do="build", image=image)
            except Refused:
                assert image == "none"
        m.wait_state("none", "none")
        x = m.run("wait.py", image="short")
        m.wait_state("frozen", "short")
        assert x.line() == "up" and m.show("short")["state"] == "frozen", "not while one runs"
        x.end()
        m.wait_state("none", "short")
        assert m.show("kept")["state"] == "resident"
        wait_for(lambda: len(m.cgroups("image")) == 1, 5, "cgroups of ended images are removed")


def test_sixty_at_once():
    with Manager({"py": {"freeze_after": "50ms", "policy": "always"}}) as m:
        m.ask(do="build", image="py")
        m.wait_state("frozen")
        running = []
        for i in range(60):
            running.append(m.call(do="run", image="py", function=f"f{i % 7}", argv=[str(m.directory / "seven.py")]))
        for call in running:
            assert call.answer()["from"] == "image"
        assert [c.answer() for c in running] == [{"exit": 7}] * 60
        found = m.show()
        assert (found["uses"], found["forks"], found["running"], found["children"]) == (60, 60, 0, 0)


def test_tells_who_uses_an_image_and_what_it_saves():
    with Manager({"py": {"modules": "big", "policy": "always"}}) as m:
        assert m.show()["users"] == 0 and m.show()["functions"] == [] and m.show()["bytes_saved"] == 0
        m.ask(do="build", image="py")
        running = [m.run("wait.py", function=name) for name in ("a", "b", "b")]
        assert [x.line() for x in running] == ["up"] * 3
        wait_for(lambda: m.show()["bytes_saved"] > 90 << 20, 20, lambda: f"3 x 32 MB shared: {m.show()}")
        found = m.ask(do="ls")["images"][0]
        assert 90 << 20 < found["bytes_saved"] < 300 << 20, found
        assert (found["users"], found["functions"], found["hits"], found["cold"]) == (2, ["b", "a"], 3, 0)
        assert 0 < found["seconds_saved"] <= 3 * found["build_s"]
        for x in running:
            x.end()
        found = m.show()
        assert found["bytes_saved"] == 0 and found["users"] == 2


def test_functions_of_an_image_are_remembered_up_to_a_bound():
    with Manager({"py": {"policy": "always"}}) as m:
        for i in range(40):
            m.call(do="run", image="py", function=f"f{i}", argv=[str(m.directory / "seven.py")])
        wait_for(lambda: m.show()["running"] == 0 and m.show()["users"] == 40, PATIENCE, m.show)
        assert len(m.show()["functions"]) == 32


def test_killed_manager_leaves_instances_running_and_nothing_frozen():
    with Manager({"py": {"freeze_after": "50ms", "policy": "always"}}) as m:
        m.ask(do="build", image="py")
        x = m.run("wait.py")
        m.wait_state("frozen")
        assert x.line() == "up"
        image = m.subtree.path / f"{OWNER}/image/py"
        mine = [m.subtree.make(path) for path in ("image/mine", f"{OWNER}/mine", "other")]
        m.stop(signal.SIGKILL)
        wait_for(lambda: "populated 0" in (image / "cgroup.events").read_text(), 5, "its image ended")
        os.kill(x.started["pid"], 0)
        m.start()
        assert not image.exists() and m.show()["state"] == "none"
        assert all(path.exists() for path in mine), "others' cgroups are left alone"
        os.kill(x.started["pid"], 0)
        os.close(x.stdin)
        wait_for(lambda: "populated 0" in (m.subtree.path / x.started["cgroup"].split("/", 1)[1] / "cgroup.events")
                 .read_text(), 5, "the instance ended by itself")


def test_stopped_manager_takes_its_images_along():
    with Manager({"py": {"build": "start"}}) as m:
        m.wait_state("resident")
        x = m.run("wait.py")
        assert x.line() == "up"
        m.stop()
        assert not m.cgroups("image") and not m.socket.exists()
        os.kill(x.started["pid"], 0)


def test_image_that_dies_is_told_and_built_again():
    with Manager({"py": {"policy": "always"}}) as m:
        m.ask(do="build", image="py")
        os.kill(m.show()["pid"], signal.SIGKILL)
        m.wait_state("none")
        assert "signal 9" in m.show()["error"]
        assert m.run("seven.py").end() == {"exit": 7}
        m.ask(do="build", image="py")
        assert m.run("seven.py").started["from"] == "image"


def test_budget_evicts_the_image_of_least_value():
    with Manager({"a": {"modules": "big"}, "b": {"modules": "big json"}}, budget="60M") as m:
        m.ask(do="build", image="a")
        for _ in range(3):
            assert m.run("seven.py", image="a").end() == {"exit": 7}
        try:
            m.ask(do="build", image="b")
        except Refused:
            pass
        m.wait_state("none", "b")
        assert m.show("a")["state"] == "resident"


def test_bad_configurations_name_the_line():
    with Manager({"py": {}}) as m:
        good = m.config.read_text()
        for bad, words in (("[image x]\nowner = 0\n", "has no modules"), ("[imag x]\n", "unknown section"),
                           ("[image x]\nowner = nobody-at-all\n", "no user"), ("[image py]\nowner = 0\n", "twice"),
                           ("[image x]\nownr = 0\n", "did you mean owner"), ("[image x]\npolicy = fixd:3\n", "fixed"),
                           (f"[image x]\nowner = {OWNER}\nmodules = tellme\npath = {m.directory}\n", "the same as")):
            if not bad.endswith("]\n"):
                m.config.write_text(good + bad)
            else:
                m.config.write_text(good + bad + "a = b\n")
            found = subprocess.run([BUILD / "hearth-images", "--check-config", "-c", m.config], capture_output=True,
                                   text=True)
            assert found.returncode == 1 and words in found.stderr and f"{m.config}:" in found.stderr, found.stderr


def test_hearth_run_gives_stdio_environment_and_status():
    with Manager({"py": {}}) as m:
        def run(*words, **options):
            return m.hearth("run", "--image", "py", "--function", "f", *words, cwd=m.directory, **options)

        for state in "none", "resident":
            if state == "resident":
                built = m.hearth("image", "build", "py")
                assert built.returncode == 0 and "resident" in built.stdout, built.stderr
            assert m.show()["state"] == state
            found = run("--", m.directory / "said.py", "--day", "today")
            assert found.returncode == 0 and "['--day', 'today']" in found.stdout, found.stderr
            assert run("handlers:nine").returncode == 9
            assert run(m.directory / "wait.py", input="x").stdout == "up\n"
            missing = run(m.directory / "nowhere.py")
            assert missing.returncode == 125 and "nowhere.py" in missing.stderr
            if state == "none":
                m.wait_state("resident")
                wait_for(lambda: not m.show()["running"], PATIENCE, m.show)
                m.ask(do="evict", image="py")
                m.wait_state("none")


def test_hearth_run_hands_signals_on():
    with Manager({"py": {}}) as m:
        m.ask(do="build", image="py")
        with subprocess.Popen([BUILD / "hearth", "run", "-m", m.socket, "-i", "py", "-f", "f", m.directory / "wait.py"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"up\n"
            process.terminate()
            assert process.wait(timeout=PATIENCE) == 128 + signal.SIGTERM
        assert m.show()["running"] == 0


def test_hearth_image_shows_builds_and_evicts():
    with Manager({"py": {}, "broken": {"modules": "broken"}}) as m:
        assert m.hearth("image", "build", "py").returncode == 0
        failed = m.hearth("image", "build", "broken")
        assert failed.returncode == 1 and "ValueError" in failed.stderr
        listed = m.hearth("image", "ls")
        assert listed.returncode == 0 and "resident" in listed.stdout and "ValueError" in listed.stdout
        assert len(json.loads(m.hearth("image", "ls", "--json").stdout)["images"]) == 2
        shown = m.hearth("image", "show", "py")
        assert "tellme" in shown.stdout and f"{OWNER}/image/py" in shown.stdout
        assert m.hearth("image", "evict", "py").returncode == 0
        m.wait_state("none")
        assert m.hearth("image", "evict", "py").returncode == 1
        assert m.hearth("image", "dance").returncode == 2 and m.hearth("image", "show").returncode == 2
        assert m.hearth("run", "-i", "py", "x.py").returncode == 2
        m.stop()
        gone = m.hearth("image", "ls")
        assert gone.returncode == 1 and "hearth-images" in gone.stderr


def test_images_that_never_get_ready_keep_no_other_owner_waiting():
    with Manager({}) as m:
        sleeper = m.directory / "sleeper"
        sleeper.write_text("#!/bin/sh\nexec sleep 3600\n")
        sleeper.chmod(0o755)
        m.stop()
        m.config.write_text(m.config.read_text() + f"[image other]\nowner = 1000\nmodules = json\npath = {m.directory}\n" + "".join(
            f"[image slow-{i}]\nowner = {OWNER}\nmodules = m{i}\ninterpreter = {sleeper}\nbuild = start\n" for i in range(70)))
        m.start()
        wait_for(lambda: m.show("slow-69")["state"] == "building", PATIENCE, lambda: m.show("slow-69"))
        m.ask(do="build", image="other")
        assert m.run("seven.py", image="other").end() == {"exit": 7}
        assert {i["state"] for i in m.ask(do="ls")["images"] if i["name"] != "other"} == {"building"}
        pending = m.call(do="run", image="slow-0", function="f", argv=[str(m.directory / "seven.py")])
        for i in range(70):
            m.ask(do="evict", image=f"slow-{i}")
        try:
            pending.answer()
        except Refused as error:
            assert "sleeper" not in str(error)
