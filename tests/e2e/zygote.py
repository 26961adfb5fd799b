# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Images for tests and benchmarks, and a client that speaks the wire protocol of hearth/zygote.h itself."""
import array
import errno
import itertools
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tools"))
from hearth_host import BUILD, REPO, SLOW  # noqa: E402

BOOTSTRAP = REPO / "user/zygote/python/hearth_zygote.py"
LIBRARY = BUILD / "libhearth-zygote.so.1"
NODE = (REPO / "user/zygote/node/hearth_zygote.js", BUILD / "hearth_zygote.node")
PYTHON = "/usr/bin/python3"
REQUEST, INFO, FORKED, READY, STARTED, FAILED, SPARE, WAITING = range(1, 9)
SET_IDS, NO_NEW_PRIVS, SET_ENV, SET_DIR = 1, 2, 4, 8
WIRE = struct.Struct("12I")
REPLY = struct.Struct("IIiiIIQ256s")
PATIENCE = 20 * SLOW
_serial = itertools.count(1)


def sleeps(pid):
    """Does this process wait, for a while on end?"""
    for _ in range(20):
        if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            return False
        time.sleep(0.001)
    return True


class Failed(Exception):
    """FAILED, or an end without a word (ECONNRESET)."""

    def __init__(self, error, text):
        super().__init__(f"{errno.errorcode.get(error, error)}: {text}")
        self.errno, self.text = error, text


def wire(type=REQUEST, protocol=1, flags=0, fds=0, n_extra=0, namespaces=0, uid=0, gid=0, n_filter=0, argc=0, n_env=0):
    return WIRE.pack(type, protocol, flags, fds, n_extra, namespaces, uid, gid, n_filter, argc, n_env, 0)


class Conversation:
    """One connection: what is sent and what comes back, in the order of its kinds."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self.early = []

    def send(self, data, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.socket.sendmsg([data], rights)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have said why: see receive()

    def _next(self):
        for _ in range(2):
            try:
                data, rights, _, _ = self.socket.recvmsg(REPLY.size, socket.CMSG_SPACE(4))
                break
            except ConnectionResetError:
                data = b""
        if not data:
            raise Failed(errno.ECONNRESET, "it ended without a word")
        kind, _, error, pid, threads, n_fds, forks, text = REPLY.unpack(data)
        fds = array.array("i", rights[0][2][:4]) if rights else [-1]
        text = text.partition(b"\0")[0].decode()
        return {"kind": kind, "error": error, "pid": pid, "threads": threads, "fds": n_fds, "forks": forks,
                "text": text, "pidfd": fds[0]}

    def receive(self, kind):
        """The reply of this kind; one of the instance may come before the image's."""
        while True:
            found = next((r for r in self.early if r["kind"] == kind or r["kind"] == FAILED and kind == STARTED), None)
            if found:
                self.early.remove(found)
            else:
                found = self._next()
            if found["kind"] == FAILED and (kind != FORKED or not found["pid"]):
                raise Failed(found["error"], found["text"])
            if found["kind"] == kind:
                return found
            self.early.append(found)

    def close(self):
        self.socket.close()


class Instance:
    """pid and pidfd; it is reaped here if the image's parent is this process."""

    def __init__(self, talk, reply):
        self.talk, self.pid, self.pidfd = talk, reply["pid"], reply["pidfd"]

    def started(self):
        try:
            self.talk.receive(STARTED)
        finally:
            self.talk.close()
        return self

    def wait(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.pidfd)
        return status

    def kill(self):
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        return self.wait()


def ask_spare(path, cgroup):
    """An Instance that waits; its .talk is what it is claimed by, in the place of a path."""
    talk = Conversation(path)
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    talk.send(wire(SPARE, fds=1), [fd])
    os.close(fd)
    spare = Instance(talk, talk.receive(FORKED))
    talk.receive(WAITING)
    return spare


def ask(path, argv, cgroup=None, pidfd=None, stdio=(None, None, None), extra=(), env=None, directory=None,
        ids=None, no_new_privs=False, filter=b"", namespaces=0):
    """Sends a request; returns the Conversation."""
    fds, bits = [], 0
    cgroup_fd = None if cgroup is None else os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    for bit, fd in enumerate((cgroup_fd, pidfd, *stdio)):
        if fd is not None:
            bits |= 1 << bit
            fds.append(fd)
    flags = (SET_IDS if ids else 0) | (NO_NEW_PRIVS if no_new_privs else 0) | \
        (SET_ENV if env is not None else 0) | (SET_DIR if directory else 0)
    strings = list(argv) + [f"{k}={v}" for k, v in (env or {}).items()] + ([directory] if directory else [])
    uid, gid = ids or (0, 0)
    head = wire(flags=flags, fds=bits, n_extra=len(extra), namespaces=namespaces, uid=uid, gid=gid,
                n_filter=len(filter) // 8, argc=len(argv), n_env=len(env or {}))
    talk = path if isinstance(path, Conversation) else Conversation(path)
    talk.send(head + filter + b"".join(os.fsencode(str(s)) + b"\0" for s in strings), fds + list(extra))
    if cgroup_fd is not None:
        os.close(cgroup_fd)
    return talk


def fork(path, argv, **request):
    """An Instance, once it is forked."""
    talk = ask(path, argv, **request)
    try:
        return Instance(talk, talk.receive(FORKED))
    except BaseException:
        talk.close()
        raise


class Image:
    """A process that serves at self.path; its stderr goes to a file. Instances are children of this process.

    first: a client's Conversation from before the process runs, which may be gone before another can begin.
    """

    def __init__(self, directory, argv=None, modules=(), cgroup=None, **options):
        self.path = pathlib.Path(directory) / f"{next(_serial)}.sock"
        self.log = self.path.with_suffix(".log")
        argv = argv or [PYTHON, BOOTSTRAP, *modules]
        env = dict(os.environ, HEARTH_ZYGOTE_LIB=str(LIBRARY), PYTHONPATH=str(directory), **options.pop("env", {}))
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.path))
        self.listener.listen(128)
        self.first = Conversation(self.path)
        env["HEARTH_ZYGOTE_FD"] = str(self.listener.fileno())

        def join():
            if cgroup:
                (pathlib.Path(cgroup) / "cgroup.procs").write_text("0")

        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(a) for a in argv], env=env, stderr=log, pass_fds=[self.listener.fileno()],
                                            preexec_fn=join, **options)
        self.listener.close()

    def ready(self):
        """What READY says; Failed with the reason if it cannot serve."""
        talk, self.first = self.first or Conversation(self.path), None
        talk.send(wire(INFO))
        try:
            return talk.receive(READY)
        finally:
            talk.close()

    def fork(self, argv, **request):
        return fork(self.path, argv, **request)

    def end(self):
        self.process.kill()
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
