#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Runs the benchmarks and writes their tables. Needs root, and what `make bench` builds: run it by that.

    tests/bench/run.py [--only NAME...] [--long] [--write]

Tables go to stdout as Markdown and, as JSON lines, to build/bench/results.json.
--write also renews docs/benchmarks.md, or those sections of it. Figures have targets but nothing fails
on a time: a slow or busy machine is not a bug.
"""
import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tools"))
from hearth_host import BUILD, Hearthd, Subtree, wait_for  # noqa: E402

BENCH = BUILD / "bench"
NAME = f"hearth-bench-{os.getpid()}"
LOAD = os.getloadavg()[0]  # a busy machine shows in every figure
FUNCTIONS = 20
RATES = (0, 1000, 5000, 10000)
PAPER_STEP_NS = 835_700  # what its policy added to an invocation in OpenWhisk: Shahrad et al., ATC 2020
SIM_TARGETS = {"fixed:10": 20, "hybrid:240,arima=off": 5, "hawkes": 5, "predictive": 1}
CONFIG = {
    "agent": {"mode": "manage"},
    "policy": {"default": "always", "debounce": "0s", "idle_grace": "0s", "startup_grace": "0s",
               "syn_hold": "100ms"},
    "rule bench": {"match": NAME + "/{function}/{instance}"},
}


class World:
    """A cgroup of our own and a hearthd that looks at nothing else."""

    def __init__(self, policy="always"):
        self.subtree = Subtree(NAME)
        config = dict(CONFIG, policy=dict(CONFIG["policy"], default=policy))
        self.agent = Hearthd(NAME, BENCH / "run", config)

    def __enter__(self):
        self.agent.start()
        return self

    def __exit__(self, *_):
        try:
            self.agent.close()
        finally:
            self.subtree.close()


def figures(output):
    return [json.loads(line) for line in output.splitlines()]


def run(program, *arguments):
    argv = [BENCH / program, *arguments]
    print(f"running {program} {' '.join(map(str, arguments))}", file=sys.stderr)
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} failed")
    return figures(done.stdout)


def bench_hooks():
    return run("hooks")


def bench_wake():
    rows = []
    with World() as world:
        (world.subtree.path / "wake").mkdir()
        rows += run("wake", "hearthd", f"{NAME}/wake", world.agent.socket, "wake")
    for variant in ("proxy", "poll"):
        rows += run("wake", variant, f"{NAME}-{variant}")
    return rows


def bench_policy():
    return run("policy")


def bench_load():
    with World(policy="hybrid:240") as world:
        argv = [BENCH / "load", NAME, FUNCTIONS, world.agent.process.pid, *RATES]
        print(f"running load at {RATES} invocations/s", file=sys.stderr)
        load = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)
        rows = []
        for line in load.stdout:
            rows.append(json.loads(line))
            if rows[-1]["bench"] == "load_sent":
                break
        if not rows or rows[-1]["bench"] != "load_sent":
            sys.exit("load failed")
        sent = rows.pop()["requests"]
        seen = {}

        def all_counted():
            seen["n"] = sum(f["invocations"] for f in world.agent.functions().values())
            return seen["n"] == sent

        wait_for(all_counted, 5, lambda: f"hearthd counted {seen['n']}, sent were {sent:.0f}")
        load.communicate("\n")
        return rows


def bench_sim(*arguments):
    print("running sim.py", *arguments, file=sys.stderr)
    done = subprocess.run([sys.executable, REPO / "tests/bench/sim.py", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("sim.py failed")
    return figures(done.stdout)


BENCHES = {"hooks": bench_hooks, "wake": bench_wake, "policy": bench_policy, "load": bench_load,
           "sim": bench_sim}


# ---- tables

def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def of(rows, bench):
    return [r for r in rows if r["bench"] == bench]


def ratio_table(rows):
    targets = {("http", "direction"): "1.05", ("http", "http1"): "1.07", ("fork_exec", "http1"): "1.02"}
    what = {"http": "HTTP ping-pong", "fork_exec": "fork + exec + wait"}
    found = of(rows, "http") + of(rows, "fork_exec")
    return table(("work", "hooks", "with / without", "quartiles", "CPU time ratio", "without, us", "with, us",
                  "target"),
                 [(what[r["bench"]], r["variant"], f"**{r['ratio']:.3f}**",
                   f"{r['ratio_p25']:.3f} - {r['ratio_p75']:.3f}", f"{r['cpu_ratio']:.3f}",
                   f"{r['without_us']:.1f}", f"{r['with_us']:.1f}",
                   targets.get((r["bench"], r["variant"]), "-")) for r in found])


def program_table(rows):
    names, cells = [], {}
    variants = []
    for r in of(rows, "program"):
        name, variant = r["variant"].split(" @ ")
        if name not in names:
            names.append(name)
        if variant not in variants:
            variants.append(variant)
        cells[name, variant] = f"{r['ns']:.0f}"
    return table(("program", *variants),
                 [(n, *(cells.get((n, v), "-") for v in variants)) for n in names])


def wake_table(rows):
    return table(("woken by, connection", "warm p50", "warm p99", "frozen p50", "frozen p99", "added p50",
                  "target"),
                 [(r["variant"], f"{r['warm_p50_us']:.0f}", f"{r['warm_p99_us']:.0f}",
                   f"{r['frozen_p50_us']:.0f}", f"{r['frozen_p99_us']:.0f}", f"**{r['added_p50_us']:.0f}**",
                   "120" if r["variant"] == "hearthd, keep-alive" else "-") for r in of(rows, "wake")])


def policy_table(rows):
    return table(("policy", "p50, ns", "p99 of rounds, ns", "target, ns", "against the paper's 835.7 us"),
                 [(r["variant"], f"**{r['ns_p50']:.0f}**", f"{r['ns_p99']:.0f}",
                   "1000" if r["variant"].startswith("hybrid") else "-",
                   f"{PAPER_STEP_NS / r['ns_p50']:.0f} times less"
                   if r["variant"].startswith("hybrid") else "-") for r in of(rows, "policy_step")])


def load_table(rows):
    return table(("invocations/s asked", "reached", "hearthd CPU, % of one core", "us per invocation"),
                 [(r["variant"], f"{r['rate']:.0f}", f"**{r['cpu_percent']:.2f}**",
                   f"{r['cpu_us_per_invocation']:.2f}" if r["rate"] else "-") for r in of(rows, "load")])


def python_table(rows):
    return table(("policy", "invocations", "Python, CPU s", "hearth sim, CPU s", "times faster"),
                 [(r["variant"], r["invocations"], f"{r['python_s']:.2f}", f"{r['hearth_s']:.3f}",
                   f"**{r['ratio']:.0f}**") for r in of(rows, "sim_python")])


def decision_table(rows):
    return table(("policy", "million decisions per core and second", "target"),
                 [(r["variant"], f"**{r['per_s'] / 1e6:.2f}**", SIM_TARGETS[r["variant"]])
                  for r in of(rows, "sim_decision")])


def growth_table(rows):
    found = sorted(of(rows, "sim_growth"), key=lambda r: (list(SIM_TARGETS).index(r["variant"]), r["invocations"]))
    return table(("policy", "invocations", "CPU s", "million/s of CPU time", "peak MB"),
                 [(r["variant"], r["invocations"], f"{r['cpu_s']:.2f}", f"{r['per_s'] / 1e6:.2f}",
                   f"**{r['peak_mb']:.1f}**") for r in found])


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.machine())
    memory = int(open("/proc/meminfo").readline().split()[1]) / 2**20
    return (f"{os.cpu_count()} x {cpu}, {memory:.0f} GB, Linux {platform.release()}, load average "
            f"{LOAD:.1f} before the run")


SECTIONS = {
    "hooks": ("What the hooks cost", """
