#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=check timeout=500
# Never harm active work, fail open: the agent, its guard, and races of freezes against requests.
exec tests/run e2e/agent e2e/failopen e2e/guard e2e/shadow e2e/stress:a_slow_step
