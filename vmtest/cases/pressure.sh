#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=all timeout=1200 memory=640M
# A memory hog outside the subtree, alone and beside idle functions, on a node that has not memory enough for both.
exec tests/run figures:pressure
