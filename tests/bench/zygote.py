#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions started cold and from an image, in one run. Needs root and a zram device.

    tests/bench/zygote.py [--rounds N] [--only NAME...] [--write]

A function is one script, the same in every arm: it imports, notes the time, handles one
request, notes the time. The arms take turns, so that a busy machine is busy for all of
them. --write renews the tables of docs/zygote.md. Nothing fails on a time.
"""
import argparse
import contextlib
import ctypes
import errno
import json
import math
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests/e2e"))
import swap  # noqa: E402
import zygote  # noqa: E402
from arms import NODE_ARMS, NODE_FUNCTIONS, Instance, Pipes, Spares, node_times, start_cold, take_turns  # noqa: E402
from harness import BUILD, Skip, Subtree, wait_for  # noqa: E402

PYTHON = "/usr/bin/python3"  # the one that Debian's packages are for
ARMS = ("cold", "resident", "frozen", "paged out", "spare")
HEAVY_MS = 50  # of processor time to load: worth an image. The wall clock would count a busy machine
TARGETS = {"geomean": 50, "gross": 95, "net": 88}
COUNTS = (1, 4, 10)
STATES = {"spare": "ready", "stay": "served one"}  # the word that makes a script wait there
SPACE = ("pandas", "opencv", "sklearn-train")
BEGIN, END = "<!-- made by make bench-zygote: begin -->", "<!-- end -->"
MADV_PAGEOUT, PROCESS_MADVISE = 21, 440

# name: (imports, handler), after the set of FunctionBench
FUNCTIONS = {
    "hello": ("", "result = 'hello'"),
    "json": ("import json", "json.loads(json.dumps([{'id': i, 'name': str(i)} for i in range(500)]))"),
    "gzip": ("import gzip", "gzip.decompress(gzip.compress(bytes(range(256)) * 400))"),
    "pyaes": ("import pyaes", "pyaes.AESModeOfOperationCTR(b'k' * 16).encrypt(b'x' * 4000)"),
    "chameleon": ("import chameleon", "chameleon.PageTemplate('<ul><li tal:repeat=\"i x\">${i}</li></ul>')(x=range(200))"),
    "jinja2": ("import jinja2", "jinja2.Template('{% for i in x %}<li>{{ i }}</li>{% endfor %}').render(x=range(200))"),
    "pillow": ("import PIL.Image, PIL.ImageFilter, PIL.JpegImagePlugin, io",
               "PIL.Image.new('RGB', (512, 512), 'teal').filter(PIL.ImageFilter.BLUR).rotate(30).save(io.BytesIO(), 'JPEG')"),
    "opencv": ("import cv2, numpy", "cv2.Canny(cv2.GaussianBlur(numpy.zeros((480, 640, 3), numpy.uint8), (5, 5), 0), 50, 150)"),
    "linpack": ("import numpy, numpy.linalg", "numpy.linalg.solve(numpy.random.rand(150, 150), numpy.random.rand(150))"),
    "pandas": ("import pandas", "pandas.DataFrame({'k': [i % 7 for i in range(2000)], 'v': range(2000)}).groupby('k').v.mean()"),
    "sklearn-train": ("import pandas\nfrom sklearn.feature_extraction.text import TfidfVectorizer\n"
                      "from sklearn.linear_model import LogisticRegression",
                      "texts = [f'word{i % 13} word{i % 7}' for i in range(200)]\n"
                      "LogisticRegression().fit(TfidfVectorizer().fit_transform(texts), [i % 2 for i in range(200)])"),
    "sklearn-serve": ("import pickle, sklearn.ensemble",
                      "model = pickle.load(open('model.pickle', 'rb'))\nmodel.predict([[1.0, 2.0, 3.0, 4.0]])"),
    "torch": ("import torch", "torch.nn.Linear(64, 8)(torch.ones(1, 64))"),
}
SCRIPT = '''import os, sys, time
{imports}
if "spare" in sys.argv:
    os.write(1, b"up\\n")
    if not os.read(0, 1):
        sys.exit()
ready, load = time.monotonic_ns(), time.process_time_ns()
{handler}
os.write(1, f"{{ready}} {{time.monotonic_ns()}} {{load}}\\n".encode())
if "stay" in sys.argv:
    os.read(0, 1)
'''


class Function:
    def __init__(self, name, directory):
        self.name = name
        imports, handler = FUNCTIONS[name]
        self.script = directory / f"fn_{name}.py"  # "json.py" would be what it imports
        self.script.write_text(SCRIPT.format(imports=imports, handler=handler))
        # "from a.b import C" and "import a, b" alike
        self.modules = [m for line in imports.splitlines()
                        for m in (re.match(r"from (\S+)", line) or re.match(r"import (.*)", line))[1].split(", ")]

    def missing(self):
        """Why it cannot run here, or None."""
        code = "import " + ", ".join(self.modules) if self.modules else ""
        done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True)
        return done.stderr.strip().splitlines()[-1] if done.returncode else None


def start_from(image, function, cgroup, *words):
    pipes = Pipes()
    forked = image.fork([str(function.script), *words], cgroup=cgroup, directory=str(function.script.parent),
                        stdio=(pipes.theirs_in, pipes.theirs_out, None))
    forked.talk.close()
    os.close(forked.pidfd)
    pipes.started()
    return Instance(forked.pid, pipes)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def page_out(pid):
    """What hearthd does to a frozen instance: private mappings go, to swap or back to their files."""
    libc = ctypes.CDLL(None, use_errno=True)
    areas = [line.split()[0].split("-") for line in open(f"/proc/{pid}/maps")
             if line.split()[1][3] == "p" and " [v" not in line]  # not vdso and its like
    pidfd = os.pidfd_open(pid)
    try:
        for low, high in areas:
            low, high = int(low, 16), int(high, 16)
            vector = Iovec(low, high - low)
            if libc.syscall(PROCESS_MADVISE, pidfd, ctypes.byref(vector), ctypes.c_size_t(1), MADV_PAGEOUT, 0) < 0 and \
                    ctypes.get_errno() != errno.EINVAL:  # locked in memory
                raise OSError(ctypes.get_errno(), f"process_madvise: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(pidfd)


class Place:
    """An image in a cgroup of its own, and the cgroup of its instances."""

    def __init__(self, subtree, name, function, directory):
        self.subtree, self.name = subtree, f"{name}/image"
        subtree.make(self.name)
        self.cgroup = subtree.make(f"{name}/fn")
        self.fn = f"{name}/fn"
        self.image = zygote.Image(directory, modules=function.modules, cgroup=subtree.path / self.name)
        self.pid = self.image.process.pid
        self.ready = self.image.ready()

    def freeze(self, paged_out=False):
        self.subtree.freeze(self.name, 1)
        wait_for(lambda: self.subtree.frozen(self.name), 20, "the image frozen")
        if paged_out:
            page_out(self.pid)

    def thaw(self):
        self.subtree.freeze(self.name, 0)

    def close(self):
        self.image.end()
        self.subtree.kill(".")


def measure_resident(place, function):
    start_ns = time.monotonic_ns()
    return start_ns, start_from(place.image, function, place.cgroup)


def measure_frozen(place, function, paged_out=False):
    place.freeze(paged_out)
    start_ns = time.monotonic_ns()
    place.thaw()
    return start_ns, start_from(place.image, function, place.cgroup)


def measure_cold(function):
    start_ns = time.monotonic_ns()
    return start_ns, start_cold(PYTHON, function.script)


def times_of(function, subtree, directory, rounds):
    warm, cool = (Place(subtree, f"{function.name}-{n}", function, directory) for n in ("warm", "cool"))
    spares = Spares(" ".join(function.modules) or "sys", path=directory)
    try:
        return take_turns({"cold": lambda: measure_cold(function), "resident": lambda: measure_resident(warm, function),
                           "frozen": lambda: measure_frozen(warm, function),
                           "paged out": lambda: measure_frozen(cool, function, True),
                           "spare": lambda: spares.start(function.script)}, rounds)
    finally:
        spares.close()
        warm.close()
        cool.close()


# ---- space

def space_of(pids):
    """Bytes: {"pss", "uss", "swap"}, summed."""
    total = {"pss": 0, "uss": 0, "swap": 0}
    keys = {"Pss": "pss", "Private_Clean": "uss", "Private_Dirty": "uss", "SwapPss": "swap"}
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup").read().splitlines()[1:]:
            key, value = line.split(":")
            if key in keys:
                total[keys[key]] += int(value.split()[0]) * 1024
    return total


def zram_holds():
    """(bytes that zram devices hold, RAM they need for that)"""
    stats = [path.read_text().split() for path in pathlib.Path("/sys/block").glob("zram*/mm_stat")]
    return sum(int(s[0]) for s in stats), sum(int(s[2]) for s in stats)


def compressed(place):
    """Pages the image out; RAM that zram needs for a byte of it. Others may use the device before and after."""
    before = zram_holds()
    place.freeze(True)
    after = zram_holds()
    place.thaw()
    if after[0] <= before[0]:
        sys.exit("bench-zygote: nothing went to zram; did somebody turn the swap off?")
    return (after[1] - before[1]) / (after[0] - before[0])


def grow(start, word, measure):
    """{count: measure(instances)} while instances are added, that wait where the word says."""
    instances, found = [], {}
    try:
        for count in COUNTS:
            while len(instances) < count:
                instances.append(start(len(instances), word))
                instances[-1].pipes.lines.readline()
            found[count] = measure([i.pid for i in instances])
    finally:
        for instance in instances:
            instance.end()
    return found


def space_separate(functions, word):
    return grow(lambda i, w: start_cold(PYTHON, functions[i].script, w), word, space_of)


def space_shared(functions, word, subtree, directory, paged_out):
    place = Place(subtree, f"space-{functions[0].name}-{word}-{paged_out}", functions[0], directory)
    ratio = compressed(place) if paged_out else 0

    def start(i, words):
        if paged_out:
            place.freeze(True)
            place.thaw()
        return start_from(place.image, functions[i], place.cgroup, words)

    def measure(pids):
        if paged_out:
            place.freeze(True)
        found = space_of([place.pid, *pids])
        place.thaw()
        return dict(found, zram=found["swap"] * ratio, one=space_of(pids[-1:])["uss"])

    try:
        return grow(start, word, measure)
    finally:
        place.close()


def space_of_sets(wanted, subtree, directory):
    """{(set, state): {arm: {count: bytes}}}; ten functions of a set are ten scripts."""
    found = {}
    for name in SPACE:
        if name not in wanted:
            continue
        functions = [Function(name, directory / f"copy{i}") for i in range(max(COUNTS))]
        for word, state in STATES.items():
            found[name, state] = {"separate": space_separate(functions, word),
                                  "resident": space_shared(functions, word, subtree, directory, False),
                                  "paged out": space_shared(functions, word, subtree, directory, True)}
        print(f"space of {name}: done", file=sys.stderr)
    return found


# ---- tables

def median(values):
    return statistics.median(values)


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def digits(ms):
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}"


def table(head, rows):
    align = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, align, *rows])


def times_table(times, what):
    rows = []
    for name, arms in times.items():
        p50 = {arm: median(arms[arm][what]) for arm in ARMS}
        rows.append([name, digits(median(arms["cold"]["load"]))] + [digits(p50[arm]) for arm in ARMS] +
                    [f"{p50['cold'] / p50[arm]:.0f}x" if p50["cold"] / p50[arm] >= 10 else f"{p50['cold'] / p50[arm]:.1f}x"
                     for arm in ("resident", "paged out", "spare")])
    return table(["ms, p50", "CPU", *ARMS, "resident", "paged out", "spare"], rows)


def node_table(times):
    rows = []
    for name, arms in times.items():
        p50 = {arm: median(arms[arm]["ready"]) for arm in NODE_ARMS}
        rows.append([name, digits(median(arms["cold"]["load"]))] + [digits(p50[arm]) for arm in NODE_ARMS] +
                    [f"{p50['cold'] / p50[arm]:.1f}x" for arm in NODE_ARMS[1:]])
    return table(["ms, p50, to ready", "CPU", *NODE_ARMS, *NODE_ARMS[1:]], rows)


def speedups(times, arm, what):
    """Of the functions that are heavy; of all, if none is."""
    heavy = [median(a["cold"][what]) / median(a[arm][what]) for a in times.values()
            if median(a["cold"]["load"]) >= HEAVY_MS]
    return heavy or [median(a["cold"][what]) / median(a[arm][what]) for a in times.values()]


def times_summary(times):
    rows = []
    for arm in ARMS[1:]:
        ready, done = speedups(times, arm, "ready"), speedups(times, arm, "done")
        slower = [n for n, a in times.items() if median(a[arm]["done"]) > median(a["cold"]["done"])]
        rows.append([arm, f"{geomean(ready):.0f}x", f"{min(ready):.0f}x", f"{geomean(done):.1f}x", ", ".join(slower) or "none"])
    best = geomean(speedups(times, "resident", "ready"))
    verdict = "reached" if best >= TARGETS["geomean"] else "missed"
    return table([f"the {len(speedups(times, 'cold', 'ready'))} functions that load for {HEAVY_MS} ms of processor time and more",
                  "to ready, geometric mean", "least", "to the end of the first request", "slower than cold"], rows) + \
        f"\n\nTarget: {TARGETS['geomean']}x to ready from a resident image, geometric mean: {verdict}."


def mb(value):
    return f"{value / 1e6:.0f}" if value >= 1e7 else f"{value / 1e6:.1f}"


def saved(part, whole):
    return f"{100 * (1 - part / whole):.1f}%"


def space_table(space):
    rows = []
    for (name, state), arms in space.items():
        for count in COUNTS:
            whole, warm, cool = (arms[a][count] for a in ("separate", "resident", "paged out"))
            rows.append([f"{name}, {count} {state}", mb(whole["pss"]), mb(warm["pss"]), mb(cool["pss"]), mb(cool["zram"]),
                         saved(warm["pss"], whole["pss"]), saved(cool["pss"], whole["pss"]),
                         saved(cool["pss"] + cool["zram"], whole["pss"]), mb(cool["one"])])
    return table(["MB, PSS; functions", "separate", "image resident", "image paged out", "zram keeps", "saved, resident",
                  "saved, paged out", "net of zram", "USS of one"], rows)


def space_summary(space):
    lines = []
    for (name, state), arms in space.items():
        whole, cool = (arms[a][max(COUNTS)] for a in ("separate", "paged out"))
        gross = 100 * (1 - cool["pss"] / whole["pss"])
        net = 100 * (1 - (cool["pss"] + cool["zram"]) / whole["pss"])
        lines.append(f"{name}, {state}: gross {gross:.1f}% ({'reached' if gross >= TARGETS['gross'] else 'missed'}), net "
                     f"{net:.1f}% ({'reached' if net >= TARGETS['net'] else 'missed'})")
    return f"Targets for ten functions: {TARGETS['gross']}% gross, {TARGETS['net']}% net of zram. " + "; ".join(lines) + "."


def report(times, node, space, skipped, rounds, loads):
    parts = [BEGIN, f"Linux {platform.release()}, {os.cpu_count()} processors, load {loads[0]:.1f} to {loads[1]:.1f}, nice {os.nice(0)}, "
             f"Python {platform.python_version()}, {rounds} rounds. Page cache hot, which favours the cold starts.",
             "To dependencies ready (CPU: processor time that a cold start needs for it):", times_table(times, "ready"), "To the end of the first request:",
             times_table(times, "done"), times_summary(times)]
    if node:
        parts += ["Node.js cold (`node FILE`) and from a spare of hearth-images; that the kernel moves it into its cgroup is "
                  "part of the time.", node_table(node)]
    if skipped:
        parts.append("Not measured: " + "; ".join(f"{name} ({why})" for name, why in skipped.items()) + ".")
    if space:
        parts += ["Space of N functions with the same dependencies (ready: before their first request): a process for "
                  "each, or instances of one image (the image included). Idle instances can be paged out as well, "
                  "in every column; here they are resident.", space_table(space), space_summary(space)]
    return "\n\n".join([*parts, END])


def write(text):
    path = REPO / "docs/zygote.md"
    page = path.read_text()
    renewed, n = re.subn(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: text, page, flags=re.S)
    if n != 1:
        sys.exit(f"{path}: no place for the tables: {BEGIN} ... {END}")
    path.write_text(renewed)


def prepare(directory):
    for i in range(max(COUNTS)):
        (directory / f"copy{i}").mkdir()
    code = ("import pickle, sklearn.ensemble\n"
            "model = sklearn.ensemble.RandomForestClassifier(20).fit([[i, i % 3, i % 5, 1] for i in range(200)], [i % 2 for i in range(200)])\n"
            "pickle.dump(model, open('model.pickle', 'wb'))\n")
    subprocess.run([PYTHON, "-c", code], cwd=directory, check=True)


def measure(options, directory, subtree):
    times, skipped = {}, {}
    os.chdir(directory)
    prepare(directory)
    for name in FUNCTIONS if not options.only else [name for name in options.only if name != "node"]:
        function = Function(name, directory)
        why = function.missing()
        if why:
            skipped[name] = why
            continue
        times[name] = times_of(function, subtree, directory, options.rounds)
        print(name, *(f"{arm} {digits(median(times[name][arm]['ready']))}" for arm in ARMS), file=sys.stderr)
    node = {}
    for name in NODE_FUNCTIONS if not options.only or "node" in options.only else ():
        found, why = node_times(name, directory, options.rounds)
        if why:
            skipped[name] = why
            continue
        node[name] = found
        print(name, *(f"{arm} {digits(median(found[arm]['ready']))}" for arm in NODE_ARMS), file=sys.stderr)
    return times, node, skipped, space_of_sets(times, subtree, directory)


def main():
    parser = argparse.ArgumentParser(description="Functions started cold and from an image.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=[*FUNCTIONS, "node"], metavar="NAME")
    parser.add_argument("--write", action="store_true", help="renew docs/zygote.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        swap.swap("4G")
    except Skip as why:
        sys.exit(f"bench-zygote: {why}")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="hearth-bench-zygote-"))
    subtree = Subtree(f"hearth-bench-zygote-{os.getpid()}")
    loads = [os.getloadavg()[0]]
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        cleanup.callback(subtree.close)
        times, node, skipped, space = measure(options, directory, subtree)
    loads.append(os.getloadavg()[0])
    text = report(times, node, space, skipped, options.rounds, sorted(loads))
    print(text)
    (BUILD / "bench").mkdir(exist_ok=True)
    (BUILD / "bench/zygote.json").write_text(json.dumps(
        {"times": times, "node": node, "space": [[*key, arms] for key, arms in space.items()], "skipped": skipped}))
    if options.write:
        write(text)


main()
