# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Images by a lock of dependencies, and declared through the API."""
import array
import json
import os
import signal
import socket
import subprocess

from harness import BUILD, wait_for
from images import OWNER, PATIENCE, Manager, as_user, refused

LOCK = "telling==1.2.0\n"


def install(m, name, version, files=("tellme.py",), top_level=None):
    """What pip leaves of a distribution, beside the modules that are there already."""
    folder = m.directory / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    if top_level is not None:
        (folder / "top_level.txt").write_text(top_level)
    return folder


def loads_tellme(m, image):
    x = m.run("loaded.py", image=image)
    answer = x.started["from"], x.line()
    assert x.end() == {"exit": 0}
    return answer


def test_lock_in_the_configuration_names_modules_and_versions():
    with Manager({"py": {}}) as m:
        install(m, "Telling", "1.2.0")
        lock = m.directory / "lock.txt"
        lock.write_text("telling==1.2 --hash=sha256:00 # as pip writes it\nabsent==1; python_version < '3'\n")
        good = m.config.read_text().replace("modules = tellme\n", f"lock = {lock}\n")
        m.config.write_text(good)
        m.stop()
        m.start()
        assert m.ask(do="build", image="py")["state"] == "resident", (m.directory / "log").read_text()
        assert loads_tellme(m, "py") == ("image", "True")
        assert m.show()["modules"] == [] and m.show()["locked"] == 2
        lock.write_text("telling==1.2\nb >= 2\n")
        found = subprocess.run([BUILD / "hearth-images", "--check-config", "-c", m.config], capture_output=True, text=True)
        assert found.returncode == 1 and f"{lock}:2: 'b >= 2'; accepted: NAME==VERSION" in found.stderr, found.stderr


def test_lock_of_other_versions_than_installed_fails_the_build():
    with Manager({"py": {}}) as m:
        install(m, "telling", "1.2.0")
        lock = m.directory / "lock.txt"
        lock.write_text(LOCK)
        m.config.write_text(m.config.read_text().replace("path =", f"lock = {lock}\npath ="))
        for text, words in (("telling==1.3\n", "telling: wanted 1.3, found 1.2.0"),
                            ("absent==2.0\ntelling==1.3\n", "absent: wanted 2.0, found none; and 1 more"),
                            ("telling==1.2; python_version ~ '3'\n", "marker 'python_version ~ '3'' is not understood")):
            lock.write_text(text)
            m.stop()
            m.start()
            assert words in refused(m, do="build", image="py")
            assert m.run("seven.py").end() == {"exit": 7}


def declare(m, image="mine", **keys):
    return m.ask(**{"do": "declare", "image": image, "owner": OWNER, "modules": ["tellme"], "path": str(m.directory),
                    **keys})


def images(m):
    """The retired ones come last."""
    current, retired = m.ask(do="ls"), m.ask(do="ls", retired=True)
    assert not current["more"] and not retired["more"]
    assert not any(i["retired"] for i in current["images"]) and all(i["retired"] for i in retired["images"])
    return current["images"] + retired["images"]


def names(m):
    return sorted(image["name"] for image in images(m))


def test_declared_image_is_built_used_and_forgotten():
    with Manager({}) as m:
        found = declare(m, modules=["tellme", "json"], policy="always")
        assert (found["name"], found["owner"], found["declared"], found["modules"], found["state"]) == \
            ("mine", OWNER, "api", ["json", "tellme"], "none")
        for _ in range(2):
            assert m.run("seven.py", image="mine").end() == {"exit": 7}
        m.wait_state("resident", "mine")
        assert loads_tellme(m, "mine") == ("image", "True")
        assert m.ask(do="forget", image="mine")["name"] == "mine"
        wait_for(lambda: not names(m) and not m.cgroups("image"), PATIENCE, "it is gone")
        assert "no image" in refused(m, do="run", image="mine", function="f", argv=["x"])