Client and server share one CPU and one keep-alive connection; the server lives in an instance, the
client outside. Rounds of 4,000 requests (60 for fork+exec) with and without the hooks alternate and swap
their order, so a drift of the machine cancels out; the figure is the median of 100 ratios. The CPU
time ratio counts only the CPU time of both sides. Every request is an edge from idle to busy and back,
the most expensive kind. The run is void unless the hooks counted exactly the requests sent, and with
`kernel.bpf_stats_enabled` on.

{ratio}
Nanoseconds per run of a program, from `bpf_stats`, which itself adds some 50 ns to each. In all columns
there are requests on one connection, new connections, fork+exec and freezes. The second programs of Linux
7.0 and later (`_again`, bpf/exec.bpf.c) are attached and measured only there, as hearthd does. The ratios
above move by 0.03 from day to day on one machine: compare two builds in one hour.

{program}"""),
    "wake": ("What a frozen instance costs its next client", """
Microseconds from the client's `write` (or `connect`) to the whole answer; 800 requests to a warm and 800
to a frozen instance in turns. `hearthd` is the real agent with its wake thread. For comparison, what one
would build without kernel hooks: `proxy` is a TCP proxy in the path that thaws on the first byte (it also
costs every warm request a second hop), `poll` looks at /proc/net/tcp every 10 ms.

