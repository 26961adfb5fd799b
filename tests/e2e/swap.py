# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A zram device of the tests' own as swap, for as long as this process lives."""
import atexit
import fcntl
import pathlib
import shutil
import subprocess

from harness import Skip

LOCK = "/tmp/hearth-zram.lock"  # one at a time: others may want "no swap", or a ratio of their own
CONTROL = pathlib.Path("/sys/class/zram-control")
_held = []


def swap(size="2G"):
    """Adds it once; raises Skip where it cannot be had."""
    if _held:
        return
    lock = open(LOCK, "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    _held.append(lock)
    if not CONTROL.exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "zram", "num_devices=0"], check=False, timeout=60)
    try:
        number = (CONTROL / "hot_add").read_text().strip()
    except OSError as error:
        raise Skip(f"no zram device can be added: {error}") from None
    device = f"/dev/zram{number}"
    _held.append(f"zram{number}")
    atexit.register(_remove, device, number)
    pathlib.Path(f"/sys/block/zram{number}/disksize").write_text(size)
    subprocess.run(["mkswap", "-q", device], check=True, timeout=20)
    subprocess.run(["swapon", "-p", "1000", device], check=True, timeout=20)


def device():
    """The name of the device, such as "zram1"."""
    return _held[1]


def _remove(device, number):
    subprocess.run(["swapoff", device], check=False, timeout=60)
    try:
        (CONTROL / "hot_remove").write_text(number)
    except OSError:
        pass  # still busy: it goes with the reboot
