# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What paging idle instances out is worth and costs: the figures of docs/memory.md.

Bytes and progress need the memory controller; times are compared only where the
clock is the machine's own (not in an emulated guest). Each test prints "figure
WHAT: VALUE" lines and fails when a promise is broken.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from client import Client
from harness import SLOW, Skip, World, cgroup2_root, rows, timeout
from swap import device, swap
from test_memory import MB, events, keep, page_out, touch

MODE = {"tiers": "warm frozen reclaimed", "debounce": "100ms", "startup_grace": "0s", "enter_hold": "100ms",
        "cpu_threshold": 1, "outbound": "ignore"}
MEMORY = {"swap_free_min": "0%", "swap_budget": "100%", "swap_rate": "2G", "prewarm_rate": "4G", "prewarm_cpu": 1}
HOG = pathlib.Path(__file__).parent / "parts/hog.py"


def open_world():
    swap()
    return World({"policy": {"default": "always", **MODE}, "memory": {"pressure": "off", **MEMORY}})


def figure(what, value):
    print(f"figure {what}: {value}", flush=True)


def need_controller():
    if "memory" not in (cgroup2_root() / "cgroup.controllers").read_text():
        raise Skip("no memory controller in cgroup v2: nothing tells whose file pages are")


def need_clock():
    if os.environ.get("HEARTH_VM"):
        raise Skip("compares times: not in an emulated guest")


# ---- what is given back


def charged(world, name):
    """Anonymous and file bytes of an instance."""
    stat = dict(line.split() for line in
                (world.subtree.path / f"fn/{name}/1/memory.stat").read_text().splitlines())
    return int(stat["anon"]) + int(stat["file"])


def zram_bytes():
    """What the device really takes from the host, its own tables included."""
    return int(pathlib.Path(f"/sys/block/{device()}/mm_stat").read_text().split()[2])


def read_file_in(world, name, mb):
    """Leaves so many file pages in the page cache on the instance's account."""
    with tempfile.NamedTemporaryFile() as backing:
        backing.truncate(mb * MB)
        loop = subprocess.run(["losetup", "--find", "--show", backing.name], capture_output=True, text=True)
        if loop.returncode:
            raise Skip(f"no loop device: {loop.stderr.strip()}")
        disk = loop.stdout.strip()
        try:
            with open(disk, "rb"):  # its last close would empty the cache
                yield world.subtree.spawn(f"fn/{name}/1", ["dd", f"if={disk}", "of=/dev/null", "bs=1M", "status=none"])
        finally:
            subprocess.run(["losetup", "-d", disk], check=True)


@rows("heap", "noise")
def test_idle_function_gives_back_nine_tenths_of_its_pages(world, kind):
    need_controller()
    name = f"back-{kind}"
    server = world.serve(name)
    keep(server, mb=96, random="1&every=4" if kind == "heap" else 1)
    for reader in read_file_in(world, name, 32):
        assert reader.wait(60) == 0
        assert charged(world, name) > 120 * MB
        measure_return(world, name, kind, least_net=0.6 if kind == "heap" else None)
    server.end()


def test_idle_python_server_gives_back_nine_tenths_of_its_pages(world):
    """The second of two: the first one's copies leave a MB or so of zram's size classes half empty, once."""
    need_controller()
    servers = [world.serve(name, argv=["/usr/bin/python3", HOG.parent / "server.py"]) for name in ("first", "second")]
    for server in servers:
        with Client(server, "tcp4") as client:
            assert client.get()[0] == 200
    page_out(world, "first")
    measure_return(world, "second", "python", least_net=0.6)
    for server in servers:
        server.end()


def measure_return(world, name, kind, least_net):
    before, zram = charged(world, name), zram_bytes()
    page_out(world, name)
    gross = before - charged(world, name)
    net = gross - (zram_bytes() - zram)
    figure(f"given back, {kind}", f"{before / MB:.1f} MiB charged, gross {gross / before:.1%}, "
                                  f"net of zram {net / before:.1%}")
    assert gross >= 0.9 * before
    assert least_net is None or net >= least_net * before


# ---- what a wake costs


WORK = {"reads a byte of each page": "write=0", "writes a byte of each page": "write=1",
        "works on every cache line": "step=64"}


def request(server, work):
    """Seconds of a request that touches all that the server keeps, as its client sees it."""
    with Client(server, "tcp4") as client:
        begun = time.monotonic()
        assert client.get(f"/touch?{work}")[0] == 200
        return time.monotonic() - begun


def flush_caches():
    """A warm instance whose host did something else meanwhile, as a frozen one's did."""
    bytes(256 * MB).count(1)


