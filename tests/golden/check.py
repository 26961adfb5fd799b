# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compares `hearth sim` with the golden numbers of one trace, NAME.csv: exit 0, 1, or 77 if the trace is not there.

A row is the options of one run and what it must report. Numbers that policies.md or a publication states say so in
`source`; the others are frozen from the code, so that a change shows. Waste is in minutes, to a tenth. A row with a
mode is one of the results of a run with --images.
"""
import csv
import json
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HEARTH = pathlib.Path(os.environ.get("HEARTH_BUILD", ROOT / "build")) / "hearth"
TRACES = pathlib.Path(os.environ.get("HEARTH_TRACES", ROOT.parent / "shared" / "traces"))
EXACT = {"cold": "cold_starts", "dropped": "dropped", "evictions": "evictions", "loads": "loads",
         "forked": "image_starts", "images": "image_loads"}
ROUNDED = {"waste_min": ("waste_s", 60, 1), "mean_ms": ("start_mean_ms", 1, 3), "gb_h": ("memory_mb_s", 1024 * 3600, 2)}


def simulate(trace, options, mode):
    argv = [str(HEARTH), "sim", str(trace), "--json", *shlex.split(options)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    return next(r for r in json.loads(done.stdout)["results"] if r.get("mode") == (mode or None))


def difference(row, got):
    for column, key in EXACT.items():
        if row.get(column) and int(row[column]) != got[key]:
            yield f"{column} {got[key]}, expected {row[column]}"
    for column, (key, unit, digits) in ROUNDED.items():
        if row.get(column) and row[column] != f"{got[key] / unit:.{digits}f}":
            yield f"{column} {got[key] / unit:.{digits}f}, expected {row[column]}"


def check(name, trace):
    trace = ROOT / trace if (ROOT / trace).exists() else TRACES / trace
    if not trace.exists():
        print(f"no {trace.name}: set HEARTH_TRACES to the directory of the traces")
        return 77
    wrong = 0
    with open(HERE / f"{name}.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        for line in difference(row, simulate(trace, row["options"], row.get("mode"))):
            wrong += 1
            print(f"{name}: {row['options']} {row.get('mode') or ''}: {line}")
    print(f"{name}: {len(rows)} runs, {wrong} differences")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(check(sys.argv[1], sys.argv[2]))
