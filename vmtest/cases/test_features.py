# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=check timeout=400 zram=256M
"""What this kernel offers of what Hearth uses, and that Hearth's programs run on it.

Each probe does the thing itself: a file that exists proves little. The answers
are printed as "feature NAME: VALUE" and go into docs/kernels.md.
"""
import ctypes
import errno
import fcntl
import json
import mmap
import os
import pathlib
import signal
import struct
import subprocess

from client import Client
from harness import Spawner, Subtree, World, cgroup2_root, sees_unix, wait_for
from test_agent import bpftool
from test_image_source import ImageWorld

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_PIDFD_OPEN, SYS_PROCESS_MADVISE, MADV_PAGEOUT = 434, 440, 21
PAGEMAP_SCAN = 0xC0606610
MIB = 1 << 20


def feature(name, value):
    text = {True: "yes", False: "no"}.get(value, value)
    print(f"feature {name}: {text}", flush=True)


def test_kernel_tells_its_types():
    types = pathlib.Path("/sys/kernel/btf/vmlinux").read_bytes()
    feature("BTF", True)
    feature("CGRP_STORAGE", b"BPF_MAP_TYPE_CGRP_STORAGE" in types)
    feature("sk_data_ready (AF_UNIX servers)", sees_unix())


def test_cgroup_v2_controllers():
    controllers = (cgroup2_root() / "cgroup.subtree_control").read_text().split()
    feature("cgroup v2 controllers", " ".join(sorted(controllers)))
    assert {"cpu", "memory", "pids"} <= set(controllers), controllers


def test_pressure():
    good = "some avg10" in (cgroup2_root() / "memory.pressure").read_text() if \
        (cgroup2_root() / "memory.pressure").exists() else "some avg10" in open("/proc/pressure/memory").read()
    feature("PSI", good)
    assert good


