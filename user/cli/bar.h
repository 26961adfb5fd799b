/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A bar on cli->err while a command works, if that is a terminal; else nothing. */
#ifndef HEARTH_CLI_BAR_H
#define HEARTH_CLI_BAR_H

#include "cli/cli.h"
#include "lib/progress.h"

struct bar;

/* Show p until bar_stop. NULL where there is nothing to show on. */
struct bar *bar_start(struct cli *cli, const struct progress *p);
void bar_stop(struct bar *b); /* takes the bar off the terminal; accepts NULL */

#endif
