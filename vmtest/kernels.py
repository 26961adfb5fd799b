#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Debian's generic kernels for the virtual machines: fetched once, kept small.

    vmtest/kernels.py [KERNEL...]     fetches them and tells where they are

A kernel is a directory with vmlinuz, config, initrd and lib/modules (only the
modules in MODULES and what they need). It appears whole or not at all. apt
gets a configuration of its own here: what the host installs from stays as it is.
"""
import fcntl
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "hearth/kernels"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# the oldest kernel supported, the one in the middle and the newest, with the suites that carry them
KERNELS = {"6.1": ("bookworm", "bookworm-updates", "bookworm-security"),
           "6.12": ("bookworm-backports",),
           "7.2": ("trixie-backports",)}

# what the initrd needs to reach its root, then what cases load
BOOT_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
MODULES = (*BOOT_MODULES, "virtio_rng", "zram", "lz4", "lz4_compress", "lzo_rle", "zstd", "zsmalloc", "loop", "veth",
           "bridge", "tcp_diag", "udp_diag", "unix_diag", "fuse")


class Unavailable(Exception):
    """A kernel or tool that cannot be had here; its text says why."""


def command(*argv, **options):
    """stdout of a command; Unavailable with the end of its complaint if it fails."""
    try:
        return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True, timeout=600,
                              stdin=subprocess.DEVNULL, **options).stdout
    except FileNotFoundError:
        raise Unavailable(f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{argv[0]}: no end after 600 s") from None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise Unavailable(f"{argv[0]}: {' / '.join(lines[-2:])}") from None


def archives():
    """{"": URL of Debian's archive, "-security": ...} as the host's own sources name them."""
    release = dict(line.rstrip().replace('"', "").split("=", 1) for line in open("/etc/os-release") if "=" in line)
    codename = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian":
        raise Unavailable("the kernels come from Debian's archive, and this host is not Debian")
    found = {}
    for line in command("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                        "Created-By: Packages").splitlines():
        uri, suite, component = line.split()
        if suite.startswith(codename) and component == "main":
            found.setdefault(suite.removeprefix(codename), uri)
    if "" not in found:
        raise Unavailable(f"no source of this host carries {codename} main")
    return found


class Apt:
    """apt with lists and cache of its own for some suites, below one directory."""

    def __init__(self, directory, suites):
        self.directory = directory
        for name in ("lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "status").touch()
        found = archives()
        lines = []
        for suite in suites:
            uri = found.get("-security") if suite.endswith("-security") else found[""]
            if uri:
                lines.append(f"deb [signed-by={KEYRING}] {uri} {suite} main\n")
        (directory / "sources.list").write_text("".join(lines))
        self.options = ["-o", f"Dir::State={directory}", "-o", f"Dir::State::status={directory}/status",
                        "-o", f"Dir::Cache={directory}/cache", "-o", f"Dir::Etc::SourceList={directory}/sources.list",
                        "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Sandbox::User=root"]
        command("apt-get", *self.options, "-q", "-o", "APT::Update::Error-Mode=any", "update")

    def newest(self, kernel):
        """The newest generic kernel package of a series, without the security build's signature variants."""
        pattern = re.compile(rf"linux-image-({re.escape(kernel)}\.\d[^-]*(?:-\d+)?)-amd64")
        names = command("apt-cache", *self.options, "pkgnames", "linux-image-").split()
        found = [m for m in map(pattern.fullmatch, names) if m]
        if not found:
            raise Unavailable(f"the archive has no generic {kernel} kernel")
        return max(found, key=lambda m: [int(n) for n in re.findall(r"\d+", m[1])])[0]

    def parts(self, package):
        """The package and those that hold the rest of the same kernel (7.x is split)."""
        depends = command("apt-cache", *self.options, "depends", package)
        return [package, *re.findall(r"Depends: (linux-(?:binary|modules|base)-[0-9]\S*)", depends)]

    def fetch(self, packages):
        command("apt-get", *self.options, "-q", "download", *packages, cwd=self.directory)
        return sorted(self.directory.glob("*.deb"))


def _keep_modules(tree, target, version):
    """Copies the wanted modules and what they need, decompressed, and indexes them."""
    source = next(p for p in (tree / "usr/lib/modules" / version, tree / "lib/modules" / version) if p.is_dir())
    command("depmod", "-b", source.parent.parent.parent, version)
    needs = {}
    for line in (source / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[pathlib.Path(path).name.split(".")[0].replace("-", "_")] = [path, *rest.split()]
    modules = target / "lib/modules" / version
    for name in MODULES:
        for path in needs.get(name, []):
            file = modules / path.removesuffix(".xz").removesuffix(".zst")
            file.parent.mkdir(parents=True, exist_ok=True)
            tool = {".xz": "xz", ".zst": "zstd"}.get(pathlib.Path(path).suffix)
            if tool:
                with open(file, "wb") as out:
                    subprocess.run([tool, "-dcq", source / path], stdout=out, check=True)
            else:
                shutil.copy(source / path, file)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (source / name).exists():
            shutil.copy(source / name, modules)
    command("depmod", "-b", target, version)
    return modules


def _order(modules, names):
    """Paths of the modules in an order that insmod can follow."""
    needs = dict(line.split(":", 1) for line in (modules / "modules.dep").read_text().splitlines())
    paths = {pathlib.Path(p).name.split(".")[0].replace("-", "_"): p for p in needs}
    order = []
    for name in names:
        if name not in paths:  # built in
            continue
        for path in [*reversed(needs[paths[name]].split()), paths[name]]:
            if path not in order:
                order.append(path)
    return order


def build_initrd(kernel):
    """busybox, the modules that reach the root, and init; again whenever init changed."""
    initrd, busybox = kernel / "initrd", pathlib.Path("/bin/busybox")
    if initrd.exists() and initrd.stat().st_mtime > (HERE / "init").stat().st_mtime:
        return
    if not busybox.exists():
        raise Unavailable("busybox-static is not installed")
    modules = next((kernel / "lib/modules").iterdir())
    with tempfile.TemporaryDirectory(dir=kernel) as work:
        root = pathlib.Path(work) / "root"
        for name in ("bin", "proc", "sys", "dev", "mod", "lower", "rw", "root"):
            (root / name).mkdir(parents=True)
        shutil.copy(busybox, root / "bin/busybox")
        shutil.copy(HERE / "init", root / "init")
        (root / "init").chmod(0o755)
        for number, path in enumerate(_order(modules, BOOT_MODULES)):
            shutil.copy(modules / path, root / f"mod/{number:02}.ko")
        archive = pathlib.Path(work) / "initrd"
        with open(archive, "wb") as out:
            subprocess.run("find . | busybox cpio -o -H newc 2>/dev/null | gzip -1", shell=True, cwd=root, stdout=out,
                           check=True)
        archive.rename(initrd)


def _cached(kernel):
    found = [p.parent for p in CACHE.glob(f"{kernel}.*/vmlinuz")]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)], default=None)