class Sleeper:
    """A process with some anonymous memory in a cgroup of its own."""

    def __init__(self, name, mib=32):
        self.tree = Subtree(name)
        program = f"import sys; b = bytearray(b'x') * ({mib} << 20); print('ready', flush=True); sys.stdin.read()"
        self.process = self.tree.spawn(".", ["/usr/bin/python3", "-c", program], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.tree.close()

    def memory(self):
        return int((self.tree.path / "memory.current").read_text())

    def reclaim(self, words):
        """0 or the errno; EAGAIN (less than asked) is as good as 0."""
        try:
            (self.tree.path / "memory.reclaim").write_text(words)
        except OSError as error:
            return error.errno
        return 0


def test_freeze_and_kill():
    with Sleeper("freezer") as sleeper:
        sleeper.tree.freeze(".", 1)
        wait_for(lambda: sleeper.tree.frozen("."), 5, "frozen")
        feature("cgroup.freeze", True)
        sleeper.tree.kill(".")
        assert sleeper.process.wait(20) == -signal.SIGKILL
        feature("cgroup.kill, of a frozen process", True)


def test_reclaim_of_a_frozen_cgroup():
    with Sleeper("reclaimed") as sleeper:
        sleeper.tree.freeze(".", 1)
        wait_for(lambda: sleeper.tree.frozen("."), 5, "frozen")
        before = sleeper.memory()
        assert sleeper.reclaim(f"{before}") in (0, errno.EAGAIN)
        after = sleeper.memory()
        assert after < before / 2, f"reclaimed {before} to {after} bytes"
        feature("memory.reclaim of a frozen cgroup", True)
        for words in ("swappiness=60", "swappiness=max"):
            result = sleeper.reclaim(f"65536 {words}")
            assert result in (0, errno.EAGAIN, errno.EINVAL), os.strerror(result)
            feature(f"memory.reclaim {words.replace('60', 'N')}", result != errno.EINVAL)


def test_process_madvise_pages_out():
    with Sleeper("madvised") as sleeper:
        sleeper.tree.freeze(".", 1)
        wait_for(lambda: sleeper.tree.frozen("."), 5, "frozen")
        pid, before = sleeper.process.pid, sleeper.memory()
        pidfd = LIBC.syscall(SYS_PIDFD_OPEN, pid, 0)
        for line in open(f"/proc/{pid}/maps"):
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            if " rw-p " in line and high - low >= MIB:
                vector = struct.pack("QQ", low, high - low)
                assert LIBC.syscall(SYS_PROCESS_MADVISE, pidfd, vector, 1, MADV_PAGEOUT, 0) > 0, \
                    os.strerror(ctypes.get_errno())
        os.close(pidfd)
        assert sleeper.memory() < before / 2
        feature("process_madvise PAGEOUT of a frozen process", True)


def test_pagemap_scan():
    area = mmap.mmap(-1, 16 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    # size, flags, start, end, walk_end, vec, vec_len, max_pages, four masks
    regions = ctypes.create_string_buffer(24 * 16)
    argument = bytearray(struct.pack("12Q", 96, 0, start, start + len(area), 0, ctypes.addressof(regions), 16, 0,
                                     0, 8, 0, 8))
    with open("/proc/self/pagemap", "rb") as pagemap:
        try:
            fcntl.ioctl(pagemap, PAGEMAP_SCAN, argument)
            found = True
        except OSError as error:
            assert error.errno in (errno.ENOTTY, errno.EINVAL), error
            found = False
    feature("PAGEMAP_SCAN", found)


def test_memory_management():
    path = pathlib.Path("/sys/kernel/mm/lru_gen/enabled")
    feature("MGLRU on", path.exists() and int(path.read_text(), 16) != 0)
    feature("zswap", pathlib.Path("/sys/module/zswap/parameters/enabled").exists())
    swap = "zram" in open("/proc/swaps").read()
    feature("zram", swap)
    assert swap, "no zram"


def runs():
    """{program: how often it ran}, of all loaded hearth programs."""
    shown = subprocess.run([bpftool(), "prog", "show", "-j"], check=True, stdout=subprocess.PIPE).stdout
    found = {}
    for program in json.loads(shown):
        name = program.get("name", "")
        if name.startswith("hearth_"):
            found[name] = found.get(name, 0) + program.get("run_cnt", 0)
    return found


def exercise(world):
    """Something for every hook to see."""
    server = world.serve("seen")
    for transport in ("tcp6", "unix" if sees_unix() else "tcp4"):
        with Client(server, transport) as client:
            assert client.get()[0] == 200
    world.wait_tier("seen", "frozen")
    with Client(server, transport) as client:
        assert client.get()[0] == 200
        # a request in flight and silent for long is looked at by the recount's programs
        client.request("/?hold")
        server.expect("held")
        wait_for(lambda: runs()["hearth_recount"], 20, "recount")
        server.release()
        assert client.response()[0] == 200
    spawner = Spawner(world, "spawned")
    assert world.subtree.spawn("fn/seen/1", ["/bin/true"]).wait(20) == 0
    spawner.end()
    server.end()
    world.subtree.remove("fn/seen")


def exercise_images(world):
    """Forks from an image: seen as they happen, gone while nobody looked, there from before."""
    world.fork("until_closed", world.cgroup("forked")).end()
    world.wait_counts("forked", 1, 0)
    world.agent.stop()
    gone = world.cgroup("forked", "2", known=False)
    world.fork("quick", gone).end()
    gone.rmdir()
    held = world.fork("until_closed", world.cgroup("forked", "3", known=False))
    world.agent.start()
    world.wait_counts("forked", 3, 1, 20)
    held.end()
    world.wait_counts("forked", 3, 0)


def test_programs_load_attach_and_fire():
    pathlib.Path("/proc/sys/kernel/bpf_stats_enabled").write_text("1")
    config = {"policy": {"default": "fixed:100ms", "debounce": "50ms", "idle_grace": "100ms", "startup_grace": "0s",
                         "enter_hold": "0s", "syn_hold": "100ms", **({"source": "unix"} if sees_unix() else {})}}
    with World(config) as world, ImageWorld() as images:
        exercise(world)
        exercise_images(images)
        count = runs()
    # repairs only what is wrong
    count.pop("hearth_repair")
    idle = sorted(n for n, times in count.items() if not times)
    feature("Hearth's programs fired", f"{len(count) - len(idle)} of {len(count)}")
    assert {"hearth_ingress", "hearth_egress", "hearth_exec", "hearth_mkdir"} <= set(count), count
    assert not idle, f"loaded but never ran: {idle}"
