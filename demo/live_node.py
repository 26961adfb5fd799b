# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The platform of demo/live: functions, the supervisor that starts their instances, requests, memory.

An instance is a process in a cgroup of its own. A request that finds none
waits until the supervisor has started one. Only hearthd ends an instance.
"""
import asyncio
import os
import pathlib
import subprocess
import time

from hearth_host import Hearthd, Subtree

PROGRAM = pathlib.Path(__file__).resolve().parent / "functions/live.py"
TRIES = 5
TIMEOUT_S = 60


class Function:
    def __init__(self, node, name, *arguments):
        self.node, self.name, self.arguments = node, name, [str(a) for a in arguments]
        self.execution_s = arguments[1]
        self.instance = None
        self.serial = 0

    async def living(self):
        """An instance that listens, and whether it had to be waited for."""
        waited = False
        while True:
            if self.instance is None:
                self.instance = Instance(self)
            instance = self.instance
            waited |= not instance.port.done()
            await asyncio.wait([instance.port], timeout=TIMEOUT_S)
            if not instance.port.done():
                raise asyncio.TimeoutError("its instance did not listen")
            if not instance.port.result():
                raise ChildProcessError("its instance ended before it listened")
            if not instance.dead.done():
                return instance, waited


class Instance:
    """Threads make and bury the process: under load both take long, and requests must not wait for that."""

    def __init__(self, function):
        function.serial += 1
        function.node.starts += 1
        loop = asyncio.get_running_loop()
        self.function = function
        self.port, self.dead = loop.create_future(), loop.create_future()
        self.requests = 0
        self.relative = f"fn/{function.name}/{function.serial}"
        self.process = None
        self.life = asyncio.create_task(self.live())

    def spawn(self):
        cgroup = self.function.node.subtree.make(self.relative)
        self.process = subprocess.Popen(["/usr/bin/python3", "-I", "-S", PROGRAM, cgroup, *self.function.arguments],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def bury(self):
        self.process.stdout.close()
        self.process.wait()
        try:
            (self.function.node.subtree.path / self.relative).rmdir()
        except OSError:
            pass  # closing the subtree takes it

    async def live(self):
        node = self.function.node
        await asyncio.to_thread(self.spawn)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(self.process.stdout.fileno()), "rb", 0))
        words = (await reader.readline()).split()
        self.port.set_result(int(words[1]) if words else 0)
        await reader.read()  # until it ends
        if self.function.instance is self:
            self.function.instance = None
        self.dead.set_result(True)
        node.ended += 1
        node.unused += self.requests == 0
        await asyncio.to_thread(self.bury)


class Node:
    """One hearthd with its functions; several of them may share the host."""

    def __init__(self, name, directory, config, functions):
        self.name = name
        self.subtree = Subtree(f"hearth-live-{os.getpid()}-{name}")
        self.failures = []
        self.count_anew()
        self.earlier = 0
        directory = pathlib.Path(directory) / name
        directory.mkdir()
        self.fifo = directory / "prewarm"
        os.mkfifo(self.fifo)
        self.fifo_fd = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
        config = {section: dict(keys) for section, keys in config.items()}
        config["agent"] = {"mode": "manage", "attach": f"/{self.subtree.name}"}
        config["rule live"] = {"match": f"{self.subtree.name}/fn/{{function}}/{{instance}}"}
        config["policy"]["prewarm"] = f"/bin/sh -c 'echo $HEARTH_FUNCTION >{self.fifo}'"
        self.subtree.make("fn")
        self.agent = Hearthd(self.subtree.name, directory / "run", config)
        self.functions = {f.name: f for f in (Function(self, *values) for values in functions)}

    def count_anew(self):
        self.starts = self.ended = self.unused = self.raced = self.cold = 0
        self.latencies_s, self.delays_s = [], []

    def lukewarm(self):
        return sum(f["lukewarm_starts"] for f in self.agent.functions().values()) - self.earlier

    def measure_from_here(self):
        """What came before was the warm-up."""
        self.count_anew()
        self.earlier += self.lukewarm()

    def listen(self):
        asyncio.get_running_loop().add_reader(self.fifo_fd, self.on_prewarm)

    def on_prewarm(self):
        """hearthd asks for instances ahead of their requests."""
        for name in os.read(self.fifo_fd, 65536).decode().split():
            function = self.functions[name]
            if function.instance is None:
                function.instance = Instance(function)

    async def request(self, name):
        start = time.monotonic()
        cold, error = False, None
        for _ in range(TRIES):
            try:
                instance, waited = await self.functions[name].living()
                cold |= waited
                instance.requests += 1
                await asyncio.wait_for(exchange(instance.port.result()), TIMEOUT_S)
                break
            except (OSError, asyncio.TimeoutError) as caught:
                error = caught
            if isinstance(error, ConnectionError):  # it was killed just before: as if it had come later
                self.raced += 1
                cold = True
                await asyncio.wait([instance.dead], timeout=TIMEOUT_S)
        else:
            self.failures.append(f"{self.name}, {name}: {error!r}")
        self.cold += cold
        self.latencies_s.append(time.monotonic() - start)
        self.delays_s.append(self.latencies_s[-1] - self.functions[name].execution_s)

    def close(self):
        os.close(self.fifo_fd)
        try:
            self.agent.close()
        finally:
            self.subtree.close()
            for function in self.functions.values():
                if function.instance and function.instance.process:
                    function.instance.process.wait()


async def exchange(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: live\r\n\r\n")
        answer = await reader.read()
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionResetError(f"answered {answer[:40]!r}")
    finally:
        writer.close()


# ---- memory

def zram_ratio():
    """Bytes of RAM that zram needs for a byte that was swapped out."""
    stats = [[int(v) for v in p.read_text().split()] for p in pathlib.Path("/sys/block").glob("zram*/mm_stat")]
    stored, used = (sum(s[i] for s in stats) for i in (0, 2))
    return used / stored if stored else 0.0


def kept_bytes(cgroup):
    """Anonymous bytes, resident and swapped out, of all processes below."""
    resident = swapped = 0
    for procs in cgroup.glob("fn/*/*/cgroup.procs"):
        try:
            for pid in procs.read_text().split():
                fields = dict(line.split(":", 1) for line in
                              pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
                resident += int(fields["RssAnon"].split()[0]) << 10
                swapped += int(fields["VmSwap"].split()[0]) << 10
        except (OSError, KeyError):
            continue  # it ended meanwhile
    return resident, swapped


def sample_forever(cgroups, every_s, path):
    """Appends a line "seconds resident swapped ratio resident swapped ..." each time."""
    with open(path, "w") as out:
        while True:
            values = [v for cgroup in cgroups for v in kept_bytes(cgroup)]
            print(time.monotonic(), zram_ratio(), *values, file=out, flush=True)
            time.sleep(every_s)
