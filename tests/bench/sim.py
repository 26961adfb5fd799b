#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The simulator against a plain one in Python, and how it grows with the trace.

    tests/bench/sim.py [--long]

Writes a JSON line per figure. The trace is invented by `hearth gen`: the same
apps, more and more days, from 10^5 calls to 10^7, with --long to 10^8. Both
simulators read the files, and the run is void unless their results are equal.
Time is CPU time of all threads.
"""
import argparse
import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
HEARTH = pathlib.Path(os.environ.get("HEARTH_BUILD", REPO / "build")) / "hearth"
APPS, BUSIEST = 130, 20_000  # about 10^5 calls a day
DAYS = (1, 10, 100)
LONG_DAYS = 1200
COMPARED_DAYS = 10
GROWTH = ("fixed:10", "hybrid:240,arima=off", "hawkes", "predictive")
COMPARED = ("fixed:10", "hybrid:240,arima=off")
DAY_S, MINUTE_S, BINS = 86_400, 60.0, 240


def fixed(_app):
    return 0, 600


def percentile(app, q):
    wanted, below = max(100, q * app["s1"]), 0
    for i, n in enumerate(app["bins"]):
        below += n
        if 100 * below >= wanted:
            return i
    return BINS


def hybrid(app):
    s1, oob = app["s1"], app["oob"]
    if s1 < 10 or BINS * app["s2"] < 5 * s1 * s1 or oob > 0.5 * (s1 + oob):
        return 0, BINS * MINUTE_S
    return 0.9 * (percentile(app, 5) * MINUTE_S), 1.1 * ((percentile(app, 99) + 1) * MINUTE_S)


def learn(app, idle_s):
    i = int(idle_s / MINUTE_S)
    if i >= BINS:
        app["oob"] += 1
        return
    app["s2"] += 2 * app["bins"][i] + 1
    app["bins"][i] += 1
    app["s1"] += 1


def loaded(window, idle_s):
    return max(0, min(idle_s, window[1]) - window[0])


def counts_by_app(days):
    apps = {}
    for day, path in enumerate(days):
        with open(path, newline="") as f:
            rows = csv.reader(f)
            next(rows)
            for row in rows:
                counts = apps.setdefault(row[1], {})
                for minute, n in enumerate(row[4:], 1440 * day):
                    if n != "0":
                        counts[minute] = counts.get(minute, 0) + int(n)
    return apps


def replay(days, policy):
    """Cold starts and waste."""
    decide, cold, waste = {"fixed": fixed, "hybrid": hybrid}[policy.split(":")[0]], 0, 0.0
    for counts in counts_by_app(days).values():
        app = {"bins": [0] * BINS, "s1": 0, "s2": 0, "oob": 0}
        last = window = None
        for minute, n in sorted(counts.items()):
            for i in range(n):
                now = minute * MINUTE_S + i * MINUTE_S / n
                if last is None:
                    cold += 1
                else:
                    idle_s = now - last
                    cold += not window[0] <= idle_s < window[1]
                    waste += loaded(window, idle_s)
                    learn(app, idle_s)
                last, window = now, decide(app)
        if last is not None:
            waste += loaded(window, DAY_S * len(days) - last)
    return cold, waste


def peak_kb(pid):
    """High-water mark so far; of a process that ended, nothing."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def hearth(trace, policy, cold_costs="10"):
    """CPU seconds, peak kB and report of a run."""
    run = subprocess.Popen([HEARTH, "sim", trace, "-p", policy, "-c", cold_costs, "--json"], stdout=subprocess.PIPE)
    peak = 0
    while not (done := os.wait4(run.pid, os.WNOHANG))[0]:
        peak = max(peak, peak_kb(run.pid))
        time.sleep(0.002)
    if done[1]:
        sys.exit(f"hearth sim -p {policy} failed")
    return done[2].ru_utime + done[2].ru_stime, peak, json.loads(run.stdout.read())


def emit(bench, variant, **figures):
    print(json.dumps({"bench": bench, "variant": variant, **figures}), flush=True)


def compare(trace):
    for policy in COMPARED:
        began = time.process_time()
        cold, waste = replay(sorted(trace.glob("invocations*.csv")), policy)
        python_s = time.process_time() - began
        hearth_s, _, report = min((hearth(trace, policy) for _ in range(3)), key=lambda r: r[0])
        result = report["results"][0]
        if result["cold_starts"] != cold or not math.isclose(result["waste_s"], waste, rel_tol=1e-9):
            sys.exit(f"{policy}: {cold} cold starts and {waste} s in Python, hearth sim says {result}")
        emit("sim_python", policy, invocations=report["trace"]["invocations"], python_s=python_s,
             hearth_s=hearth_s, ratio=python_s / hearth_s)


def decisions(trace):
    """What an invocation costs without reading the trace: three more settings against none more."""
    for policy in GROWTH:
        one, four = (min((hearth(trace, policy, costs) for _ in range(3)), key=lambda r: r[0])
                     for costs in ("10", "10,11,12,13"))
        emit("sim_decision", policy, per_s=3 * one[2]["trace"]["invocations"] / max(four[0] - one[0], 1e-9))


def grow(trace):
    for policy in GROWTH:
        cpu_s, peak, report = hearth(trace, policy)
        n = report["trace"]["invocations"]
        emit("sim_growth", policy, invocations=n, cpu_s=cpu_s, per_s=n / cpu_s, peak_mb=peak / 1024)


def main():
    parser = argparse.ArgumentParser(description="Measures the simulator.")
    parser.add_argument("--long", action="store_true", help="up to 10^8 calls: some minutes and 2 GB of disk")
    options = parser.parse_args()
    for days in (*DAYS, LONG_DAYS) if options.long else DAYS:
        with tempfile.TemporaryDirectory(prefix="hearth-bench-") as work:
            trace = pathlib.Path(work) / "trace"
            subprocess.run([HEARTH, "gen", trace, "-n", str(APPS), "-D", str(days), "-x", str(BUSIEST)],
                           stdout=subprocess.DEVNULL, check=True)
            if days == COMPARED_DAYS:
                compare(trace)
                decisions(trace)
            grow(trace)


main()
