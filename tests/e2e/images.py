# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An image manager for tests: a cgroup, a folder, a configuration and modules of its own, and its clients."""
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
    "about.py": "import json, os, resource, sys, time\n"
                "print(json.dumps(dict(env=dict(os.environ), directory=os.getcwd(), umask=os.umask(0o22), nice=os.nice(0), zone=time.tzname, "
                "leader=os.getsid(0) == os.getpid(), groups=os.getgroups(), fds=len(os.listdir('/proc/self/fd')), "
                "signals=[l for l in open('/proc/self/status') if l[:3] in ('Sig', 'Cap')], path=sorted(set(sys.path)), "
                "limits={n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n[:7] == 'RLIMIT_'})))\n",
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
    """hearth-images with a cgroup, a folder and a configuration of its own; no image is frozen unless it says so."""

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
            sections[f"image {name}"] = {"owner": OWNER, "modules": "tellme", "path": self.directory, "freeze_after": "1h",
                                         **keys}
        self.config = self.directory / "images.conf"
        self.config.write_text("".join(f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                                       for s, keys in sections.items()))
        self.log = open(self.directory / "log", "ab")
        self.process = None
        self.calls = []
        _open.append(self)
        self.start()

    def start(self):
        log = self.directory / "log"
        size = log.stat().st_size
        self.process = subprocess.Popen([BUILD / "hearth-images", "-c", self.config], stderr=self.log)

        def up():  # not by its socket: a child of one that was killed may still have the old one
            assert self.process.poll() is None, log.read_text()
            return b"images are declared in" in log.read_bytes()[size:]

        wait_for(up, PATIENCE, lambda: f"hearth-images is up: {log.read_text()}")

    def call(self, descriptors=(), **request):
        self.calls.append(Call(self.socket, request, descriptors))
        return self.calls[-1]

    def ask(self, **request):
        return self.call(**request).answer()

    def show(self, image="py"):
        return self.ask(do="show", image=image)

    def wait_state(self, state, image="py", seconds=20):
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


def refused(m, **request):
    try:
        m.ask(**request)
    except Refused as error:
        return str(error)
    raise AssertionError(f"{request} was not refused")


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
