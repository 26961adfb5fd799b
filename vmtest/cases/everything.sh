#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=all timeout=3600
# Every end-to-end test, and the unit tests that read the kernel's files.
exec tests/run e2e/ unit/cgroup unit/locks unit/guard_table unit/cli_doctor
