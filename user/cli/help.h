/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Everything that is printed from the table of commands instead of running one. */
#ifndef HEARTH_HELP_H
#define HEARTH_HELP_H

#include <stdio.h>

struct cli_command;

void help_all(FILE *out);
void help_command(FILE *out, const struct cli_command *command);
void help_json(FILE *out);       /* the table itself, for tests and tools */
void help_completion(FILE *out); /* a bash completion script */

#endif
