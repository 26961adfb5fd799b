/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "sim/prior.h"

static void add_unit(struct prior_sums *sums, const struct gathered *u, double end_minute)
{
	double last = hearth_clock_minute(u->t_s[0]);

	for (size_t i = 1; i < u->n; i++) {
		double minute = hearth_clock_minute(u->t_s[i]);

		hearth_population_wait(&sums->population, minute - last, true, 1.0 / u->n);
		last = minute;
	}
	hearth_population_wait(&sums->population, end_minute - last, false, 1.0 / u->n);
	sums->apps++;
}

void prior_add(struct prior_sums *sums, const struct gather *g, double end_s)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->units[i].n)
			add_unit(sums, &g->units[i], hearth_clock_minute(end_s));
}

void prior_estimate(const struct prior_sums *sums, struct prior *out)
{
	*out = (struct prior){0};
	out->n = hearth_population_estimate(&sums->population, out->cells);
}
