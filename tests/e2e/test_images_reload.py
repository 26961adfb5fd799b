# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Images while the configuration is read again: added, changed, removed, and under a storm of requests."""
import os
import random
import signal
import threading

from harness import wait_for
from images import OWNER, PATIENCE, Manager, Refused, refused
from test_images_declared import declare, images, names


def reload(m, text=None):
    """Sends SIGHUP and waits for what the manager says to it."""
    log = m.directory / "log"
    size = log.stat().st_size
    if text is not None:
        m.config.write_text(text)
    m.process.send_signal(signal.SIGHUP)
    wait_for(lambda: any(words in log.read_text()[size:] for words in ("read again", "stay as they were")), PATIENCE,
             lambda: log.read_text()[size:])
    return log.read_text()[size:]


def section(name, **keys):
    return f"[image {name}]\n" + "".join(f"{key} = {value}\n" for key, value in {"owner": OWNER, **keys}.items())


def test_reload_adds_changes_and_removes_images():
    with Manager({}) as m:
        head = m.config.read_text()
        path = {"path": m.directory, "policy": "always"}
        kept, gone = section("kept", modules="tellme", **path), section("gone", modules="json", **path)
        said = reload(m, head + kept + gone + section("old", modules="ast", **path))
        assert "3 images added, 0 changed, 0 removed" in said and names(m) == ["gone", "kept", "old"], said
        for name in "kept", "gone", "old":
            m.ask(do="build", image=name)
        pids = {name: m.show(name)["pid"] for name in ("kept", "gone", "old")}
        declare(m, "mine", modules=["time"])
        said = reload(m, head + kept + section("old", modules="tellme json", **path) + section("new", modules="sys", **path))
        assert "1 images added, 1 changed, 1 removed" in said, said
        m.wait_state("resident", "old")
        assert m.show("kept")["pid"] == pids["kept"] and m.show("old")["pid"] != pids["old"]
        assert m.show("old")["modules"] == ["json", "tellme"]
        wait_for(lambda: names(m) == ["kept", "mine", "new", "old"] and len(m.cgroups("image")) == 2, PATIENCE,
                 lambda: f"{names(m)} {m.cgroups('image')}")
        said = reload(m)
        assert "0 images added, 0 changed, 0 removed" in said and m.show("kept")["pid"] == pids["kept"]


def test_reload_of_a_bad_configuration_changes_nothing():
    with Manager({"py": {"policy": "always"}}) as m:
        good = m.config.read_text()
        pid = m.ask(do="build", image="py")["pid"]
        for bad, words in (("[image x]\nowner = 0\n", "has no modules"), ("[imag x]\na = 1\n", "unknown section")):
            said = reload(m, good + bad)
            assert words in said and "the images stay as they were" in said
            assert m.show()["pid"] == pid and names(m) == ["py"]
        m.config.unlink()
        assert "No such file" in reload(m)
        said = reload(m, good.replace(str(m.socket), str(m.directory / "elsewhere.sock")))
        assert "take a restart" in said and m.show()["pid"] == pid


def test_reload_that_removes_an_image_waits_for_its_children():
    with Manager({"py": {"policy": "always", "freeze_after": "1s", "spares": "2"}}) as m:
        good = m.config.read_text()
        m.ask(do="build", image="py")
        x = m.run("wait.py")
        assert x.line() == "up" and x.started["from"] != "cold"
        pid = m.show()["pid"]
        reload(m, good.split("[image")[0])
        assert "no image" in refused(m, do="run", image="py", function="f", argv=["x"])
        [found] = images(m)
        assert found["retired"] and found["children"] == 1 and found["pid"] == pid
        os.kill(pid, 0)
        wait_for(lambda: images(m)[0]["state"] == "frozen", PATIENCE, "it is paged out meanwhile")
        assert images(m)[0]["spares"] == 0
        reload(m, good)
        assert m.show()["retired"] is False and m.show()["pid"] == 0
        m.ask(do="build", image="py")
        again = m.run("seven.py")
        assert again.started["from"] != "cold" and again.end() == {"exit": 7}
        assert x.end() == {"exit": 0}
        wait_for(lambda: len(images(m)) == 1 and len(m.cgroups("image")) == 1, PATIENCE, "the old one ended")
        assert m.show()["state"] == "resident"


