/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policies that learn nothing: none, always and fixed:TIME. They are what
 * platforms do today and what every other policy is measured against.
 */
#include <math.h>

#include "policy/def.h"

static void none_decide(const struct hearth_policy *p, void *state, const struct hearth_hist *hist,
			struct hearth_decision *out)
{
	(void)p, (void)state, (void)hist;
	decide_window(out, 0, 0, "none: unload at once");
}

static void always_decide(const struct hearth_policy *p, void *state,
			  const struct hearth_hist *hist, struct hearth_decision *out)
{
	(void)p, (void)state, (void)hist;
	decide_window(out, 0, INFINITY, "always: never unload");
}

enum { FIXED_TIME };

static const struct policy_param fixed_params[] = {
    [FIXED_TIME] = {"TIME", PARAM_DURATION, PARAM_ARG | PARAM_REQUIRED, .max = POLICY_MAX_S},
    {},
};

static void fixed_decide(const struct hearth_policy *p, void *state, const struct hearth_hist *hist,
			 struct hearth_decision *out)
{
	(void)state, (void)hist;
	decide_window(out, 0, p->v[FIXED_TIME], "fixed keep-alive");
}

const struct policy_def policy_none = {.decide = none_decide};
const struct policy_def policy_always = {.decide = always_decide};
const struct policy_def policy_fixed = {.params = fixed_params, .decide = fixed_decide};
