/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every subcommand's entry point, and the table that names them. One file
 * cmd_NAME.c per subcommand; see cli.h for how to add one.
 */
#ifndef HEARTH_COMMANDS_H
#define HEARTH_COMMANDS_H

#include "cli/cli.h"

/* Ends with .name = NULL. */
extern const struct cli_command commands[];

const struct cli_command *commands_find(const char *name);

int cmd_ls(struct cli *cli);
extern const struct cli_option cmd_ls_options[];

#endif