def test_declared_by_a_lock():
    with Manager({}) as m:
        install(m, "telling", "1.2.0")
        found = declare(m, modules=[], lock="telling==1.2.0 \\\n  --hash=sha256:00\n", build="start")
        assert found["locked"] == 1
        m.wait_state("resident", "mine")
        assert loads_tellme(m, "mine") == ("image", "True")
        same = declare(m, "other", modules=[], lock="# sorted or not\nTelling==1.2.0\n")
        assert same["name"] == "mine" and names(m) == ["mine"]
        for lock in "/etc/passwd", "telling", "telling==1.2.0\n-r other.txt":
            assert "accepted: NAME==VERSION" in refused(m, do="declare", image="x", owner=OWNER, lock=lock)
        assert "lock:2: '-r other.txt'" in refused(m, do="declare", image="x", owner=OWNER, lock=lock)
        wrong = declare(m, "wrong", modules=[], lock="telling==1.3")
        assert wrong["name"] == "wrong"
        assert "telling: wanted 1.3, found 1.2.0" in refused(m, do="build", image="wrong")


def test_modules_of_a_lock_that_cannot_be_loaded_are_left_to_the_functions():
    with Manager({}) as m:
        install(m, "telling", "1.2.0", top_level="tellme\nbroken\nabsent\n")
        install(m, "broken", "1", files=("broken.py",))
        declare(m, modules=[], lock="telling==1.2.0")
        assert m.ask(do="build", image="mine")["state"] == "resident"
        assert loads_tellme(m, "mine") == ("image", "True")
        log = (m.directory / "run/mine.log").read_text()
        assert "broken is not loaded: ValueError: out of order" in log and "absent is not loaded" in log
        declare(m, "none", modules=[], lock="broken==1")
        assert "none of its modules" in refused(m, do="build", image="none")
        declare(m, "named", modules=["broken"], lock="telling==1.2.0")
        assert "ValueError: out of order" in refused(m, do="build", image="named")


def test_user_declares_its_own_images_only():
    with Manager({"py": {"modules": "json"}}) as m:
        assert "EACCES" in as_user(1000, lambda: refused(m, do="declare", image="x", owner=OWNER, modules="json"))
        assert "EACCES" in as_user(1000, lambda: refused(m, do="declare", image="x", owner=0, modules="json"))
        assert "EACCES" in as_user(1000, lambda: refused(m, do="declare", image="x", owner="root", modules="json"))
        assert as_user(1000, lambda: str(m.ask(do="declare", image="x", modules="json")["owner"])) == "1000"
        assert "EACCES" in as_user(OWNER, lambda: refused(m, do="forget", image="x"))
        assert "EEXIST" in as_user(OWNER, lambda: refused(m, do="declare", image="x", modules="tellme"))
        assert "EEXIST" in refused(m, do="declare", image="py", owner=OWNER, modules="tellme")
        assert "EINVAL" in as_user(OWNER, lambda: refused(m, do="forget", image="py"))
        assert m.show("py")["state"] == "none" and m.show("x")["owner"] == 1000
        assert as_user(1000, lambda: m.ask(do="forget", image="x")["name"]) == "x"
        assert names(m) == ["py"]


def test_number_and_limits_of_declared_images_are_bounded():
    with Manager({}, declare_max=2, declare_memory="1G", declare_timeout="10s", declare_spares=1) as m:
        for name in "a", "b":
            declare(m, name, modules=[name])
        assert "declare_max" in refused(m, do="declare", image="c", owner=OWNER, modules="c")
        declare(m, "b", modules=["bb"])
        declare(m, "c", modules=["c"], owner=1000)
        m.ask(do="forget", image="a")
        declare(m, "c2", modules=["c"])
        for bad, words in (({"memory": "2G"}, "up to 1G"), ({"build_timeout": "11s"}, "up to 10s"),
                           ({"memory": (1 << 30) + 1}, "up to 1G"), ({"spares": 2}, "up to 1 ")):
            assert words in refused(m, do="declare", image="b", owner=OWNER, modules="b", **bad)
        assert names(m) == ["b", "c", "c2"]


def test_images_kept_by_their_children_alone_are_bounded():
    with Manager({}, declare_max=2) as m:
        running = []
        for i in range(3):
            declare(m, modules=["tellme", *["json", "ast", "time"][:i]], policy="always")
            m.ask(do="build", image="mine")
            running.append(m.run("wait.py", image="mine"))
            assert running[-1].line() == "up" and running[-1].started["from"] == "image"
        declare(m, modules=["sys"])
        assert "still run" in refused(m, do="declare", image="mine", owner=OWNER, modules="json")
        assert "still run" in refused(m, do="declare", image="two", owner=OWNER, modules="json")
        assert running.pop().end() == {"exit": 0}
        wait_for(lambda: len(images(m)) == 3, PATIENCE, "one is gone")
        declare(m, modules=["json"])
        assert [x.end() for x in running] == [{"exit": 0}] * 2
        wait_for(lambda: names(m) == ["mine"], PATIENCE, "the others are gone")


