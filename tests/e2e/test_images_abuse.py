# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What one user sends to the image manager is no trouble to it, to other users, or to root."""
import array
import os
import signal
import socket
import struct

from harness import wait_for
from test_images import OWNER, PATIENCE, Call, Manager, Refused, as_user, refused

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


def test_an_instance_that_closes_its_stdout_ends_the_pipe_of_its_caller():
    with Manager({"py": {}}) as m:
        (m.directory / "closes.py").write_text("import os, sys\nos.close(1), os.close(2)\nsys.stdin.read()\n")
        for state in "none", "resident":
            if state == "resident":
                m.ask(do="build", image="py")
            x = m.run("closes.py")
            assert x.line() == "" and m.show()["running"] == 1, "it runs on"
            assert x.end() == {"exit": 0}
