# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=check timeout=500 zram=512M
"""A real function in real containers: crun, podman and containerd each run one of Google's
functions-framework for Node. It is found, named, frozen, answers through its wake, gives its memory back, and
answers through that, too."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import urllib.request

from harness import BUILD, REPO, SLOW, Skip, World, cgroup2_root, rows, wait_for

FRAMEWORK = BUILD / "demo/node_modules/.bin/functions-framework"
MOUNTS = ("/usr", "/etc", str(REPO))
LINKS = ("bin", "sbin", "lib", "lib64")
CONFIG = {
    "agent": {"attach": "/"},
    "policy": {"default": "fixed:500ms", "debounce": "100ms", "idle_grace": "100ms", "startup_grace": "0s",
               "enter_hold": "0s", "syn_hold": "100ms"},
    "memory": {"swap_free_min": "0%", "swap_rate": "2G", "pressure": "off"},
    "rule crun": {"match": "crun/{function}"},
    "rule podman": {"set": "podman"},
    "rule containerd": {"match": "default/{function}"},
}


def run(*words, **options):
    done = subprocess.run([str(w) for w in words], timeout=60 * SLOW, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{words[0]}: {done.returncode}: {done.stdout[-2000:]}"
    return done.stdout


def function(port):
    """The command line of the function in every container."""
    return ["/usr/bin/node", str(FRAMEWORK), f"--source={FRAMEWORK.parent.parent.parent}", "--target=sign",
            f"--port={port}"]


@contextlib.contextmanager
def rootfs():
    """An empty root; the host's folders are mounted into it."""
    with tempfile.TemporaryDirectory(dir="/run") as root:
        for folder in (*MOUNTS, "/proc", "/sys", "/dev", "/tmp"):
            (pathlib.Path(root) / folder[1:]).mkdir(parents=True, exist_ok=True)  # one may hold another
        for link in LINKS:
            if os.path.islink(f"/{link}"):
                os.symlink(os.readlink(f"/{link}"), f"{root}/{link}")
        yield root


def crun(root, name, argv):
    bundle = pathlib.Path(tempfile.mkdtemp(dir="/run"))
    run("crun", "spec", cwd=bundle)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"].update(args=argv, terminal=False)
    spec["root"] = {"path": root}
    spec["linux"]["cgroupsPath"] = f"/crun/{name}"
    spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "network"]
    spec["mounts"] = [m for m in spec["mounts"] if m["type"] != "cgroup" and m["destination"] != "/sys"] + [
        {"destination": m, "type": "bind", "source": m, "options": ["rbind", "ro"]} for m in MOUNTS]
    (bundle / "config.json").write_text(json.dumps(spec))
    with open(bundle / "log", "wb") as log:
        process = subprocess.Popen(["crun", "--cgroup-manager=cgroupfs", "run", "-b", bundle, name],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop():
        run("crun", "kill", name, "KILL")
        process.wait(20 * SLOW)  # it deletes the container
        shutil.rmtree(bundle)

    return stop


def podman(root, name, argv):
    common = ["podman", "--cgroup-manager=cgroupfs", "--runtime=crun", "--events-backend=none",
              "--storage-driver=overlay"]
    if not os.path.ismount("/var/lib/containers"):
        os.makedirs("/var/lib/containers", exist_ok=True)
        run("mount", "-t", "tmpfs", "containers", "/var/lib/containers")
    volumes = [word for m in MOUNTS for word in ("-v", f"{m}:{m}:ro")]
    run(*common, "run", "-d", "--name", name, "--network=host", "--log-driver=none", "--no-hosts", *volumes,
        "--rootfs", root, *argv)
    return lambda: run(*common, "rm", "--force", "--time=0", name)


def containerd(root, name, argv):
    with open("/run/containerd.log", "wb") as log:
        daemon = subprocess.Popen(["containerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready():
        return subprocess.run(["ctr", "version"], capture_output=True).returncode == 0

    wait_for(ready, 20, lambda: f"containerd answers; its log: {open('/run/containerd.log').read()[-2000:]}")
    mounts = [f"--mount=type=bind,src={m},dst={m},options=rbind:ro" for m in MOUNTS]
    run("ctr", "run", "-d", "--net-host", "--runc-binary=crun", *mounts, "--rootfs", root, name, *argv)

    def stop():
        subprocess.run(["ctr", "task", "kill", "-s", "KILL", name], check=True, timeout=20 * SLOW)
        wait_for(lambda: "STOPPED" in run("ctr", "task", "ls"), 10, "task stopped")
        run("ctr", "task", "rm", name)
        run("ctr", "container", "rm", name)
        daemon.terminate()
        daemon.wait(20 * SLOW)

    return stop


RUNTIMES = {"crun": (crun, 8101), "podman": (podman, 8102), "containerd": (containerd, 8103)}


def open_world():
    return World(CONFIG)


def ask(port):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", b'{"user": "u"}',
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30 * SLOW) as answer:
        assert "signature" in json.load(answer)


def answers(port):
    try:
        ask(port)
        return True
    except OSError:
        return False


def the_instance(world, name):
    found = (world.function(name) or {"instances": []})["instances"]
    return found[0] if found else {}


def wait_tier(world, name, tier):
    wait_for(lambda: the_instance(world, name).get("tier") == tier, 20,
             lambda: f"{name} {tier}, is {the_instance(world, name)}")


def charged(world, name):
    """Bytes on the account of the container's cgroup."""
    path = cgroup2_root() / the_instance(world, name)["cgroup"].lstrip("/")
    return int((path / "memory.current").read_text())


def give_back(world, name):
    """As soon as nothing holds it."""
    before = charged(world, name)
    wait_for(lambda: world.agent.cli("reclaim", name, check=False).returncode == 0, 20, f"{name} reclaims")
    wait_tier(world, name, "reclaimed")
    after = charged(world, name)
    print(f"{name}: {before >> 20} MiB, reclaimed {after >> 20} MiB", flush=True)
    assert after < before / 2


@rows(*RUNTIMES)
def test_function_in_a_container_is_found_frozen_reclaimed_and_woken(world, runtime):
    start, port = RUNTIMES[runtime]
    if not FRAMEWORK.exists():
        raise Skip(f"{FRAMEWORK.name} is not installed (npm, see demo/package.json)")
    if not shutil.which({"containerd": "ctr"}.get(runtime, runtime)):
        raise Skip(f"{runtime} is not installed (deploy/deps vm)")
    name = f"fn-{runtime}"
    with rootfs() as root:
        stop = start(root, name, function(port))
        try:
            wait_for(lambda: world.function(name), 20, f"{name} is found and named")
            wait_for(lambda: answers(port), 60, f"{name} answers")
            for _ in range(2):
                wait_tier(world, name, "frozen")
                ask(port)
            give_back(world, name)
            ask(port)
            found = world.function(name)
            assert found["wakes"] >= 3 and found["invocations"] >= 4 and found["lukewarm_starts"] >= 3, found
        finally:
            stop()
    wait_for(lambda: not the_instance(world, name), 20, f"{name} is forgotten")