def test_bad_declarations_are_refused_with_a_reason():
    with Manager({}) as m:
        for bad, words in (({}, "no modules and no lock"), ({"modules": "a", "owner": "nobody-at-all"}, "no user"),
                           ({"modules": [1]}, "list of words"), ({"modules": ["a b"]}, "list of words"),
                           ({"modules": ["-c"]}, "names of modules"), ({"modules": "a\nb"}, "control characters"),
                           ({"modules": {"a": 1}}, "list of words"), ({"modules": "a", "memory": -1}, "whole number"),
                           ({"modules": "a", "memory": "lots"}, "accepted: a size"),
                           ({"modules": "a", "policy": "fixd:1"}, "fixed"), ({"modules": "a", "build": "now"}, "start, use"),
                           ({"modules": "a", "build_timeout": "soon"}, "accepted:"), ({"modules": "a", "interpreter": "py"}, "absolute"),
                           ({"modules": "a", "modles": "b"}, "did you mean modules"), ({"modules": "a", "path": "x" * 5000}, "path"),
                           ({"modules": "a", "lock": 1}, "lock"), ({"modules": "a", "lock": ["a==1"]}, "lock"),
                           ({"lock": ""}, "locks nothing"), ({"modules": "a", "owner": None}, "owner"),
                           ({"modules": "a", "owner": 4294967295}, "no user"), ({"modules": "a", "image": "a/b"}, "image"),
                           ({"modules": "a", "image": None}, "image"), ({"modules": "a", "image": "a@1"}, "image")):
            found = refused(m, **{"do": "declare", "image": "x", "owner": OWNER, **bad})
            assert "EINVAL" in found and words in found, (bad, found)
        assert "has no owner" in refused(m, do="declare", image="x", modules="a")
        assert names(m) == [] and not (m.directory / "state/images.json").exists()


def test_same_dependencies_are_one_image():
    with Manager({"py": {}}) as m:
        assert declare(m, "mine")["name"] == "py"
        assert declare(m, "mine", modules=["json", "tellme"])["name"] == "mine"
        assert declare(m, "mine", modules=["tellme", "json", "json"])["name"] == "mine"
        assert declare(m, "third", modules="json tellme")["name"] == "mine"
        assert declare(m, "third", modules="json tellme", owner=1000)["name"] == "third"
        assert names(m) == ["mine", "py", "third"]


def test_declared_again_with_other_dependencies_it_is_replaced():
    with Manager({}) as m:
        declare(m, modules=["json"], policy="always")
        m.ask(do="build", image="mine")
        x = m.run("wait.py", image="mine")
        assert x.line() == "up"
        found = declare(m, modules=["tellme"], policy="always")
        assert found["modules"] == ["tellme"] and found["uses"] == 1
        m.wait_state("resident", "mine")
        assert loads_tellme(m, "mine") == ("image", "True")
        assert [i["retired"] for i in images(m)] == [False, True], "its child still runs"
        listed = m.hearth("image", "ls")
        assert listed.returncode == 0 and "retired: it ends with" in listed.stdout
        assert x.end() == {"exit": 0}
        wait_for(lambda: names(m) == ["mine"] and len(m.cgroups("image")) == 1, PATIENCE, "the old one is gone")


def test_declared_images_outlive_the_manager():
    with Manager({}) as m:
        declare(m, "a", modules=["tellme"], build="start", memory="2G", policy="always")
        declare(m, "b", modules=["json"])
        declare(m, "c", modules=["ast"], lock="x==1 # why\n", owner=1000)
        m.ask(do="forget", image="b")
        before = {image["name"]: image for image in m.ask(do="ls")["images"]}
        m.stop(signal.SIGKILL)
        m.start()
        m.wait_state("resident", "a")
        after = {image["name"]: image for image in m.ask(do="ls")["images"]}
        for key in "owner", "key", "modules", "policy", "locked", "declared", "interpreter":
            assert [i[key] for i in before.values()] == [i[key] for i in after.values()], key
        assert (m.directory / "state/images.json").stat().st_mode & 0o777 == 0o600
        m.stop()
        m.config.write_text(m.config.read_text() + f"[image a]\nowner = {OWNER}\nmodules = json\n")
        m.start()
        assert m.show("a")["modules"] == ["json"] and m.show("a")["declared"] == "config"
        assert "image a: uid" in (m.directory / "log").read_text()


