# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compares `hearth sim` with the golden numbers of one trace, NAME.csv: exit 0, 1, or 77 if the trace is not there.

A row is the options of one run and what it must report. Numbers that policies.md or a publication states say so in
`source`; the others are frozen from the code, so that a change shows. Waste is in minutes, to a tenth.
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
EXACT = {"cold": "cold_starts", "dropped": "dropped", "evictions": "evictions", "loads": "loads"}


def simulate(trace, options):
    argv = [str(HEARTH), "sim", str(trace), "--json", *shlex.split(options)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["results"][0]


def difference(row, got):
    for column, key in EXACT.items():
        if row.get(column) and int(row[column]) != got[key]:
            yield f"{column} {got[key]}, expected {row[column]}"
    if row.get("waste_min") and row["waste_min"] != f"{got['waste_s'] / 60:.1f}":
        yield f"waste_min {got['waste_s'] / 60:.1f}, expected {row['waste_min']}"


def check(name, trace):
    trace = ROOT / trace if (ROOT / trace).exists() else TRACES / trace
    if not trace.exists():
        print(f"no {trace.name}: set HEARTH_TRACES to the directory of the traces")
        return 77
    wrong = 0
    with open(HERE / f"{name}.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        for line in difference(row, simulate(trace, row["options"])):
            wrong += 1
            print(f"{name}: {row['options']}: {line}")
    print(f"{name}: {len(rows)} runs, {wrong} differences")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(check(sys.argv[1], sys.argv[2]))
