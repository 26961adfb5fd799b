/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Decisions from the cost of a cold start alone. skirental keeps loaded for as
 * long as one cold start is worth: at most twice the cost of `offline`, which
 * knows the next idle time, on any sequence of arrivals.
 */
#include <math.h>

#include "policy/def.h"

enum { COST };

static const struct policy_param cost_params[] = {
    [COST] = {"cost", PARAM_COLD_COST, PARAM_BOTH, .min = POLICY_MIN_COST_S, .max = POLICY_MAX_S},
    {},
};

static void skirental_decide(const struct hearth_policy *p, void *state,
			     const struct hearth_hist *hist, struct hearth_decision *out)
{
	(void)state, (void)hist;
	decide_window(out, 0, p->v[COST], "ski rental: as long as a cold start is worth");
}

struct offline_state {
	double next_idle_s;
};

static void offline_foresee(const struct hearth_policy *p, void *state, double next_idle_s)
{
	struct offline_state *s = state;

	(void)p;
	s->next_idle_s = next_idle_s;
}

static void offline_decide(const struct hearth_policy *p, void *state,
			   const struct hearth_hist *hist, struct hearth_decision *out)
{
	const struct offline_state *s = state;

	(void)hist;
	if (s->next_idle_s <= p->v[COST]) /* closes just after the arrival, which is warm */
		decide_window(out, 0, nextafter(s->next_idle_s, INFINITY), "worth keeping");
	else
		decide_window(out, 0, 0, "not worth keeping");
}

const struct policy_def policy_skirental = {.params = cost_params, .decide = skirental_decide};
const struct policy_def policy_offline = {
    .params = cost_params,
    .state_size = sizeof(struct offline_state),
    .needs = HEARTH_NEEDS_NEXT,
    .foresee = offline_foresee,
    .decide = offline_decide,
};
