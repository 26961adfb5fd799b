/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "sim/lane.h"

#define ALIGN(n) (((n) + 15) & ~(size_t)15)

struct lane *lane_new(const struct hearth_policy *p)
{
	size_t state = ALIGN(hearth_policy_state_size(p));
	size_t self = ALIGN(sizeof(struct lane));
	double bin_s;
	uint32_t nbins;
	struct lane *l;

	hearth_policy_geometry(p, &bin_s, &nbins);
	l = calloc(1, self + state + nbins * sizeof(uint32_t));
	if (!l)
		return NULL;
	l->state = (char *)l + self;
	l->hist.bins = (uint32_t *)((char *)l->state + state);
	l->hist.view.bins = l->hist.bins;
	l->hist.view.nbins = nbins;
	l->hist.view.bin_s = bin_s;
	return l;
}

void lane_free(struct lane *l)
{
	free(l);
}

static void decide(struct lane *l, const struct hearth_policy *p, double next_idle_s,
		   struct hearth_decision *out)
{
	if (hearth_policy_needs(p) & HEARTH_NEEDS_NEXT)
		hearth_policy_foresee(p, l->state, next_idle_s);
	hearth_policy_decide(p, l->state, &l->hist.view, out);
}

void lane_decide(struct lane *l, const struct hearth_policy *p, struct hearth_decision *out)
{
	decide(l, p, INFINITY, out);
}

/* Pay for the windows up to idle time x; is it loaded at x? */
static bool charge(struct sim_tally *tally, const struct hearth_decision *d, double x)
{
	bool loaded = false;

	for (unsigned int i = 0; i < d->n && d->w[i].open_s <= x; i++) {
		loaded = x < d->w[i].close_s;
		tally->waste_s += (loaded ? x : d->w[i].close_s) - d->w[i].open_s;
		tally->prewarms += d->w[i].open_s > 0;
	}
	return loaded;
}

void lane_observe(struct lane *l, const struct hearth_policy *p, double t_s, bool in_flight)
{
	struct hearth_arrival a = {.t_s = t_s, .idle_s = -1, .iat_s = -1};

	if (l->tally.arrivals++) {
		if (in_flight)
			return;
		a.idle_s = t_s - l->end_s;
		a.iat_s = t_s - l->arrival_s;
		hearth_hist_add(&l->hist, a.idle_s);
	}
	l->arrival_s = t_s;
	hearth_policy_observe(p, l->state, &a);
}

void lane_arrive(struct lane *l, const struct hearth_policy *p, double t_s, double busy_s)
{
	struct hearth_arrival a = {.t_s = t_s, .idle_s = -1, .iat_s = -1};
	struct hearth_decision d;
	double x = t_s - l->end_s;

	l->tally.arrivals++;
	if (!l->begun) {
		l->begun = true;
		l->tally.cold++;
		l->end_s = t_s;
	} else if (x < 0) { /* joins what is in flight: no idle time is closed */
		l->end_s = fmax(l->end_s, t_s + busy_s);
		return;
	} else {
		decide(l, p, x, &d);
		l->tally.cold += !charge(&l->tally, &d, x);
		hearth_hist_add(&l->hist, x);
		a.idle_s = x;
		a.iat_s = t_s - l->arrival_s;
	}
	hearth_policy_observe(p, l->state, &a);
	l->arrival_s = t_s;
	l->end_s = t_s + busy_s;
}

void lane_idle(struct lane *l, const struct hearth_policy *p, double t_s)
{
	if (!l->begun)
		return;
	l->end_s = t_s;
	hearth_policy_idle(p, l->state, t_s);
}

void lane_learn(struct lane *l, const struct hearth_policy *p, const struct hearth_hist *hist,
		const struct hearth_gaps *gaps)
{
	hearth_hist_merge(&l->hist, hist);
	hearth_gaps_teach(gaps, p, l->state);
	l->arrival_s = gaps->last_s;
}

void lane_resume(struct lane *l, const struct hearth_policy *p, double end_s, double now_s)
{
	struct sim_tally before = {0};
	struct hearth_decision d;

	l->begun = true;
	l->end_s = end_s;
	if (!(end_s < now_s))
		return;
	hearth_policy_idle(p, l->state, end_s);
	decide(l, p, INFINITY, &d);
	charge(&before, &d, now_s - end_s);
	/* The idle time is charged as a whole when it ends. */
	l->tally.waste_s -= before.waste_s;
	l->tally.prewarms -= before.prewarms;
}

void lane_finish(struct lane *l, const struct hearth_policy *p, double end_s)
{
	struct hearth_decision d;
	double x = end_s - l->end_s;

	if (!l->begun || x <= 0)
		return;
	decide(l, p, INFINITY, &d);
	charge(&l->tally, &d, x);
}
