/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of subcommands, in the order in which --help shows them. Nothing
 * else in the project lists them: help, completion and the documentation test
 * read these rows.
 */
#include <string.h>

#include "cli/commands.h"

const struct cli_command commands[] = {
    {.name = "top",
     .args = "",
     .help = "watch functions live: tiers, idle times, next steps",
     .run = cmd_top,
     .options = cmd_top_options},
    {.name = "ls",
     .args = "",
     .help = "list functions with tier, idle time, next step and counters",
     .run = cmd_ls,
     .options = cmd_ls_options},
    {.name = "show",
     .args = "NAME",
     .help = "show one function: settings, counters, idle-time histogram, instances",
     .run = cmd_show,
     .min_args = 1,
     .max_args = 1,
     .complete = COMPLETE_FUNCTION},
    {.name = "explain",
     .args = "NAME",
     .help = "explain why a function is in its tier, what is next, and the last decisions",
     .run = cmd_explain,
     .options = cmd_explain_options,
     .min_args = 1,
     .max_args = 1,
     .complete = COMPLETE_FUNCTION},
    {.name = "events",
     .args = "[NAME]",
     .help = "show the journal of decisions, of one function or of all",
     .run = cmd_events,
     .options = cmd_events_options,
     .max_args = 1,
     .complete = COMPLETE_FUNCTION},
    {.name = NULL},
};

const struct cli_command *commands_find(const char *name)
{
	for (const struct cli_command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}
