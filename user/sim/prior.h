/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table that `predictive` starts from, estimated from traces. Every app
 * counts the same, and a wait that the end of the trace cuts off counts as
 * longer than what was seen of it.
 */
#ifndef HEARTH_SIM_PRIOR_H
#define HEARTH_SIM_PRIOR_H

#include <hearth/population.h>

#include "sim/gather.h"
#include "trace/prior.h"

struct prior_sums {
	struct hearth_population population;
	size_t apps;
};

/* Add the units of a trace that ends at end_s; start with zeroed sums. */
void prior_add(struct prior_sums *sums, const struct gather *g, double end_s);
void prior_estimate(const struct prior_sums *sums, struct prior *out);

#endif
