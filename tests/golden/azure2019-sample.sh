#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The 188 apps of the sample that have at most 20,000 invocations.
exec python3 "$(dirname "$0")/check.py" azure2019-sample azure2019-sample