def test_logs_of_images_that_were_replaced_are_shown_and_go_with_them():
    with Manager({}) as m:
        def logs():
            return sorted(path.name for path in (m.directory / "run").iterdir() if path.suffix == ".log")

        running = []
        for modules in "tellme", "json", "ast":
            declare(m, modules=modules, policy="always")
            m.ask(do="build", image="mine")
            running.append(m.run("wait.py", image="mine"))
            assert running[-1].line() == "up"
        assert logs() == ["mine.log", "mine@1.log", "mine@2.log"]
        assert f"log      {m.directory}/run/mine@2.log" in m.hearth("image", "show", "mine").stdout
        listed = m.hearth("image", "ls").stdout
        assert all(f"last of its children, log {m.directory}/run/{log}" in listed for log in logs()[:2]), listed
        assert running[1].end() == {"exit": 0}
        wait_for(lambda: logs() == ["mine.log", "mine@2.log"], PATIENCE, logs)
        other = m.directory / "run/notes@home.log"
        other.touch()
        m.stop(signal.SIGKILL)
        m.start()
        assert logs() == ["mine.log", other.name], "of no image any more, but not others' files"
        for x in running[0], running[2]:
            os.close(x.stdin)


def test_reload_while_an_image_is_built_and_while_it_is_frozen():
    with Manager({"slow": {"modules": "slow"}, "cold": {"freeze_after": "50ms", "policy": "always"}}) as m:
        pending = m.call(do="build", image="slow")
        m.wait_state("building", "slow")
        m.ask(do="build", image="cold")
        m.wait_state("frozen", "cold")
        reload(m, m.config.read_text().split("[image")[0])
        wait_for(lambda: not images(m) and not m.cgroups("image"), PATIENCE, "both are gone")
        try:
            pending.answer()
            raise AssertionError("built all the same")
        except Exception as error:
            assert "ECHILD" in str(error)
        m.stop()
        assert m.process is None


def storm(m, seed, rounds=30):
    """Requests at random, as they come; only refusals are expected."""
    choose = random.Random(seed)
    for _ in range(rounds):
        name = choose.choice("abc")
        what = choose.choice(["declare", "declare", "forget", "run", "run", "run", "build", "evict", "show", "ls"])
        try:
            if what == "declare":
                declare(m, name, modules=choose.sample(["tellme", "json", "ast", "broken", "time"], choose.randint(1, 3)),
                        build=choose.choice(["start", "use"]), freeze_after=choose.choice(["20ms", "1s"]),
                        spares=choose.choice([0, 1]), policy=choose.choice(["always", "fixed:100ms"]))
            elif what == "run":
                x = m.run("seven.py", image=name, function=choose.choice("fgh"))
                assert x.end() == {"exit": 7}
            else:
                m.ask(do=what, image=name)
        except Refused:
            pass


def test_storm_of_requests_and_reloads_leaves_nothing():
    with Manager({}, declare_max=4) as m:
        head, failed = m.config.read_text(), []

        def work(seed):
            try:
                storm(m, seed)
            except Exception as error:
                failed.append(repr(error))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
        for thread in threads:
            thread.start()
        for i in range(8):
            reload(m, head + (section("cfg", modules="tellme", path=m.directory, build="start") if i % 2 else "")
                   + (section("a", modules="json") if i % 4 == 2 else ""))
        for thread in threads:
            thread.join()
        assert not failed and m.process.poll() is None, failed
        reload(m, head)
        for name in set(names(m)):
            try:
                m.ask(do="forget", image=name)
            except Refused as error:
                assert "ENOENT" in str(error), "it had been retired before"
        wait_for(lambda: not names(m) and not m.cgroups("image") and not m.cgroups("fn"), PATIENCE,
                 lambda: f"{images(m)} {m.cgroups('image')} {m.cgroups('fn')}")
        assert not list((m.directory / "run").glob("*.sock"))
        m.stop()
