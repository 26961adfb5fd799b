/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Window policies over a trace: every unit under every policy, on all
 * processors. Units are independent within an hour, so the result does not depend
 * on the number of threads. Policies that train on what they are judged by make it
 * read the trace twice and hold it in memory.
 */
#ifndef HEARTH_SIM_REPLAY_H
#define HEARTH_SIM_REPLAY_H

#include <hearth/policy.h>

#include "sim/lane.h"
#include "sim/spread.h"
#include "trace/prior.h"

struct replay_options {
	bool durations; /* executions take their time; else 0 s */
	struct spread_options spread;
	unsigned int threads; /* 0: one per processor */
	/*
	 * Learn this prior on as hearthd does, every hour of the trace, from the gaps of
	 * all units so far. NULL: no. `learned` is to hand it to the policies.
	 */
	const struct prior *learn_from;
	void (*learned)(const struct prior *prior, void *arg);
	void *learned_arg;
};

struct replay;

/* The policies stay the caller's. 0 or -ENOMEM. */
int replay_new(const struct hearth_policy *const policies[], size_t n,
	       const struct replay_options *options, struct replay **out);
void replay_free(struct replay *r);

/* Read the trace to its end: 0, or -errno (a message is in the trace's err). */
int replay_run(struct replay *r, struct trace *t);

/* What policy p cost unit u; NULL if the unit had no arrival. */
const struct sim_tally *replay_tally(const struct replay *r, size_t p, size_t u);

#endif
