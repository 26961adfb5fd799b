/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Policies over point processes: poisson and the hawkes family. The parameters
 * come from the past only, refitted whenever the number of arrivals has grown by
 * half, on the latest HISTORY gaps; ski rental until the first fit. Idle times
 * are taken as gaps between arrivals: busy time only makes the keep-alive end
 * later.
 */
#include <math.h>

#include <hearth/hawkes.h>

#include "policy/def.h"

#define FIRST_FIT 10 /* arrivals; below, a fit follows chance */
#define HISTORY   512
#define TTL_SEED  1 /* the simulated day is the same everywhere */

enum { COST };

static const struct policy_param params[] = {
    [COST] = {"cost", PARAM_COLD_COST, .min = POLICY_MIN_COST_S, .max = POLICY_MAX_S},
    {},
};

struct hawkes_state {
	struct hearth_hawkes fit;
	double excitation;
	double ttl_s; /* of the policies without history */
	uint64_t arrivals;
	uint64_t next_fit;
	bool fitted;
	bool trained;
	float gap_s[HISTORY]; /* ring, by arrival number */
};

static void ski_rental(const struct hearth_policy *p, struct hearth_decision *out)
{
	decide_window(out, 0, p->v[COST], "too few arrivals for a fit: ski rental");
}

/* The fit has changed: what depends on it alone is computed once. */
static void set_ttl(const struct hearth_policy *p, struct hawkes_state *s)
{
	double theta = 1 / p->v[COST];
	uint64_t rng = TTL_SEED;

	if (p->def == &policy_hawkes_ttl)
		s->ttl_s = hearth_hawkes_tau_mean(&s->fit, theta, &rng);
	else if (p->def == &policy_hawkes_approx)
		s->ttl_s = hearth_hawkes_tau_approx(&s->fit, theta);
}

static void refit(const struct hearth_policy *p, struct hawkes_state *s)
{
	uint64_t n = s->arrivals < HISTORY ? s->arrivals : HISTORY;
	double t[HISTORY], scratch[2 * HISTORY];

	t[0] = 0;
	for (uint64_t i = 1; i < n; i++)
		t[i] = t[i - 1] + s->gap_s[(s->arrivals - n + i) % HISTORY];
	if (hearth_hawkes_fit(t, n, 0, t[n - 1], scratch, &s->fit))
		return;
	s->fitted = true;
	s->excitation = 1;
	for (uint64_t i = 1; i < n; i++)
		s->excitation = hearth_hawkes_excite(&s->fit, s->excitation, t[i] - t[i - 1]);
	set_ttl(p, s);
}

static void observe(const struct hearth_policy *p, void *state, const struct hearth_arrival *a)
{
	struct hawkes_state *s = state;
	double gap = a->iat_s > 0 ? a->iat_s : 0;

	s->excitation = hearth_hawkes_excite(&s->fit, s->excitation, gap);
	if (s->trained)
		return;
	s->gap_s[s->arrivals++ % HISTORY] = gap;
	if (s->arrivals >= FIRST_FIT && s->arrivals >= s->next_fit) {
		refit(p, s);
		s->next_fit = s->arrivals + s->arrivals / 2;
	}
}

static void train(const struct hearth_policy *p, void *state, const double *t, size_t n,
		  double start_s, double end_s, double *scratch)
{
	struct hawkes_state *s = state;

	s->trained = true;
	s->fitted = !hearth_hawkes_fit(t, n, start_s, end_s, scratch, &s->fit);
	s->excitation = 0;
	(void)p;
}

static void decide_history(const struct hearth_policy *p, void *state,
			   const struct hearth_hist *hist, struct hearth_decision *out)
{
	const struct hawkes_state *s = state;

	(void)hist;
	if (!s->fitted)
		ski_rental(p, out);
	else
		decide_window(out, 0, hearth_hawkes_tau(&s->fit, s->excitation, 1 / p->v[COST]),
			      "Hawkes: until the intensity falls below the cost threshold");
}

static void decide_ttl(const struct hearth_policy *p, void *state, const struct hearth_hist *hist,
		       struct hearth_decision *out)
{
	const struct hawkes_state *s = state;

	(void)hist;
	if (!s->fitted)
		ski_rental(p, out);
	else
		decide_window(out, 0, s->ttl_s, "Hawkes: keep-alive of the fitted process");
}

struct poisson_state {
	uint64_t arrivals;
	double observed_s; /* from the first arrival to the last */
};

static void poisson_observe(const struct hearth_policy *p, void *state,
			    const struct hearth_arrival *a)
{
	struct poisson_state *s = state;

	(void)p;
	s->arrivals++;
	if (a->iat_s > 0)
		s->observed_s += a->iat_s;
}

static void poisson_decide(const struct hearth_policy *p, void *state,
			   const struct hearth_hist *hist, struct hearth_decision *out)
{
	const struct poisson_state *s = state;

	(void)hist;
	if (s->arrivals < FIRST_FIT)
		ski_rental(p, out);
	else if ((s->arrivals - 1) * p->v[COST] > s->observed_s)
		decide_window(out, 0, INFINITY, "Poisson: arrivals are frequent enough to stay");
	else
		decide_window(out, 0, 0, "Poisson: arrivals are too rare to wait for");
}

const struct policy_def policy_poisson = {
    .params = params,
    .state_size = sizeof(struct poisson_state),
    .observe = poisson_observe,
    .decide = poisson_decide,
};
const struct policy_def policy_hawkes = {
    .params = params,
    .state_size = sizeof(struct hawkes_state),
    .observe = observe,
    .decide = decide_history,
};
const struct policy_def policy_hawkes_ttl = {
    .params = params,
    .state_size = sizeof(struct hawkes_state),
    .observe = observe,
    .decide = decide_ttl,
};
const struct policy_def policy_hawkes_approx = {
    .params = params,
    .state_size = sizeof(struct hawkes_state),
    .observe = observe,
    .decide = decide_ttl,
};
const struct policy_def policy_hawkes_insample = {
    .params = params,
    .state_size = sizeof(struct hawkes_state),
    .needs = HEARTH_NEEDS_TRAINING,
    .train = train,
    .observe = observe,
    .decide = decide_history,
};
