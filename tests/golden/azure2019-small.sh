#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The sample in the project: needs nothing else.
exec python3 "$(dirname "$0")/check.py" azure2019-small tests/data/azure2019-small
