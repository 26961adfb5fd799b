#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Dependency images on the sample in the project: how calls start in each mode.
exec python3 "$(dirname "$0")/check.py" images tests/data/azure2019-small
