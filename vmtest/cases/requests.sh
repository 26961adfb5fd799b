#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=check timeout=500
# What the hooks see: requests on TCP and AF_UNIX (C server), programs executed, HTTP framing.
exec tests/run ,c] cases_exec framing