def wake_round(world, name, work):
    """Seconds: warm, faulting in with nobody's help, helped from the far end, brought back ahead."""
    server = world.serve(name)
    keep(server, mb=200)
    request(server, work)
    warm, took = [], {}
    for _ in range(5):
        flush_caches()
        warm.append(request(server, work))
    took["warm"] = statistics.median(warm)
    for kind in ("on demand", "on demand, restored beside", "prefaulted"):
        page_out(world, name)  # the first wake has no working set on record: nothing helps it
        if kind == "prefaulted":
            world.agent.cli("prewarm", name)
            world.wait_tier(name, "frozen")
            flush_caches()
        took[kind] = request(server, work)
    server.end()
    return took


@rows(*WORK)
@timeout(120)
def test_wake_after_prefault_is_as_good_as_warm(world, work):
    """Writing one byte of a page and nothing else is told, not judged: see docs/memory.md."""
    need_clock()
    rounds = [wake_round(world, f"wake-{WORK[work][:4]}{WORK[work][-2:]}-{i}", WORK[work]) for i in range(5)]
    middle = {kind: statistics.median(r[kind] for r in rounds) for kind in rounds[0]}
    to_warm = statistics.median(r["prefaulted"] / r["warm"] for r in rounds)
    to_demand = statistics.median(r["on demand"] / r["prefaulted"] for r in rounds)
    figure(f"request that {work}", ", ".join(f"{kind} {s * 1e3:.1f} ms" for kind, s in middle.items()) +
           f"; prefaulted is {to_warm:.2f} x warm, on demand {to_demand:.0f} x prefaulted")
    assert to_demand >= (50 if work.startswith("reads") else 2)
    assert to_warm <= 2 or work.startswith("writes")


# ---- others who need memory


def stalled_s(cgroup):
    """Seconds in which tasks of it waited for memory."""
    return int((cgroup / "memory.pressure").read_text().split("total=")[1].split()[0]) / 1e6


def progress(world, mb):
    """Of somebody outside over a working set of his own, from its first page on: passes per second, and the
    share of time in which he did not wait for memory."""
    seconds = round(10 * min(SLOW, 3))
    before = stalled_s(world.subtree.make("outside"))
    hog = world.subtree.spawn("outside", [sys.executable, HOG, str(mb), str(seconds)], stdout=subprocess.PIPE)
    out, _ = hog.communicate(timeout=seconds * 10 + 120)
    assert hog.returncode == 0
    passes, took = map(float, out.split())
    return passes, 1 - (stalled_s(world.subtree.path / "outside") - before) / took


def progress_beside(idle, mb, managed):
    """The same beside four idle functions, which must step down where a hearthd is, and then still answer."""
    config = {"policy": {"default": "always", **MODE}, "memory": {"pressure": "5%", "ranker": "lru", **MEMORY}}
    with World(config, start=managed) as world:
        servers = {name: world.serve(name) for name in ("idle0", "idle1", "idle2", "idle3")}
        for server in servers.values():
            keep(server, mb=idle // 4)
        went = progress(world, mb)
        if managed:
            told = [e for name in servers for e in events(world, name, "squeeze")]
            assert told, world.status()["memory"]
            assert all("wait for memory" in e["reason"] for e in told), told
        for server in servers.values():
            assert touch(server) > 0
            server.end()
        return went


@timeout(400)
def test_pressure_from_outside_makes_idle_instances_step_down(world):
    """In turns alone, beside idle functions, and beside them without hearthd, so a drift of the machine cancels
    out."""
    need_controller()
    free = int(next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable")).split()[1]) // 1024
    most = 1024 if os.environ.get("HEARTH_VM") else 4096
    if free > most:
        raise Skip(f"{free} MB are free; more than {most} are not filled to the brim")
    idle = mb = free * 6 // 10
    rounds = [(progress(world, mb), progress_beside(idle, mb, True), progress_beside(idle, mb, False))
              for _ in range(5)]
    figure("a hog beside idle functions", f"{free} MiB free, {idle} MiB idle, {mb} MiB hog, medians of 5")
    kept = {}
    for kind, what in enumerate(("passes per second", "time not stalled for memory")):
        for arm, where in enumerate(("with hearthd", "without"), 1):
            kept[kind, arm] = statistics.median(r[arm][kind] / r[0][kind] for r in rounds)
            figure(f"{what}, {where}", f"{kept[kind, arm]:.2f} of alone ({spread(r[arm][kind] for r in rounds)}; "
                                       f"alone {spread(r[0][kind] for r in rounds)})")
    assert kept[0, 1] >= 0.75 and kept[1, 1] >= 0.75, kept


def spread(values):
    return " ".join(f"{v:.2f}" for v in sorted(values))
