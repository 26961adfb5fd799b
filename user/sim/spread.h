/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The arrivals of a run, one by one in order of time: evenly over its span, or
 * (jitter) uniformly at random. Random ones depend on seed, unit and time
 * alone, so that every policy sees the same arrivals in any order of work.
 */
#ifndef HEARTH_SIM_SPREAD_H
#define HEARTH_SIM_SPREAD_H

#include "trace/trace.h"

struct spread_options {
	bool jitter;
	uint64_t seed;
};

struct spread {
	double t_s, span_s;
	uint32_t i, n;
	bool jitter;
	uint64_t rng;
	double log_left; /* log of the share of the span that is left */
};

void spread_start(struct spread *s, const struct spread_options *o, const char *unit,
		  const struct trace_run *run, double span_s);

double spread_random(struct spread *s);

static inline bool spread_next(struct spread *s, double *t_s)
{
	if (s->i == s->n)
		return false;
	*t_s = s->t_s + (s->jitter ? spread_random(s) : s->i * s->span_s / s->n);
	s->i++;
	return true;
}

#endif
