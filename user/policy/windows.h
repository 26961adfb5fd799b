/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Windows from a hazard, interval by interval: adjoining intervals become one
 * window; a window that does not earn its load is left out, and of more than
 * HEARTH_WINDOWS those that save least.
 */
#ifndef HEARTH_POLICY_WINDOWS_H
#define HEARTH_POLICY_WINDOWS_H

#include <hearth/policy.h>

struct windows {
	struct hearth_decision *out;
	double gain[HEARTH_WINDOWS]; /* saved by each, beyond what opening it costs */
	struct hearth_window open;   /* the one being extended */
	double open_gain;            /* NaN: none is */
};

void windows_init(struct windows *w, struct hearth_decision *out);

/*
 * Loaded in [from_s, to_s), which saves `gain`. Ascending, disjoint. load_cost is
 * what loading at from_s costs, were it the start of a window; nothing at 0.
 */
void windows_add(struct windows *w, double from_s, double to_s, double gain, double load_cost);

/* Close the last one. */
void windows_done(struct windows *w);

#endif
