/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wake thread: thaws what a request, connection attempt or entering task
 * asked for. Runs as SCHED_FIFO where allowed, does nothing else, never waits
 * for the main thread, allocates nothing. Every 200 ms it looks at all slots
 * (a full ring delays a wake, never loses it) and gives the guard its heartbeat.
 */
#ifndef HEARTH_WAKE_H
#define HEARTH_WAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/act.h"
#include "agent/wake_ring.h"

struct wake;

struct wake_options {
	struct act *act;
	struct guard_table *guard;
	const struct kernel_maps *maps;
	int map_fd;                               /* the `wakes` ring */
	int priority;                             /* SCHED_FIFO, 0 = off */
	void (*notify)(void *arg);                /* there are notes; called on the wake thread */
	void (*thawed)(uint32_t slot, void *arg); /* at once, on the wake thread */
	void *arg;
};

int wake_start(const struct wake_options *o, struct wake **out);
void wake_stop(struct wake *w); /* joins; NULL is fine */

/* Notes that found the ring full: history detail, not wakes. */
uint64_t wake_notes_dropped(const struct wake *w);
bool wake_next_note(struct wake *w, struct wake_note *out);
bool wake_is_fifo(const struct wake *w);
int wake_fifo_error(const struct wake *w); /* negative errno if SCHED_FIFO was refused */

#endif
