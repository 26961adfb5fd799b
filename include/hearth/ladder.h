/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From the windows of a policy to steps on the ladder of tiers: resident inside
 * a window, outside it whatever tier is cheapest by what the node measured
 * (tier.h). Pure like policy.h. Ages are seconds of the idle time.
 */
#ifndef HEARTH_LADDER_H
#define HEARTH_LADDER_H

#include <stdbool.h>
#include <stddef.h>

#include "hearth/policy.h"

/* The tiers of an idle instance, from the readiest down. */
enum hearth_rung {
	HEARTH_WARM,
	HEARTH_FROZEN,
	HEARTH_RECLAIMED,
	HEARTH_GONE,
	HEARTH_RUNGS,
};

const char *hearth_rung_name(enum hearth_rung r);

/* What is measured of one function's tiers. */
struct hearth_ladder {
	unsigned int allowed;           /* bit 1 << rung; at least one */
	bool alive;                     /* the first window is about that, not about resident */
	double bytes[HEARTH_RUNGS];     /* memory it keeps, swap in RAM included; warm: > 0 */
	double latency_s[HEARTH_RUNGS]; /* that the next arrival sees */
	double restore_s;               /* from reclaimed to resident, ahead of an arrival */
	double reclaim_s;               /* work of the way down */
	double cold_cost_s;             /* c_cs / c_p, what a cold start is worth */
};

/*
 * A CPU is worth keeping so many bytes: what public clouds charge for a vCPU and
 * for memory meets at about 8 GB. It makes moves comparable with holding.
 */
#define HEARTH_CPU_BYTES 8e9

struct hearth_rung_step {
	double at_s; /* the first step's is 0 */
	enum hearth_rung rung;
};

#define HEARTH_LADDER_STEPS 32

/*
 * Steps of the idle time that starts now, ascending; the last holds for ever.
 * Inside the windows of d the highest allowed rung, but for a window that opens
 * on a reclaimed instance: made resident restore_s ahead, it stays frozen if it
 * may. Outside, the cheapest plan through the other allowed rungs under the idle
 * times that h has seen. With `alive`, a window that the idle time begins in is
 * left for RECLAIMED as soon as that is cheaper, unless it is endless. Returns their number, at
 * least 1. -EINVAL if a measure is no number or nothing is allowed.
 */
int hearth_ladder_plan(const struct hearth_decision *d, const struct hearth_hist *h,
		       const struct hearth_ladder *l,
		       struct hearth_rung_step out[HEARTH_LADDER_STEPS]);

/* The step that holds at an age; *until_s gets when the next begins, INFINITY for the last. */
enum hearth_rung hearth_ladder_at(const struct hearth_rung_step *steps, size_t n, double age_s,
				  double *until_s);

/*
 * Probability that an idle time lasts longer than age_s: what h has seen, blended
 * with two idle times' worth of 60 / (60 + age), and falling as 1 / age beyond
 * its last bin.
 */
double hearth_survival(const struct hearth_hist *h, double age_s);

#endif
