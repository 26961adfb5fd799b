# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The image manager: instances from images, or cold whenever there is none."""
import json
import os
import resource
import signal
import subprocess

from harness import BUILD, wait_for
from images import OWNER, PATIENCE, Manager, Refused, as_user, refused


def test_instance_comes_from_the_image_into_its_cgroup():
    with Manager({"py": {}}) as m:
        m.ask(do="build", image="py")
        x = m.run("said.py", args=["a", "b c"])
        uid, cgroup, rest = x.line().split(" ", 2)
        assert x.started["from"] == "image" and x.started["pid"] > 0
        assert int(uid) == OWNER and rest == "['a', 'b c']"
        assert cgroup.startswith(f"/{m.subtree.name}/{OWNER}/fn/f/")
        assert x.end() == {"exit": 0}
        wait_for(lambda: not m.cgroups("fn"), PATIENCE, "its cgroup is removed")
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


def test_an_instance_finds_the_same_from_an_image_from_a_spare_and_cold():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1] // 2, limits[1]))
    try:
        m = Manager({"py": {}, "spare": {"spares": 1, "modules": "json"}})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with m:
        def about(image, source):
            x = m.run("about.py", image=image, env=["LANG=C.UTF-8", "TZ=HST10", "PYTHONPATH=/opt/theirs"], directory="/usr")
            told = json.loads(x.line())
            assert x.started["from"] == source and x.end() == {"exit": 0}
            return told

        found = {"cold": about("py", "cold")}
        m.ask(do="build", image="py")
        m.ask(do="build", image="spare")
        wait_for(lambda: m.show("spare")["spares"] == 1, PATIENCE, "a spare")
        found.update(image=about("py", "image"), spare=about("spare", "spare"))
        cold = found["cold"]
        assert cold["env"] == {"LANG": "C.UTF-8", "TZ": "HST10", "PYTHONPATH": f"/opt/theirs:{m.directory}"}
        assert cold["limits"]["RLIMIT_NOFILE"] == [limits[1] // 2, limits[1]]
        for other in "image", "spare":
            if "keep the limit of its address space" in (m.directory / "log").read_text():
                found[other]["limits"]["RLIMIT_AS"] = cold["limits"]["RLIMIT_AS"]  # no CAP_SYS_RESOURCE here
            for key in cold:
                assert found[other][key] == cold[key], (other, key, found[other][key], cold[key])


def test_what_an_instance_without_stdio_prints_is_in_the_log():
    with Manager({"py": {}}) as m:
        for state in "none", "resident":
            if state == "resident":
                m.ask(do="build", image="py")
            (m.directory / "prints.py").write_text(f"print('printed while {state}')\n")
            call = m.call(do="run", image="py", function="f", argv=[str(m.directory / "prints.py")])
            assert call.answer()["from"] == ("cold" if state == "none" else "image") and call.answer() == {"exit": 0}
            assert f"printed while {state}" in (m.directory / "run/py.log").read_text()


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
        running = [m.run("wait.py", image="short") for _ in range(2)]  # the second builds it, if it is gone by now
        assert [x.line() for x in running] == ["up"] * 2
        m.wait_state("frozen", "short")
        running.append(m.run("wait.py", image="short"))
        assert running[-1].started["from"] == "image", "it stays while one runs"
        for x in running:
            x.end()
        m.wait_state("none", "short")
        assert m.show("kept")["state"] == "resident"
        wait_for(lambda: len(m.cgroups("image")) == 1, PATIENCE, "cgroups of ended images are removed")


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
        wait_for(lambda: "populated 0" in (image / "cgroup.events").read_text(), PATIENCE, "its image ended")
        os.kill(x.started["pid"], 0)
        m.start()
        assert not image.exists() and m.show()["state"] == "none"
        assert all(path.exists() for path in mine), "others' cgroups are left alone"
        os.kill(x.started["pid"], 0)
        os.close(x.stdin)
        wait_for(lambda: "populated 0" in (m.subtree.path / x.started["cgroup"].split("/", 1)[1] / "cgroup.events")
                 .read_text(), 5, "the instance ended by itself")


def test_socket_of_a_killed_manager_is_taken_over_though_a_child_has_it_open():
    with Manager({"py": {}}) as m:
        m.stop()
        holds = ("import os, socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.bind(sys.argv[1])\n"
                 "s.listen()\nif os.fork() == 0:\n    sys.stdin.read()\n")
        with subprocess.Popen(["/usr/bin/python3", "-c", holds, m.socket], stdin=subprocess.PIPE) as gone:
            assert gone.wait(PATIENCE) == 0
            m.start()
            assert m.show()["state"] == "none"
        second = subprocess.run([BUILD / "hearth-images", "-c", m.config], capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode == 1 and "another hearth-images listens" in second.stderr, second
        assert m.show()["state"] == "none"


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


def blocks(pid, signum):
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
    return int(status["SigBlk"], 16) & 1 << signum - 1


def test_a_manager_that_hangs_is_told_and_given_up():
    with Manager({"py": {}}) as m:
        m.process.send_signal(signal.SIGSTOP)
        try:
            with subprocess.Popen([BUILD / "hearth", "run", "-m", m.socket, "-i", "py", "-f", "f", m.directory / "seven.py"],
                                  stderr=subprocess.PIPE, text=True) as run:
                wait_for(lambda: blocks(run.pid, signal.SIGINT), PATIENCE, "signals are for the instance")
                wait_for(lambda: run.send_signal(signal.SIGINT) or run.poll() is not None, PATIENCE, "the second ends it")
                assert run.returncode == 125 and "given up" in run.stderr.readline()
            listed = m.hearth("image", "ls")
            assert listed.returncode == 1 and "hearth-images hangs" in listed.stderr, listed
        finally:
            m.process.send_signal(signal.SIGCONT)


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
