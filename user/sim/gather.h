/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All arrivals of a trace in memory, by unit and in order of time: for fits,
 * which look at them many times.
 */
#ifndef HEARTH_SIM_GATHER_H
#define HEARTH_SIM_GATHER_H

#include "sim/spread.h"

struct gathered {
	double *t_s;
	size_t n, cap;
};

struct gather {
	struct gathered *units;
	size_t n;
};

/* Read the trace to its end: 0, or -errno. gather_done is due in both cases. */
int gather_run(struct gather *g, struct trace *t, const struct spread_options *o);
void gather_done(struct gather *g);

#endif
