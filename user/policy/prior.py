#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Writes predictive_prior.h: how long functions are idle, over a population.

Usage: prior.py NAME=INVOCATIONS.csv [NAME=INVOCATIONS.csv] > predictive_prior.h

Each file has the layout of the Azure Functions trace (HashOwner, HashApp,
HashFunction, Trigger, one count per minute). Every app counts the same,
however often it is invoked. A gap is a number of clock minutes between two
arrivals; the gap that the end of the file cuts off is known to be longer than
what was seen of it (a product-limit estimate of the hazard). With two files a
third column is the estimate over both.
"""
import csv
import sys

BINS = 1440
BUSIEST = 20000  # invocations a day; beyond, an app is always loaded


def starts():
    """Cells: single minutes where timers fire, runs of minutes between them."""
    single = set(range(31)) | set(range(35, 121, 5)) | set(range(150, 481, 30)) \
        | set(range(540, BINS, 60))
    return sorted(single | {b + 1 for b in single})


def apps(path):
    counts = {}
    with open(path, newline="") as f:
        rows = csv.reader(f)
        minutes = len(next(rows)) - 4
        for row in rows:
            app = counts.setdefault(row[1], [0] * minutes)
            for m, n in enumerate(row[4:]):
                app[m] += int(n)
    return [c for c in counts.values() if 0 < sum(c) <= BUSIEST]


def estimate(population):
    ended = [0.0] * (BINS + 1)  # weight of gaps of exactly b minutes
    cut = [0.0] * (BINS + 1)    # weight of gaps seen for b minutes without their end
    for counts in population:
        weight = 1 / sum(counts)
        last = None
        for m, n in enumerate(counts):
            if not n:
                continue
            if last is not None:
                ended[m - last] += weight
            ended[0] += weight * (n - 1)
            last = m
        cut[min(BINS, len(counts) - last)] += weight
    at_risk = sum(ended) + sum(cut)
    survival, mass = 1.0, []
    for b in range(BINS):
        hazard = ended[b] / at_risk if at_risk > 0 else 0
        mass.append(survival * hazard)
        survival *= 1 - hazard
        at_risk -= ended[b] + cut[b]
    return mass


def main():
    sources = [arg.split("=", 1) for arg in sys.argv[1:]]
    populations = [(name, apps(path)) for name, path in sources]
    if len(populations) == 2:
        populations.append(("both", populations[0][1] + populations[1][1]))
    edges = starts() + [BINS]
    print("/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */")
    print("/*")
    print(" * Written by prior.py from rows of the Azure Functions Trace 2019 (CC-BY 4.0; Shahrad et")
    print(" * al., Serverless in the Wild, USENIX ATC 2020): probability that the next arrival comes")
    print(" * within these clock minutes after the last one. What is missing to 1: longer.")
    print(" */")
    print("#define PRIOR_BINS %d" % BINS)
    for name, population in populations:
        print("#define PRIOR_%s_APPS %d" % (name.upper(), len(population)))
    print("\nstatic const uint16_t prior_start[] = {")
    for i in range(0, len(edges), 16):
        print("\t" + " ".join("%d," % e for e in edges[i:i + 16]))
    print("};")
    for name, population in populations:
        mass = estimate(population)
        cells = [sum(mass[a:b]) for a, b in zip(edges, edges[1:])]
        print("\nstatic const float prior_%s[] = {" % name)
        for i in range(0, len(cells), 9):
            print("\t" + " ".join("%.2ef," % c for c in cells[i:i + 9]))
        print("};")


main()
