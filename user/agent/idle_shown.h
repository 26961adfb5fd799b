/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The idle times of a function as /metrics shows them: a cumulative histogram
 * whose bounds are bins, doubling. Its counters never fall, though a begin that
 * is taken back takes its idle time out of what was learned: a counter that
 * falls would be read as one that began anew.
 */
#ifndef HEARTH_AGENT_IDLE_SHOWN_H
#define HEARTH_AGENT_IDLE_SHOWN_H

#include <stdint.h>

#include "hearth/policy.h"

#define IDLE_BOUNDS 11 /* 1, 2, 4 ... 512 bins, and the last bin */

struct idle_shown {
	double bin_s; /* the bounds belong to this geometry */
	uint32_t nbins;
	unsigned int n;
	double bound_s[IDLE_BOUNDS];
	double within[IDLE_BOUNDS]; /* idle times up to that bound */
	double count;
	double sum_s; /* the middle of each bin, and the range's end for what is beyond it */
};

/* Up to what h holds by now; under other bins only count and sum go on. */
void idle_shown_raise(struct idle_shown *shown, const struct hearth_hist *h);

#endif
