/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One unit under one policy: the semantics of the simulator, arrival by
 * arrival. The first arrival is cold; one at idle time x is warm iff a window
 * has open <= x < close; loaded time between arrivals is waste.
 */
#ifndef HEARTH_SIM_LANE_H
#define HEARTH_SIM_LANE_H

#include <hearth/population.h>

struct sim_tally {
	uint64_t arrivals;
	uint64_t cold;
	uint64_t prewarms; /* loads ahead of an arrival: windows that opened after 0 */
	double waste_s;
};

struct lane {
	bool begun;       /* an arrival was seen, or lane_resume told of one */
	double end_s;     /* nothing is in flight from here on */
	double arrival_s; /* the last one that closed an idle time */
	struct sim_tally tally;
	struct hearth_hist_buf hist;
	void *state;
};

/* On the heap, with the histogram and the state that the policy wants; NULL: no memory. */
struct lane *lane_new(const struct hearth_policy *p);
void lane_free(struct lane *l);

/* An arrival at t_s, not before the one before it, that runs for busy_s. */
void lane_arrive(struct lane *l, const struct hearth_policy *p, double t_s, double busy_s);

/*
 * For hosts, which charge by instance: tell the policy of an arrival that closes an idle
 * time, or of the first; in_flight: others still run. The end_s is the host's to set.
 */
void lane_observe(struct lane *l, const struct hearth_policy *p, double t_s, bool in_flight);

/* Live, where an arrival's busy_s is INFINITY until its end is known: nothing is in flight now. */
void lane_idle(struct lane *l, const struct hearth_policy *p, double t_s);

/*
 * Live, before the first arrival: take over what is known of the unit. hist may
 * have any geometry; the gaps come back as arrivals on the minute.
 */
void lane_learn(struct lane *l, const struct hearth_policy *p, const struct hearth_hist *hist,
		const struct hearth_gaps *gaps);
/*
 * Then go on in the idle time that began at end_s, in which nothing before now_s is
 * charged. end_s may be INFINITY: busy.
 */
void lane_resume(struct lane *l, const struct hearth_policy *p, double end_s, double now_s);

/* The windows of the idle time that is open. Not for policies that must be told the future. */
void lane_decide(struct lane *l, const struct hearth_policy *p, struct hearth_decision *out);

/* Charge the time after the last arrival up to the end of the trace, or to now, on a copy. */
void lane_finish(struct lane *l, const struct hearth_policy *p, double end_s);

#endif
