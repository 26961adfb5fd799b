/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of subcommands, in the order in which --help shows them. Nothing
 * else in the project lists them: help, completion and the documentation test
 * read these rows.
 */
#include <string.h>

#include "cli/commands.h"

const struct cli_command commands[] = {
    {.name = "ls",
     .args = "",
     .help = "list functions with tier, idle time, next step and counters",
     .run = cmd_ls,
     .options = cmd_ls_options},
    {.name = NULL},
};

const struct cli_command *commands_find(const char *name)
{
	for (const struct cli_command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}