{wake}"""),
    "policy": ("What a decision costs", """
One step counts an idle time, learns the arrival and decides the next windows. The paper of the hybrid
policy (Shahrad et al., ATC 2020) reports 835.7 us added to each invocation by its code in OpenWhisk.

{policy}"""),
    "load": ("What hearthd costs", """
CPU time of all threads of hearthd while 20 functions in turn are invoked at a fixed rate for 10 s, every
invocation an edge from idle to busy. hearthd is in manage mode with `hybrid:240`.

{load}"""),
    "sim": ("What a simulation costs", """
`hearth sim` on traces of `hearth gen`: the same 130 apps for 1, 10 and 100 days. The other simulator is a
plain one in Python, which reads the same files and must find the same cold starts and waste, or the run is
void. CPU time is that of all threads, reading the trace and starting the program included.

{python}
A decision without the reading, which all settings share: three more settings of a policy against one, on 10
days. `hawkes` fits again whenever an app's calls have grown by half, so it costs less the longer the trace.

{decision}
Time grows with the trace, memory does not. Calls from 10^5 to 10^7; `make bench LONG=1` goes on to 1,200 days
and nearly 10^8 (`make bench LONG=1 ONLY=sim` for this section alone).

{growth}"""),
}
TABLES = {"ratio": ratio_table, "program": program_table, "wake": wake_table, "policy": policy_table,
          "load": load_table, "python": python_table, "decision": decision_table, "growth": growth_table}


def section(rows, name):
    title, body = SECTIONS[name]
    filled = {key: make(rows) for key, make in TABLES.items() if "{" + key + "}" in body}
    return f"## {title}\n{body.strip().format(**filled).rstrip()}\n"


def document(rows, names):
    head = (f"# Benchmarks\n\nMade by `make bench` (root) on {machine()}.\n"
            "Targets are goals of the design for an idle machine; no test depends on a time.\n")
    return "\n".join([head, *(section(rows, name) for name in names)])


def renew(path, rows, names):
    if len(names) == len(BENCHES):
        path.write_text(document(rows, names))
        return
    text = path.read_text()
    for name in names:
        title = f"## {SECTIONS[name][0]}\n"
        before, found, after = text.partition(title)
        if not found:
            sys.exit(f"{path}: no section \"{title.strip()}\"; renew all of it once")
        _, following, rest = after.partition("\n## ")
        text = before + section(rows, name) + following + rest
    path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description="Runs the benchmarks.")
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES), metavar="NAME",
                        help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--long", action="store_true", help="simulate up to 10^8 calls, not 10^7")
    parser.add_argument("--write", action="store_true", help="renew docs/benchmarks.md, or those sections of it")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the benchmarks need root: they load BPF programs and make cgroups")
    arguments = {"sim": ["--long"]} if options.long else {}
    rows = [row for name in options.only for row in BENCHES[name](*arguments.get(name, []))]
    with open(BENCH / "results.json", "w") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    text = document(rows, options.only)
    print(text, end="")
    if options.write:
        renew(REPO / "docs/benchmarks.md", rows, options.only)


main()