def _fetch(kernel):
    """Downloads the newest of a series into the cache."""
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".fetch-") as work:
        work = pathlib.Path(work)
        (work / "apt").mkdir()
        apt = Apt(work / "apt", KERNELS[kernel])
        package = apt.newest(kernel)
        version = package.removeprefix("linux-image-")
        for deb in apt.fetch(apt.parts(package)):
            command("dpkg-deb", "-x", deb, work / "tree")
        target = work / version
        target.mkdir()
        modules = _keep_modules(work / "tree", target, version)
        for name in ("vmlinuz", "config"):
            places = (f"boot/{name}-{version}", f"usr/lib/modules/{version}/{name}")
            file = next((work / "tree" / p for p in places if (work / "tree" / p).exists()), None)
            if file is None:
                raise Unavailable(f"{package} has no {name} where it is expected: {' '.join(places)}")
            shutil.copy(file, target / name)
        assert modules.is_dir()
        build_initrd(target)
        target.rename(CACHE / version)
    return CACHE / version


def get(kernel):
    """The directory of a kernel, fetched if the cache has none of its series."""
    if kernel not in KERNELS:
        raise Unavailable(f"kernel {kernel}: unknown; known: {', '.join(KERNELS)}")
    if platform.machine() != "x86_64":
        raise Unavailable(f"virtual machines are for x86_64, this is {platform.machine()}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _cached(kernel) or _fetch(kernel)
        build_initrd(found)
        return found


if __name__ == "__main__":
    try:
        for wanted in sys.argv[1:] or KERNELS:
            print(wanted, get(wanted))
    except Unavailable as reason:
        sys.exit(f"kernels: {reason}")
