/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Timers in simulated time: a heap of timers embedded in what they belong to,
 * so that one can be moved or cancelled where it stands. Ties go by kind, then
 * by the order in which they were set.
 */
#ifndef HEARTH_SIM_TIMERS_H
#define HEARTH_SIM_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer {
	double due_s;
	uint64_t set; /* when: a count */
	int kind;     /* the owner's */
	size_t at;    /* place in the heap + 1; 0: not set */
};

struct timers {
	struct timer **heap;
	size_t n, cap;
	uint64_t sets;
};

int timers_set(struct timers *ts, struct timer *t, double due_s); /* or move: 0 or -ENOMEM */
void timers_cancel(struct timers *ts, struct timer *t);
/* The one that is due first; NULL if there is none. */
struct timer *timers_first(const struct timers *ts);
void timers_done(struct timers *ts);

#endif
