# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What zygote.py starts functions by: processes of its own, and spares of hearth-images."""
import os
import pathlib
import sys
import time

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests/e2e"))
from harness import wait_for  # noqa: E402
from images import Manager  # noqa: E402

PAUSE_S = 0.3  # a move into a cgroup costs nothing for some ten ms after another one
NODE = "/usr/bin/node"
NODE_ARMS = ("cold", "spare", "spare, paged out")
NODE_ROOTS = ("/usr/lib/node_modules", "/usr/share/nodejs", "/usr/local/lib/node_modules")
NPM = "npm/lib/npm.js"  # the one large module that whoever has Node has as well
NODE_FUNCTIONS = {"node: hello": "", "node: npm's library": NPM}
NODE_SCRIPT = '''{requires}
const ready = process.hrtime.bigint(), cpu = process.cpuUsage()
require('fs').writeSync(1, `${{ready}} ${{process.hrtime.bigint()}} ${{(cpu.user + cpu.system) * 1000}}\\n`)
'''


class Pipes:
    """stdin and stdout of one instance, seen from here."""

    def __init__(self):
        self.theirs_in, self.to = os.pipe()
        reader, self.theirs_out = os.pipe()
        self.lines = os.fdopen(reader, "rb")

    def started(self):
        os.close(self.theirs_in)
        os.close(self.theirs_out)

    def close(self):
        os.close(self.to)
        self.lines.close()


class Instance:
    """Anything that runs a function's script and is a child of this process."""

    def __init__(self, pid, pipes):
        self.pid, self.pipes = pid, pipes

    def times(self, start_ns):
        """(ms to dependencies ready, ms to the end of the first request, ms of processor time to ready)"""
        line = self.pipes.lines.readline()
        if not line:
            raise RuntimeError("the instance ended without its times")
        ready, done, load = map(int, line.split())
        return (ready - start_ns) / 1e6, (done - start_ns) / 1e6, load / 1e6

    def end(self):
        self.pipes.close()
        os.waitpid(self.pid, 0)


def start_cold(interpreter, script, *words):
    """No cgroup to join, and by vfork: nothing that is not the function's own start."""
    pipes = Pipes()
    actions = [(os.POSIX_SPAWN_DUP2, pipes.theirs_in, 0), (os.POSIX_SPAWN_DUP2, pipes.theirs_out, 1)]
    pid = os.posix_spawn(interpreter, [interpreter, str(script), *words], os.environ, file_actions=actions)
    pipes.started()
    return Instance(pid, pipes)


class Claimed(Instance):
    """A child of the manager, which tells its end."""

    def __init__(self, call, pipes):
        super().__init__(0, pipes)
        self.call = call

    def end(self):
        self.pipes.close()
        started = self.call.answer()
        self.call.answer()
        os.close(started["pidfd"])
        self.call.close()
        if started["from"] != "spare":
            raise RuntimeError(f"it was no spare: {started}")


class Spares:
    """An image of hearth-images that has one spare; the time of a start begins with its request."""

    def __init__(self, modules, paged_out=False, **keys):
        self.idle = "frozen" if paged_out else "resident"
        self.manager = Manager({"x": {"owner": 0, "modules": modules, "policy": "always", "spares": 1, "build_timeout": "300s",
                                      "freeze_after": "50ms" if paged_out else "1h", **keys}})
        self.manager.ask(do="build", image="x")

    def is_idle(self):
        found = self.manager.show("x")
        return found["spares"] == 1 and found["state"] == self.idle

    def start(self, script):
        wait_for(self.is_idle, 60, lambda: f"a spare: {self.manager.show('x')}")
        time.sleep(PAUSE_S)
        pipes = Pipes()
        start_ns = time.monotonic_ns()
        call = self.manager.call([pipes.theirs_in, pipes.theirs_out], do="run", image="x", function="f",
                                 argv=[str(script)], fds=["stdin", "stdout"], directory=str(script.parent))
        pipes.started()
        return start_ns, Claimed(call, pipes)

    def close(self):
        self.manager.close()


def take_turns(arms, rounds):
    """{arm: {"ready": [ms], "done": [ms], "load": [ms]}} of {arm: function to (start_ns, instance)}"""
    found = {arm: {"ready": [], "done": [], "load": []} for arm in arms}
    for number in range(rounds + 1):
        for arm, measure in arms.items():
            start_ns, instance = measure()
            sample = instance.times(start_ns)
            instance.end()
            if number:  # the first round only fills the caches
                for what, value in zip(("ready", "done", "load"), sample):
                    found[arm][what].append(value)
    return found


def node_times(name, directory, rounds):
    """Likewise for a function of Node.js, or why not."""
    module = NODE_FUNCTIONS[name]
    root = next((r for r in NODE_ROOTS if (pathlib.Path(r) / NPM).exists()), None)
    if not os.path.exists(NODE) or not root:
        return None, "no Node.js with npm"
    file = f"{root}/{module}" if module else "fs"
    script = directory / f"fn_{name.split()[-1]}.js"
    script.write_text(NODE_SCRIPT.format(requires=f"require('{file}')" if module else ""))
    warm, cool = (Spares(file, paged_out, runtime="node", path=root) for paged_out in (False, True))

    def cold():
        start_ns = time.monotonic_ns()
        return start_ns, start_cold(NODE, script)

    try:
        return take_turns(dict(zip(NODE_ARMS, (cold, lambda: warm.start(script), lambda: cool.start(script)))), rounds), None
    finally:
        warm.close()
        cool.close()
