/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which tier an idle instance belongs in. A tier has a cost of holding, per
 * second, and a penalty, what the next arrival pays that finds it there; both
 * in units of c_p, keeping the warm instance for a second. With hazard lambda
 * the best tier is the lowest of the lines hold + lambda * penalty. Pure like
 * policy.h.
 */
#ifndef HEARTH_TIER_H
#define HEARTH_TIER_H

#include <stddef.h>

#define HEARTH_TIERS 8 /* most tiers a ladder can have */

/* What is measured of a tier, per function. */
struct hearth_tier_measure {
	double bytes;     /* memory it keeps, swap in RAM included */
	double cpu;       /* CPUs it uses while idle */
	double latency_s; /* that the next arrival sees */
};

struct hearth_tier {
	double hold;    /* 1 = the warm instance's memory */
	double penalty; /* seconds of keeping warm that one arrival is worth */
};

/*
 * Tier from measure: hold = bytes / warm_bytes + cpu_weight * cpu; penalty =
 * cold_cost_s * latency / cold_latency. -EINVAL if a divisor is not positive or
 * a measure is negative or no number.
 */
int hearth_tier_cost(const struct hearth_tier_measure *m, double warm_bytes, double cpu_weight,
		     double cold_cost_s, double cold_latency_s, struct hearth_tier *out);

/* A step of the lower envelope: `tier` is best from this hazard on. */
struct hearth_tier_step {
	double hazard; /* per second; the first step's is 0 */
	unsigned int tier;
};

/*
 * The tiers that are best at some hazard, from the cheapest to hold up. Equal
 * tiers: the first. Returns their number, 0 only for n = 0 or n > HEARTH_TIERS.
 */
unsigned int hearth_tier_envelope(const struct hearth_tier *tiers, unsigned int n,
				  struct hearth_tier_step out[HEARTH_TIERS]);

/* The best tier at a hazard. */
unsigned int hearth_tier_at(const struct hearth_tier_step *steps, unsigned int n, double hazard);

/* A stretch of the idle time: how likely the next arrival falls in it, seen from its start. */
struct hearth_stretch {
	double seconds;
	double survival; /* probability that the idle time reaches its start */
	double arrival;  /* probability that the arrival falls in it (not conditional) */
};

/*
 * The cheapest tier for every stretch, moves included: move[i][j] is what going
 * from i to j costs (I/O, in the units of penalty), INFINITY where there is no
 * way; `from` is the tier at the start. A move happens at the start of a stretch,
 * if the idle time gets that far; the way back at an arrival is in the penalty.
 * Writes plan[0..n) and returns the expected cost. scratch holds n * tiers bytes.
 */
double hearth_tier_plan(const struct hearth_tier *tiers, unsigned int n_tiers,
			const double (*move)[HEARTH_TIERS], unsigned int from,
			const struct hearth_stretch *stretches, size_t n, unsigned char *scratch,
			unsigned char *plan);

#endif