def test_declared_image_that_the_configuration_hides_is_not_lost():
    with Manager({}) as m:
        def section(name, modules):
            return f"[image {name}]\nowner = {OWNER}\nmodules = {modules}\npath = {m.directory}\n"

        def begin(text, how):
            m.config.write_text(text)
            if how == "restart":
                m.stop()
                m.start()
                return
            log = m.directory / "log"
            said = log.read_text().count("read again")
            m.process.send_signal(signal.SIGHUP)
            wait_for(lambda: log.read_text().count("read again") > said, PATIENCE, "reloaded")

        head = m.config.read_text()
        declare(m, "a", modules=["json"])
        for how in "restart", "reload":
            begin(head + section("a", "ast") + section("twin", "json"), how)
            assert (m.show("a")["declared"], m.show("a")["modules"]) == ("config", ["ast"])
            assert (m.directory / "log").read_text().count(f"image a: uid {OWNER} had declared it") == 1 + (how == "reload")
            declare(m, f"other-{how}", modules=[how])
            begin(head, how)
            assert (m.show("a")["declared"], m.show("a")["modules"]) == ("api", ["json"])
            assert names(m)[0] == "a" and f"other-{how}" in names(m)
        begin(head + section("twin", "json"), "restart")
        assert names(m) == ["a", "other-reload", "other-restart", "twin"]
        assert "image a: the same as image twin" in (m.directory / "log").read_text(), "told, and left to the owner"


def test_damaged_file_of_declared_images_is_set_aside():
    with Manager({}) as m:
        state = m.directory / "state/images.json"
        declare(m, "a")
        declare(m, "b", modules=["json"])
        good = json.loads(state.read_text())
        broken = json.loads(state.read_text())
        broken["images"][0]["policy"] = "fixd:1"
        for text, left in ((state.read_text()[:-5], []), ("", []), ("[]", []), ('{"version":2,"images":[]}', []),
                           ('{"version":1,"images":{}}', []), ("\0" * 10, []), (json.dumps(broken), ["b"]),
                           ('{"version":1,"images":[7,null,{}]}', []), (json.dumps(good), ["a", "b"])):
            m.stop()
            for aside in state.parent.glob("*damaged*"):
                aside.unlink()
            state.write_text(text)
            m.start()
            assert names(m) == left, text
            kept = list(state.parent.glob("images.json.damaged-*"))
            assert len(kept) == (text != json.dumps(good)), text
            assert not kept or kept[0].read_text() == text and str(kept[0]) in (m.directory / "log").read_text()


def test_declared_what_cannot_be_saved_is_told():
    with Manager({}, state="/proc/hearth/images.json") as m:
        assert "only until this manager ends" in refused(m, do="declare", image="x", owner=OWNER, modules="json")
        assert names(m) == ["x"]


def test_an_image_declared_and_forgotten_many_times_leaves_nothing():
    with Manager({}) as m:
        for i in range(30):
            declare(m, modules=["tellme", f"m{i}"] if i % 2 else ["tellme"], build="start" if i % 3 == 0 else "use")
            if i % 4 == 3:
                m.ask(do="forget", image="mine")
        declare(m)
        m.ask(do="forget", image="mine")
        wait_for(lambda: not names(m) and not m.cgroups("image"), PATIENCE, lambda: f"{names(m)} {m.cgroups('image')}")
        assert json.loads((m.directory / "state/images.json").read_text()) == {"version": 1, "images": []}
        assert not list((m.directory / "run").glob("*.sock"))


