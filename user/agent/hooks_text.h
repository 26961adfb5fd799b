/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Inside hooks: what a command prints, line by line into the log, and how its end reads. */
#ifndef HEARTH_HOOKS_TEXT_H
#define HEARTH_HOOKS_TEXT_H

#include "agent/hooks.h"

#define HOOK_LINES_MAX  32  /* of one command in the log: it may not flood it */
#define HOOK_LINE_BYTES 160 /* the rest of a line is dropped */

struct hook_output {
	const char *hook, *who; /* how the lines begin in the log */
	char line[HOOK_LINE_BYTES + 1], last[HOOK_LINE_BYTES + 1];
	size_t len;
	unsigned int lines;
};

void hook_output_add(struct hook_output *o, const char *buf, size_t len);
void hook_output_end(struct hook_output *o); /* a last line without its end counts too */

/* Fills in r->text from the rest of it. */
void hook_result_text(struct hook_result *r, const struct hook_output *o);

#endif
