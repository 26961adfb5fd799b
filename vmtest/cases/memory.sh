#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=all timeout=1500
# Memory of idle instances through the memory controller: out, back, gone, races; and what it is worth.
modprobe loop || exit
exec tests/run e2e/memory figures:idle_ e2e/races
