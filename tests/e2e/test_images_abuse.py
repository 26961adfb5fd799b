# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What one user sends to the image manager is no trouble to it, to other users, or to root."""
import array
import os
import resource
import signal
import socket
import struct
import subprocess

from harness import wait_for
from images import OWNER, PATIENCE, Call, Manager, Refused, as_user, refused
from zygote import sleeps

OTHER = 1000


def connect(m):
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    conn.settimeout(PATIENCE)
    conn.connect(str(m.socket))
    return conn


def rights(*fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]


def count_fds(m):
    return len(os.listdir(f"/proc/{m.process.pid}/fd"))


def lingering():
    """A socket of which the last close() waits for a peer that does not read."""
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs = listener.accept()[0]
    listener.close()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(1 << 16))
    except BlockingIOError:
        return ours, theirs


def test_an_empty_message_leaves_no_descriptors_behind():
    with Manager({"py": {}}) as m:
        before = count_fds(m)
        for _ in range(50):
            with connect(m) as conn:
                conn.sendmsg([b""], rights(0, 1, 2))
                assert conn.recv(1) == b"", "it hangs up"
        wait_for(lambda: count_fds(m) <= before, PATIENCE, lambda: f"{count_fds(m)} descriptors, {before} before")


def test_descriptors_that_are_slow_to_close_hold_up_nobody():
    def send(count, second):
        ours, theirs = lingering()
        conn = connect(m)
        m.process.send_signal(signal.SIGSTOP)
        try:
            if second:
                conn.send(b"{}")
            conn.sendmsg([b'{"do":"ls","fds":["stdin"]}'], rights(*[ours.fileno()] * count))
            ours.close()  # not the last: there is one on its way
        finally:
            os.kill(m.process.pid, signal.SIGCONT)
        kept.append((conn, theirs))

    def attack():
        for count, second in ((1, False), (100, False), (1, True)):
            send(count, second)
        m.ask(do="ls")
        return "answers"

    kept = []
    with Manager({"py": {}}) as m:
        assert as_user(OWNER, attack) == "answers"
        assert m.show()["state"] == "none"


def test_what_is_no_cgroup_is_not_waited_for():
    def attack():
        folder = m.directory / "open/false"
        folder.mkdir()
        for name in "cgroup.events", "cgroup.procs":
            os.mkfifo(folder / name)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        call = m.call([fd], do="run", image="py", function="f", argv=["said.py"], fds=["cgroup"])
        try:
            call.answer()
        except Refused as error:
            return str(error)

    with Manager({"py": {}}) as m:
        (m.directory / "open").mkdir()
        (m.directory / "open").chmod(0o777)
        assert "EACCES: cgroup: not one" in as_user(OWNER, attack)


def test_a_user_with_many_connections_leaves_room_for_others():
    def attack():
        held = [connect(m) for _ in range(600)]
        refusals = [conn.recv(1000) for conn in held[512:]]
        os.write(told, b"x")
        os.read(go_on, 1)
        return str({b"EUSERS" in text for text in refusals})

    with Manager({"py": {}}) as m:
        tell, told = os.pipe()
        go_on, let = os.pipe()
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                os.write(writer, as_user(OWNER, attack).encode())
            finally:
                os._exit(0)
        os.close(told)
        os.close(writer)
        os.read(tell, 1)
        assert m.show()["state"] == "none"
        assert as_user(OTHER, lambda: str(m.ask(do="ls")["images"])) == "[]"
        os.write(let, b"x")
        found = os.read(reader, 1000)
        assert found == b"{True}", found
        os.wait()


def test_a_manager_at_its_limit_of_descriptors_neither_ends_nor_spins():
    with Manager({"py": {}}) as m:
        limits = resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE)
        limit = max(int(fd) for fd in os.listdir(f"/proc/{m.process.pid}/fd")) + 4
        resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE, (limit, limits[1]))
        waiting = [connect(m) for _ in range(20)]
        wait_for(lambda: "who connects waits" in (m.directory / "log").read_text(), PATIENCE, "told")
        wait_for(lambda: sleeps(m.process.pid), PATIENCE, "it waits")
        for conn in waiting:
            conn.close()
        assert m.show()["state"] == "none"
        with connect(m) as conn:
            conn.sendmsg([b'{"do":"ls","fds":["stdin"]}'], rights(*[0] * 100))
            assert b"EMSGSIZE" in conn.recv(1000)


def test_an_instance_that_closes_its_stdout_ends_the_pipe_of_its_caller():
    with Manager({"py": {}}) as m:
        (m.directory / "closes.py").write_text("import os, sys\nos.close(1), os.close(2)\nsys.stdin.read()\n")
        for state in "none", "resident":
            if state == "resident":
                m.ask(do="build", image="py")
            x = m.run("closes.py")
            assert x.line() == "" and m.show()["running"] == 1, "it runs on"
            assert x.end() == {"exit": 0}


