# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Boots a kernel in QEMU with the host's root underneath and runs a script in it.

A run is good only if the guest wrote its status: the file says 130 before the
machine starts, so a panic, a hang or a missing device is a failure.
"""
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

import kernels

REPO = pathlib.Path(__file__).resolve().parent.parent
NOT_WRITTEN = 130
KVM_PROBE_SECONDS = 8

SPLAT = re.compile(r"BUG:|WARNING:|Oops|Call Trace|Kernel panic|general protection fault|rcu.*(?:stall|detected)"
                   r"|possible (?:recursive|circular|irq lock)|inconsistent lock state|blocked for more than"
                   r"|soft lockup|hard LOCKUP|KASAN|UBSAN|refcount_t:")


@dataclasses.dataclass
class Options:
    cpus: int = 2
    memory: str = "2G"
    zram: str = ""
    init: str = ""
    timeout: int = 300
    tty: bool = False
    quiet: bool = False  # QEMU's own complaints
    parameters: tuple = ()


@dataclasses.dataclass
class Result:
    status: int
    problem: str = ""
    console: str = ""
    splats: list = dataclasses.field(default_factory=list)


def _qemu():
    found = shutil.which("qemu-system-x86_64")
    if not found:
        raise kernels.Unavailable("qemu-system-x86_64 is not installed (deploy/deps vm)")
    return found


def _arguments(kernel, options, accel, share):
    version = next((kernel / "lib/modules").iterdir())
    words = ["console=ttyS0", "loglevel=5", "lsm=lockdown,yama,bpf", "nokaslr", "mitigations=off", "panic=-1",
             "oops=panic", f"hearth.checkout={REPO}", *options.parameters]
    words += [f"hearth.{key}={value}" for key, value in
              (("init", options.init), ("zram", options.zram), ("tty", "yes" if options.tty else "")) if value]
    speed = ["-accel", "kvm", "-cpu", "host"] if accel == "kvm" else \
            ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]
    shares = []
    for tag, path, access in (("root", "/", "on"), ("modules", version, "on"), ("result", share, "off")):
        shares += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap,"
                              f"readonly={access}"]
    # a pipe, never a file: QEMU would truncate it
    output = ["-chardev", "stdio,id=out,signal=off" if options.tty else "file,id=out,path=/dev/fd/1"]
    return [_qemu(), "-M", "q35", *speed, "-smp", str(options.cpus), "-m", options.memory, "-nodefaults",
            "-no-user-config", "-nic", "none", "-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4",
            "-kernel", kernel / "vmlinuz", "-initrd", kernel / "initrd", "-append", " ".join(words), *shares,
            "-serial", f"file:{share}/console", *output, "-device", "virtio-serial", "-device",
            "virtconsole,chardev=out", "-device", "virtio-rng-pci"]


def _complaints(log):
    """Lines by their text. A kill for want of memory shows its call trace, too, and may be what a case is about."""
    found, explained = {}, False
    for line in log.splitlines():
        if "invoked oom-killer" in line:
            explained = True
        elif SPLAT.search(line):
            if not (explained and "Call Trace" in line):
                found[re.sub(r"^(?:<\d+>)?\[[^]]*\] ?", "", line)] = line
            explained = False
    return found


def _finish(share, problem):
    """What the guest left behind: its status, and what its kernel complained about."""
    logs = [(share / name).read_text(errors="replace") for name in ("console", "dmesg") if (share / name).exists()]
    try:
        status = int((share / "rc").read_text())
    except ValueError:
        status = NOT_WRITTEN
    if status == NOT_WRITTEN and not problem:
        problem = "the guest ended without a status"
    splats = {text: line for log in logs for text, line in _complaints(log).items()}
    return Result(status, problem, logs[0] if logs else "", list(splats.values()))


def boot(kernel, script, options=Options(), line=lambda text: print(text, flush=True), accel=None):
    """Runs the shell script in a fresh guest; line() gets its output line by line (with tty, our terminal does)."""
    accel = accel or accelerator(kernel)
    with tempfile.TemporaryDirectory(prefix="hearth-vm-") as share:
        share = pathlib.Path(share)
        (share / "rc").write_text(f"{NOT_WRITTEN}\n")
        (share / "script").write_text(script)
        process = subprocess.Popen([str(a) for a in _arguments(kernel, options, accel, share)],
                                   stdin=None if options.tty else subprocess.DEVNULL,
                                   stdout=None if options.tty else subprocess.PIPE,
                                   stderr=subprocess.DEVNULL if options.quiet else None)
        late = []
        timer = threading.Timer(options.timeout, lambda: (late.append(True), process.kill()))
        timer.start()
        try:
            for text in process.stdout or ():
                line(text.decode(errors="replace").rstrip("\r\n"))
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        return _finish(share, f"not done within {options.timeout} s" if late else "")


def accelerator(kernel):
    """"kvm" if a guest really boots with it, else "tcg"; asked once per boot of this host."""
    chosen = os.environ.get("HEARTH_VM_ACCEL")
    if chosen:
        if chosen not in ("kvm", "tcg"):
            raise kernels.Unavailable(f"HEARTH_VM_ACCEL={chosen}: kvm or tcg")
        return chosen
    answer = kernels.CACHE / f"accel-{pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    if not answer.exists():
        works = os.access("/dev/kvm", os.W_OK) and \
            boot(kernel, "true", Options(timeout=KVM_PROBE_SECONDS, quiet=True), lambda _: None, "kvm").status == 0
        answer.write_text("kvm" if works else "tcg")
    return answer.read_text()
