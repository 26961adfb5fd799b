/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What predictive policies expect of a function they know nothing of: the
 * configured table or the built-in one, learned on from the gaps of all functions
 * if the configuration says so. Every policy of the registry goes by the same.
 */
#include <string.h>

#include "agent/registry_internal.h"
#include "lib/clock.h"

static void use_as_it_is(struct registry *r)
{
	if (r->config->prior)
		r->prior = *r->config->prior;
	else
		prior_built_in(&r->prior);
}

static void learn_on(struct registry *r)
{
	struct hearth_population population = {};
	double now_s = ns_to_s(unix_ns());
	struct function *fn, *tmp;
	size_t i;

	hearth_population_prior_add(&population, r->prior.cells, r->prior.n, HEARTH_PRIOR_WEIGHT);
	HASH_ITER (hh, r->functions, fn, tmp)
		hearth_population_add(&population, &fn->gaps, now_s);
	for (i = 0; r->o.saved && i < r->o.saved->n; i++) /* those that are not back yet */
		hearth_population_add(&population, &r->o.saved->functions[i].gaps, now_s);
	memset(&r->prior, 0, sizeof(r->prior));
	r->prior.n = hearth_population_estimate(&population, r->prior.cells);
}

void registry_prior_make(struct registry *r)
{
	use_as_it_is(r);
	if (r->config->learn_prior)
		learn_on(r);
}

void registry_learn_prior(struct registry *r)
{
	struct function *fn, *tmp;

	if (!r->config->learn_prior)
		return;
	registry_prior_make(r);
	HASH_ITER (hh, r->functions, fn, tmp) {
		hearth_policy_set_prior(fn->policy, r->prior.cells, r->prior.n);
		shadow_set_prior(fn->shadow, &r->prior);
	}
}