# A module that takes the image's socket over, and says it has forked a process that is another's.
LIAR = '''
import array, os, select, socket, struct
REPLY = struct.Struct("IIiiIIQ256s")
REQUEST, INFO, FORKED, READY, STARTED, FAILED, SPARE, WAITING = range(1, 9)
victim = int(open(os.path.dirname(__file__) + "/victim").read())

def say(conn, kind, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    conn.sendmsg([REPLY.pack(kind, 1, 0, victim, 1, 3, 0, b"")], rights)

def answer(conn):
    asked = conn.recv(1 << 18)
    kind = struct.unpack_from("I", asked)[0] if asked else 0
    if kind == INFO:
        say(conn, READY)
    elif kind:
        say(conn, FORKED, [os.pidfd_open(victim)])
        say(conn, WAITING if kind == SPARE else STARTED)
    return kind

def heard(conn):
    try:
        return answer(conn)
    except ConnectionError:  # it was not believed before it had said all of it
        return 0

listener = socket.socket(fileno=3)
open_ones = [listener]
while True:
    for s in select.select(open_ones, [], [])[0]:
        if s is listener:
            open_ones.append(s.accept()[0])
        elif not heard(s):
            open_ones.remove(s)
            s.close()
'''


def liar(m):
    """Of whom it lies: a process of root's."""
    victim = subprocess.Popen(["/bin/sleep", "3600"])
    (m.directory / "victim").write_text(str(victim.pid))
    (m.directory / "liar.py").write_text(LIAR)
    m.ask(do="build", image="py")
    return victim


def test_an_image_that_names_another_process_as_an_instance_is_not_believed():
    with Manager({"py": {"modules": "liar", "policy": "always"}}) as m:
        victim = liar(m)
        try:
            x = m.run("seven.py")
            assert x.started["pid"] != victim.pid and "no child of its owner's" in x.started["why"], x.started
            ended = x.end()
            assert (x.started["from"], ended) == ("cold", {"exit": 7}), (x.started, ended)
            assert m.show()["children"] == 0
        finally:
            victim.kill()
            victim.wait()


def test_an_image_that_names_another_process_as_a_spare_does_not_have_it_killed():
    def dealt_with():
        return "no child of its owner's" in (m.directory / "log").read_text() or m.show()["spares"]

    with Manager({"py": {"modules": "liar", "policy": "always", "spares": 1}}) as m:
        victim = liar(m)
        try:
            wait_for(dealt_with, PATIENCE, m.show)
            m.ask(do="evict", image="py")
            m.wait_state("none")
            assert victim.poll() is None, "it was killed by root, for the owner of an image"
        finally:
            victim.kill()
            victim.wait()


def test_what_a_module_says_last_is_told_whatever_bytes_it_has():
    words = {"bytes": "b'\\xff\\xc3(\\x1b[31m end'", "cut": "('é' * 300).encode()", "far": "b'x' + ('é' * 300).encode()"}
    with Manager({name: {"modules": name} for name in words}) as m:
        for name, text in words.items():
            (m.directory / f"{name}.py").write_text(f"import os\nos.write(2, {text})\nos._exit(1)\n")
            why = refused(m, do="build", image=name)
            assert "ended" in why and m.show(name)["error"] in why, why
        assert "??(?[31m end" in m.show("bytes")["error"]
        assert "éé" in m.show("cut")["error"] and len(m.ask(do="ls")["images"]) == 3


def test_images_that_are_gone_leave_no_files():
    with Manager({}) as m:
        for i in range(3):
            m.ask(do="declare", image=f"x{i}", owner=OWNER, modules="tellme", path=str(m.directory))
            m.ask(do="build", image=f"x{i}")
            assert (m.directory / f"run/x{i}.log").exists()
            m.ask(do="forget", image=f"x{i}")
        wait_for(lambda: not list((m.directory / "run").iterdir()), PATIENCE, lambda: list((m.directory / "run").iterdir()))


def test_a_log_that_grows_is_cut_to_its_end():
    with Manager({"py": {}}) as m:
        (m.directory / "chatty.py").write_text("import time\nfor _ in range(20):\n    print('x' * (1 << 20))\n"
                                               "print('the end', flush=True)\ntime.sleep(3600)\n")
        m.ask(do="build", image="py")
        pid = m.ask(do="run", image="py", function="f", argv=[str(m.directory / "chatty.py")])["pid"]
        log = m.directory / "run/py.log"
        wait_for(lambda: log.stat().st_size < 1 << 20 and log.read_text().endswith("the end\n"), PATIENCE,
                 lambda: log.stat().st_size)
        os.kill(pid, signal.SIGKILL)


def test_starts_of_one_owner_wait_up_to_a_number():
    with Manager({}) as m:
        sleeper = m.directory / "sleeper"
        sleeper.write_text("#!/bin/sh\n[ \"$1\" = -c ] || exec sleep 3600\n")
        sleeper.chmod(0o755)
        m.stop()
        m.config.write_text(m.config.read_text() + "".join(
            f"[image slow-{i}]\nowner = {OWNER}\nmodules = m{i}\ninterpreter = {sleeper}\nbuild = start\n" for i in range(64)))
        m.start()
        for i in range(1024):
            if i % 128 == 0:
                m.ask(do="ls")  # the manager has taken those before
            Call(m.socket, {"do": "run", "image": "slow-0", "function": "f", "argv": ["x.py"]}).close()
        try:
            m.ask(do="run", image="slow-0", function="f", argv=["x.py"])
            raise AssertionError("it waits, too")
        except Refused as error:
            assert "EUSERS: 1024 starts" in str(error)


def test_a_refusal_is_told_though_it_cuts_a_word_of_the_request():
    with Manager({"py": {}}) as m:
        for name in "é" * 40, "x" + "é" * 40:
            assert "ENOENT: no image" in refused(m, do="show", image=name)
