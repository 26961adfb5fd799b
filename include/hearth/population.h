/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long the functions of a population wait for their next arrival, estimated
 * from their gaps: the product-limit estimate, so a wait that has not ended yet
 * counts as longer than what was seen of it. Every function weighs the same,
 * however often it is called, and silent ones fade. Pure, as all of the policy
 * library; the result is what `predictive` starts from.
 */
#ifndef HEARTH_POPULATION_H
#define HEARTH_POPULATION_H

#include <math.h>
#include <stdbool.h>

#include <hearth/policy.h>

/*
 * A node's own functions against the prior it began with: that counts as so many
 * of them, so a few cannot mislead, and one never has more than its share.
 */
#define HEARTH_PRIOR_WEIGHT 20

#define HEARTH_GAPS 64 /* of a function that count: what repeats shows, old habits do not */

/* Times that are minutes up to rounding are minutes. */
static inline double hearth_clock_minute(double t_s)
{
	return floor((t_s + 1e-6) / 60);
}

/* The latest gaps of one function, in clock minutes; zeroed for a new one. */
struct hearth_gaps {
	double first_s; /* the first arrival ever; 0: not told, or at 0 */
	double last_s;  /* the last arrival; Unix time, or any origin on a full minute */
	bool waiting;   /* last_s was seen by this ring: the next arrival ends a gap */
	uint32_t n;     /* gaps ever; the ring holds the latest */
	uint16_t minutes[HEARTH_GAPS];
};

void hearth_gaps_arrive(struct hearth_gaps *g, double t_s);
/* How many the ring holds, and the i-th of them, oldest first. */
unsigned int hearth_gaps_held(const struct hearth_gaps *g);
unsigned int hearth_gaps_at(const struct hearth_gaps *g, unsigned int i);

/* To a policy's fresh memory, as arrivals on their minutes: better than no history. */
void hearth_gaps_teach(const struct hearth_gaps *g, const struct hearth_policy *policy,
		       void *state);

struct hearth_population {
	double ended[HEARTH_PRIOR_MINUTES + 1]; /* weight of waits of so many clock minutes */
	double cut[HEARTH_PRIOR_MINUTES + 1];   /* and of those seen for so long, without an end */
};

/* One wait of so many clock minutes, ended by an arrival or not yet. */
void hearth_population_wait(struct hearth_population *p, double minutes, bool ended, double weight);

/* As many functions as `weight` that wait as this prior says. */
void hearth_population_prior_add(struct hearth_population *p,
				 const struct hearth_prior_cell cells[], size_t n, double weight);

/*
 * A function. Its weight grows to 1 over the day in which it is first seen, for until
 * then only short waits can be known to have ended; and halves with every week that it
 * is not called.
 */
void hearth_population_add(struct hearth_population *p, const struct hearth_gaps *g, double now_s);

/* The estimate; cells has room for HEARTH_PRIOR_MINUTES. How many it has. */
size_t hearth_population_estimate(const struct hearth_population *p,
				  struct hearth_prior_cell cells[]);

#endif
