/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lines and sentences about commands. What a command prints is cut and freed of
 * control characters before anybody reads it.
 */
#include <string.h>

#include "agent/hooks_text.h"
#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/log.h"

void hook_output_end(struct hook_output *o)
{
	if (o->len == 0)
		return;
	o->line[o->len] = '\0';
	o->len = 0;
	memcpy(o->last, o->line, sizeof(o->last));
	if (++o->lines <= HOOK_LINES_MAX)
		log_info("%s of %s: %s", o->hook, o->who, o->line);
	else if (o->lines == HOOK_LINES_MAX + 1)
		log_info("%s of %s: more lines are not shown", o->hook, o->who);
}

void hook_output_add(struct hook_output *o, const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)buf[i];

		if (c == '\n')
			hook_output_end(o);
		else if (o->len < HOOK_LINE_BYTES)
			o->line[o->len++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
	}
}

void hook_result_text(struct hook_result *r, const struct hook_output *o)
{
	uint64_t ms = (r->took_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	const char *last = r->end == HOOK_OK ? "" : o->last;
	char took[DURATION_TEXT], what[64];

	duration_format(ms * NSEC_PER_MSEC, took, sizeof(took));
	switch (r->end) {
	case HOOK_OK:
		snprintf(what, sizeof(what), "ok after %s", took);
		break;
	case HOOK_FAILED:
		snprintf(what, sizeof(what), "exit status %d after %s", r->status, took);
		break;
	case HOOK_SIGNALLED:
		snprintf(what, sizeof(what), "ended by SIG%s after %s",
			 sigabbrev_np(r->status) ?: "?", took);
		break;
	case HOOK_TIMEOUT:
		snprintf(what, sizeof(what), "killed, not done after %s", took);
		break;
	case HOOK_CANCELLED:
		snprintf(what, sizeof(what), "cancelled%s%s", r->took_ns ? " after " : "",
			 r->took_ns ? took : "");
		break;
	case HOOK_NOT_RUN:
		snprintf(what, sizeof(what), "cannot be run: %s", strerror(-r->status));
		break;
	}
	snprintf(r->text, sizeof(r->text), "%s: %s%s%s", hook_name(r->kind), what,
		 *last ? ": " : "", last);
}
