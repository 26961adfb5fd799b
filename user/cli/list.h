/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lists of numbers in option arguments: "10,60,90". */
#ifndef HEARTH_LIST_H
#define HEARTH_LIST_H

#include "cli/cli.h"

/* cli->arg as up to `cap` numbers from 0 to max: CLI_OK, or CLI_USAGE after the message. */
int list_numbers(struct cli *cli, const char *option, double max, double *out, size_t cap,
		 size_t *n);

#endif
