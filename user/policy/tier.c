/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tiers: the lower envelope of lines, and the cheapest path through them when
 * moves cost. The path is found backwards from the end of the idle time, so a
 * move is made exactly if what it saves until the next move, weighted by the
 * chance that the idle time lasts, exceeds its cost and that of the way back.
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>

#include <hearth/tier.h>

static bool measured(double v)
{
	return v >= 0 && isfinite(v);
}

int hearth_tier_cost(const struct hearth_tier_measure *m, double warm_bytes, double cpu_weight,
		     double cold_cost_s, double cold_latency_s, struct hearth_tier *out)
{
	if (!(warm_bytes > 0) || !(cold_latency_s > 0) || !(cold_cost_s > 0) ||
	    !measured(cpu_weight) || !measured(m->bytes) || !measured(m->cpu) ||
	    !measured(m->latency_s))
		return -EINVAL;
	out->hold = m->bytes / warm_bytes + cpu_weight * m->cpu;
	out->penalty = cold_cost_s * m->latency_s / cold_latency_s;
	return 0;
}

static unsigned int cheapest_to_hold(const struct hearth_tier *tiers, unsigned int n)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i < n; i++) {
		if (tiers[i].hold < tiers[best].hold ||
		    (tiers[i].hold == tiers[best].hold && tiers[i].penalty < tiers[best].penalty))
			best = i;
	}
	return best;
}

unsigned int hearth_tier_envelope(const struct hearth_tier *tiers, unsigned int n,
				  struct hearth_tier_step out[HEARTH_TIERS])
{
	unsigned int steps = 0, at;

	if (!n || n > HEARTH_TIERS)
		return 0;
	at = cheapest_to_hold(tiers, n);
	out[steps++] = (struct hearth_tier_step){0, at};
	for (;;) {
		double nearest = INFINITY;
		unsigned int next = at;

		/* The line that cuts the present one first; of several, the flattest. */
		for (unsigned int i = 0; i < n; i++) {
			double gain = tiers[at].penalty - tiers[i].penalty, hazard;

			if (!(gain > 0))
				continue;
			hazard = (tiers[i].hold - tiers[at].hold) / gain;
			if (hazard < nearest ||
			    (hazard == nearest && tiers[i].penalty < tiers[next].penalty)) {
				nearest = hazard;
				next = i;
			}
		}
		if (next == at)
			return steps;
		at = next;
		out[steps++] = (struct hearth_tier_step){nearest, at};
	}
}

unsigned int hearth_tier_at(const struct hearth_tier_step *steps, unsigned int n, double hazard)
{
	unsigned int i = 0;

	while (i + 1 < n && hazard > steps[i + 1].hazard)
		i++;
	return steps[i].tier;
}

/* Expected cost of a stretch in a tier; an arrival in it comes half-way on average. */
static double stretch_cost(const struct hearth_tier *tier, const struct hearth_stretch *s)
{
	return tier->hold * s->seconds * (s->survival - s->arrival / 2) +
	       tier->penalty * s->arrival;
}

/* Cheapest tier to go to from `from`, given what is ahead in each; ties stay. */
static unsigned int best_move(const double (*move)[HEARTH_TIERS], const double *ahead,
			      unsigned int n, unsigned int from, double survival, double *cost)
{
	unsigned int best = from;

	*cost = ahead[from];
	for (unsigned int to = 0; to < n; to++) {
		double c = to == from ? ahead[from] : ahead[to] + survival * move[from][to];

		if (c < *cost) {
			*cost = c;
			best = to;
		}
	}
	return best;
}

double hearth_tier_plan(const struct hearth_tier *tiers, unsigned int n_tiers,
			const double (*move)[HEARTH_TIERS], unsigned int from,
			const struct hearth_stretch *stretches, size_t n, unsigned char *scratch,
			unsigned char *plan)
{
	double cost[HEARTH_TIERS] = {0}, ahead[HEARTH_TIERS];

	if (!n || !n_tiers || n_tiers > HEARTH_TIERS)
		return 0;
	for (size_t i = n; i-- > 0;) {
		const struct hearth_stretch *s = &stretches[i];

		for (unsigned int k = 0; k < n_tiers; k++)
			ahead[k] = cost[k] + stretch_cost(&tiers[k], s);
		for (unsigned int k = 0; k < n_tiers; k++)
			scratch[i * n_tiers + k] =
			    best_move(move, ahead, n_tiers, k, s->survival, &cost[k]);
	}
	for (size_t i = 0, tier = from; i < n; i++)
		plan[i] = tier = scratch[i * n_tiers + tier];
	return cost[from];
}