def test_hearth_image_declares_and_forgets():
    with Manager({}) as m:
        install(m, "telling", "1.2.0")
        lock = m.directory / "requirements.txt"
        lock.write_text("telling==1.2.0 \\\n    --hash=sha256:00\n")
        found = m.hearth("image", "declare", "mine", "--owner", OWNER, "--lock", lock, "--path", ".", "-s", "policy=always",
                         "-s", "memory=1G", cwd=m.directory)
        assert found.returncode == 0 and "through the API" in found.stdout and "1 distributions" in found.stdout, found.stderr
        built = m.hearth("image", "build", "mine")
        assert built.returncode == 0 and loads_tellme(m, "mine") == ("image", "True"), built.stderr
        assert "users    1: f" in m.hearth("image", "show", "mine").stdout
        same = m.hearth("image", "declare", "other", "--owner", OWNER, "--lock", lock, "--path", m.directory)
        assert same.returncode == 0 and "image mine is the same" in same.stdout
        two = m.hearth("image", "declare", "two", "-o", OWNER, "-M", "json", "-M", "ast time", "--json")
        assert json.loads(two.stdout)["modules"] == ["ast", "json", "time"]
        assert m.hearth("image", "forget", "two").returncode == 0 and names(m) == ["mine"]
        lock.write_text("telling==1.2.0\ntelling>=2\n")
        for words, told in ((("--lock", lock), f"{lock}:2: 'telling>=2'; accepted: NAME==VERSION"),
                            (("--lock", "/nowhere"), "/nowhere: No such file"), (("--path", "nowhere"), "nowhere: No such file"),
                            (("--modules", "a", "--set", "memori=1"), "did you mean memory"), ((), "no modules and no lock")):
            bad = m.hearth("image", "declare", "bad", "--owner", OWNER, *words, cwd=m.directory)
            assert bad.returncode == 1 and told in bad.stderr, bad.stderr
        for words in (("build", "mine", "--lock", "/dev/null"), ("declare",), ("declare", "x", "--set", "memory"),
                      ("declare", "x", "--set", "do=run"), ("declare", "x", "--set", "lock=a==1")):
            assert m.hearth("image", *words).returncode == (1 if "/dev/null" in words else 2), words
        assert "has no owner" in m.hearth("image", "declare", "x", "--modules", "json").stderr
        assert names(m) == ["mine"]


def test_list_of_many_images_comes_in_parts():
    many = {f"image-{i}": {"modules": f"m{i} " + " ".join(f"a_rather_long_name_of_a_module_{j}" for j in range(4))}
            for i in range(250)}
    with Manager(many) as m:
        first = m.ask(do="ls")
        assert first["more"] and 0 < len(first["images"]) < 250
        second = m.ask(do="ls", skip=len(first["images"]))
        assert second["images"][0]["name"] == f"image-{len(first['images'])}"
        assert m.ask(do="ls", skip=250) == {"images": [], "more": False}
        listed = json.loads(m.hearth("image", "ls", "--json").stdout)["images"]
        assert [i["name"] for i in listed] == list(many)
        for bad in -1, "1", 1.5:
            assert "skip: accepted" in refused(m, do="ls", skip=bad)


def test_what_is_no_request_is_refused():
    with Manager({"py": {}}) as m:
        def answer_to(data, fds=()):
            call = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            call.settimeout(PATIENCE)
            call.connect(str(m.socket))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            with call:
                call.sendmsg([data], rights)
                return json.loads(call.recv(1 << 16))

        for data in b"{", b"[]", b"null", b"7", b"\0", b"\xff\xfe", b'{"do":', b'{"do":"ls"} x', b'"' + b"x" * 1000 + b'"':
            assert answer_to(data)["code"] == "EINVAL", data
        assert answer_to(b"{" * 5000)["code"] == "EINVAL"
        assert answer_to(b'{"do":"ls","x":"' + b"x" * (170 << 10) + b'"}')["code"] == "EMSGSIZE"
        for names_of, count in ((["stdin"], 0), ([], 1), (["stdin", "stdin"], 2), (["stdwhat"], 1), ([1], 1), ("stdin", 1), ({}, 1)):
            for do in "run", "declare", "ls":
                found = answer_to(json.dumps({"do": do, "image": "py", "fds": names_of, "function": "f", "argv": ["x"]}).encode(),
                                  [0] * count)
                assert found["code"] == "EINVAL" and "fds" in found["error"], (names_of, count, do, found)
        assert answer_to(b'{"do":"ls"}', [0] * 5)["code"] in ("EMSGSIZE", "EINVAL")
        assert m.show()["uses"] == 0
        assert len(os.listdir(f"/proc/{m.process.pid}/fd")) < 30, "descriptors that came along are closed"


def test_two_functions_that_share_an_image_have_it_built():
    with Manager({"py": {"policy": "always"}}) as m:
        assert m.run("seven.py", function="a").end() == {"exit": 7} and m.show()["state"] == "none"
        assert m.run("seven.py", function="b").end() == {"exit": 7}
        m.wait_state("resident")
        assert m.show()["users"] == 2
