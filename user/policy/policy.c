/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of policies and the public functions that dispatch through it.
 * Only parsing allocates; everything else works on the caller's memory.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <hearth/event.h>

#include "policy/def.h"
#include "policy/spec.h"

#define DEFAULT_BIN_S 60.0
#define DEFAULT_BINS  240

/* clang-format off */
#define POLICY_TABLE(X) \
	X(none, "none", "none", "unload at once") \
	X(always, "always", "always", "never unload") \
	X(fixed, "fixed", "fixed:TIME", "keep loaded for a fixed time") \
	X(skirental, "skirental", "skirental", "keep loaded for as long as a cold start is worth") \
	X(offline, "offline", "offline", \
	  "knows the next idle time: the bound without loading ahead (simulator only)") \
	X(hybrid, "hybrid", "hybrid[:RANGE]", \
	  "histogram of idle times; RANGE until it is representative") \
	X(poisson, "poisson", "poisson", "always or never, by the mean rate of arrivals") \
	X(hawkes, "hawkes", "hawkes", "self-exciting arrivals: optimal keep-alive after each") \
	X(hawkes_ttl, "hawkes-ttl", "hawkes-ttl", "self-exciting arrivals: mean optimal keep-alive") \
	X(hawkes_approx, "hawkes-approx", "hawkes-approx", \
	  "self-exciting arrivals: keep-alive without history, within 2x of the optimum") \
	X(hawkes_insample, "hawkes-insample", "hawkes-insample", \
	  "hawkes fitted to given arrivals, as a bound (simulator only)") \
	X(hazard, "hazard", "hazard[:RANGE]", \
	  "loaded where the histogram's hazard is worth it, in any number of windows") \
	X(predictive, "predictive", "predictive", \
	  "own gaps between arrivals, their order and the population's: lowest expected cost")
/* clang-format on */

#define INFO(def, name, usage, summary) {name, usage, summary},
#define DEF(def, name, usage, summary)  &policy_##def,
static const struct hearth_policy_info infos[] = {POLICY_TABLE(INFO)};
static const struct policy_def *const defs[] = {POLICY_TABLE(DEF)};
#define POLICIES (sizeof(infos) / sizeof(infos[0]))

static const char *name_at(size_t i)
{
	return infos[i].name;
}

int policy_check_bins(const char *name, double range_s, double bin_s, char *err, size_t err_size)
{
	double bins = range_s / bin_s;

	if (bins >= 1 && bins <= HEARTH_BINS && fabs(bins - round(bins)) <= 1e-9)
		return 0;
	snprintf(err, err_size,
		 "%s: RANGE / bin is %g; accepted: a whole number of bins from 1 to %u", name, bins,
		 HEARTH_BINS);
	return -EINVAL;
}

int hearth_policy_parse(const char *spec, double cold_cost_s, struct hearth_policy **out, char *err,
			size_t err_size)
{
	const char *name, *rest;
	struct hearth_policy *p;
	int i, ret;

	i = spec_lookup("policy", spec, name_at, POLICIES, &rest, err, err_size);
	if (i < 0)
		return i;
	name = infos[i].name;
	if (!(cold_cost_s > 0) || isinf(cold_cost_s)) {
		snprintf(err, err_size, "%s: the cost of a cold start must be more than 0 s", name);
		return -EINVAL;
	}
	p = calloc(1, sizeof(*p) + defs[i]->aux_size);
	if (!p) {
		snprintf(err, err_size, "%s: out of memory", name);
		return -ENOMEM;
	}
	p->def = defs[i];
	p->aux = p->aux_room;
	ret = spec_parse(name, p->def->params, rest, cold_cost_s, p->v, err, err_size);
	if (!ret && p->def->check)
		ret = p->def->check(p, err, err_size);
	if (ret) {
		free(p);
		return ret;
	}
	if (p->def->prepare)
		p->def->prepare(p);
	spec_write(name, p->def->params, p->v, cold_cost_s, p->spec);
	*out = p;
	return 0;
}

void hearth_policy_free(struct hearth_policy *p)
{
	free(p);
}

void hearth_policy_set_prior(struct hearth_policy *p, const struct hearth_prior_cell cells[],
			     size_t n)
{
	if (p->def->set_prior)
		p->def->set_prior(p, cells, n);
}

const char *hearth_policy_spec(const struct hearth_policy *p)
{
	return p->spec;
}

void hearth_policy_geometry(const struct hearth_policy *p, double *bin_s, uint32_t *nbins)
{
	*bin_s = DEFAULT_BIN_S;
	*nbins = DEFAULT_BINS;
	if (p->def->geometry)
		p->def->geometry(p, bin_s, nbins);
}

bool hearth_policy_uses_hist(const struct hearth_policy *p)
{
	return p->def->geometry != NULL;
}

size_t hearth_policy_state_size(const struct hearth_policy *p)
{
	return p->def->state_size;
}

void hearth_policy_observe(const struct hearth_policy *p, void *state,
			   const struct hearth_arrival *a)
{
	if (p->def->observe)
		p->def->observe(p, state, a);
}

void hearth_policy_idle(const struct hearth_policy *p, void *state, double t_s)
{
	if (p->def->idle)
		p->def->idle(p, state, t_s);
}

void hearth_policy_decide(const struct hearth_policy *p, void *state,
			  const struct hearth_hist *hist, struct hearth_decision *out)
{
	p->def->decide(p, state, hist, out);
}

unsigned int hearth_policy_needs(const struct hearth_policy *p)
{
	return p->def->needs;
}

void hearth_policy_foresee(const struct hearth_policy *p, void *state, double next_idle_s)
{
	if (p->def->foresee)
		p->def->foresee(p, state, next_idle_s);
}

void hearth_policy_train(const struct hearth_policy *p, void *state, const double *t, size_t n,
			 double start_s, double end_s, double *scratch)
{
	if (p->def->train)
		p->def->train(p, state, t, n, start_s, end_s, scratch);
}

const struct hearth_policy_info *hearth_policy_list(size_t *n)
{
	*n = POLICIES;
	return infos;
}
