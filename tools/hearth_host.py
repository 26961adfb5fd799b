# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the end-to-end tests and the demo share: cgroups and a hearthd of their own.

Everything is made below one directory (Subtree) and one pin directory, and
close() leaves neither behind, whatever state the processes in them are in.
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("HEARTH_BUILD", REPO / "build"))
BPFFS = pathlib.Path("/sys/fs/bpf")
SLOW = float(os.environ.get("HEARTH_TEST_SLOW", "1"))  # deadlines are stretched by this on slow machines


def cgroup2_root():
    """The mount point of the cgroup v2 hierarchy, also on hybrid hosts."""
    for line in open("/proc/self/mountinfo"):
        fields, _, tail = line.partition(" - ")
        if tail.split()[0] == "cgroup2":
            return pathlib.Path(fields.split()[4])
    raise RuntimeError("no cgroup2 mount in /proc/self/mountinfo")


def wait_for(condition, seconds=10.0, what=None):
    """Polls until condition() is true and returns its value; fails after the deadline."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise AssertionError(f"not within {seconds * SLOW:g} s: {said or condition.__name__}")
        time.sleep(0.005)


class Subtree:
    """One directory of our own below the cgroup2 root."""

    def __init__(self, name):
        self.root = cgroup2_root()
        self.name = name
        self.path = self.root / name
        self.path.mkdir()

    def make(self, relative):
        path = self.path / relative
        path.mkdir(parents=True, exist_ok=True)
        return path

    def spawn(self, relative, argv, **options):
        """Starts argv, which joins the cgroup between fork and exec."""
        procs = str(self.make(relative) / "cgroup.procs")

        def join():
            with open(procs, "w") as file:
                file.write("0")

        return subprocess.Popen([str(a) for a in argv], preexec_fn=join, **options)

    def frozen(self, relative):
        events = (self.path / relative / "cgroup.events").read_text()
        return "frozen 1" in events

    def freeze(self, relative, value):
        (self.path / relative / "cgroup.freeze").write_text(f"{value}\n")

    def kill(self, relative):
        """SIGKILL to every process below, frozen or not; a cgroup that is gone is fine."""
        try:
            (self.path / relative / "cgroup.kill").write_text("1\n")
        except FileNotFoundError:
            pass

    def all(self):
        """Every cgroup of the subtree, children before their parents."""
        return [pathlib.Path(d) for d, _, _ in os.walk(self.path, topdown=False)]

    def remove(self, relative):
        for directory in [pathlib.Path(d) for d, _, _ in os.walk(self.path / relative, topdown=False)]:
            self._clear(directory)

    def _clear(self, directory):
        def gone():
            try:
                directory.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return False
            return True

        if directory.exists():
            (directory / "cgroup.freeze").write_text("0\n")
            self.kill(directory)
            wait_for(gone, 10, f"rmdir {directory}")

    def close(self):
        self.remove(".")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the agent's Unix socket."""

    def __init__(self, path, timeout=10 * SLOW):
        super().__init__("hearth", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Hearthd:
    """A hearthd with a config, socket, state and pin directory of its own."""

    def __init__(self, name, directory, config, env=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.socket = self.directory / "hearth.sock"
        self.pins = BPFFS / name
        self.state = self.directory / "state"
        self.config = self.directory / "hearth.conf"
        self.log_path = self.directory / "hearthd.log"
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.write_config(config)

    def write_config(self, config):
        """config: {section: {key: value}}; [agent] gets the private paths, and no port."""
        agent = {"socket": self.socket, "state_dir": self.state, "pin_dir": self.pins, "metrics": "off",
                 "images_socket": self.directory / "images.sock"}
        sections = dict(config, agent={**agent, **config.get("agent", {})})
        lines = []
        for section, keys in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {value}" for key, value in keys.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, seconds=20):
        self.process = subprocess.Popen([BUILD / "hearthd", "--config", self.config], env=self.env,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                                        stdout=open(self.log_path, "ab"), start_new_session=True)
        wait_for(self.answers, seconds, lambda: f"hearthd does not answer; its log ends:\n{self.log(20)}")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"hearthd ended with {self.process.returncode}:\n{self.log(20)}")
        try:
            return self.api("GET", "/v1/status")[0] == 200
        except OSError:
            return False

    def log(self, lines=200):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def api(self, method, path, body=None):
        """(status, decoded JSON or None)"""
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            reply = connection.getresponse()
            data = reply.read()
            return reply.status, json.loads(data) if data else None
        finally:
            connection.close()

    def cli(self, *arguments, check=True):
        done = subprocess.run([BUILD / "hearth", "--socket", self.socket, *arguments],
                              capture_output=True, text=True, timeout=20 * SLOW)
        if check and done.returncode != 0:
            raise AssertionError(f"hearth {' '.join(arguments)}: {done.returncode}: {done.stderr}")
        return done

    def functions(self):
        status, data = self.api("GET", "/v1/functions")
        assert status == 200, (status, data)
        return {f["name"]: f for f in data["functions"]}

    def cpu_seconds(self):
        """User and system time so far, with the guard's."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(fields[i]) for i in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")

    def stop(self, sig=signal.SIGTERM, seconds=10):
        """Ends the agent and returns its status; SIGKILL if it does not listen."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"hearthd did not end within {seconds} s of signal {sig}") from None
        finally:
            self.process = None

    def uninstall(self):
        return subprocess.run([BUILD / "hearthd", "--uninstall", "--config", self.config],
                              capture_output=True, text=True, timeout=20 * SLOW, env=self.env)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        try:
            self.stop()
        finally:
            done = self.uninstall()
            shutil.rmtree(self.directory, ignore_errors=True)
            if self.pins.exists():
                shutil.rmtree(self.pins, ignore_errors=True)
                raise AssertionError(f"hearthd --uninstall left {self.pins}: {done.stderr.strip()}")
