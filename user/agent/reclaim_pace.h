/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How big the next batch of a reclaim is, when it may begin, and when there is
 * no use in another. Pure: times and results are told to it.
 *
 * The control law: a batch that took longer than PACE_TARGET_NS makes the next
 * one smaller by what was measured, at most to a half; a shorter one makes it
 * larger, at most by a quarter. File pages go a hundred times faster than
 * anonymous ones, so the largest batch is one that is bearable for either.
 */
#ifndef HEARTH_RECLAIM_PACE_H
#define HEARTH_RECLAIM_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"

/* A wake or an rmdir waits for a batch at most: five milliseconds are bearable. */
#define PACE_TARGET_NS  (5 * NSEC_PER_MSEC)
#define PACE_FIRST      (UINT64_C(2) << 20) /* 5 ms of compression on a slow core */
#define PACE_MIN        (UINT64_C(256) << 10)
#define PACE_MAX        (UINT64_C(4) << 20)
#define PACE_IDLE_MAX   2 /* batches in a row with next to nothing */
#define PACE_IDLE_SHARE 8 /* that is: less than this part of what was asked */

struct pace {
	uint64_t want_bytes;
	uint64_t rate; /* swapped bytes per second; 0: no cap */
	uint64_t begun_ns;
	uint64_t batch_bytes;
	uint64_t returned_bytes; /* so far */
	uint64_t swapped_bytes;
	unsigned int batches;
	unsigned int idle; /* batches in a row, up to the last */
};

void pace_init(struct pace *p, uint64_t want_bytes, uint64_t first_bytes, uint64_t rate,
	       uint64_t now);

/* Bytes to ask for next, whole pages; 0: all that was wanted is returned. */
uint64_t pace_next(const struct pace *p);

/* Time until the rate cap allows the next batch. */
uint64_t pace_wait_ns(const struct pace *p, uint64_t now);

struct pace_batch {
	uint64_t asked_bytes;
	uint64_t returned_bytes;
	uint64_t swapped_bytes;
	uint64_t took_ns;
};
void pace_done(struct pace *p, const struct pace_batch *b);

/* The last batches returned next to nothing: the kernel has no more. */
bool pace_exhausted(const struct pace *p);

#endif
