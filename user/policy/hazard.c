/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Theorem 2 (On Keep-alive Caching) over the empirical hazard of the idle-time
 * histogram: loaded in exactly the bins where the hazard exceeds c_p / c_cs. Idle
 * times beyond the range are censored: at risk in every bin, seen in none.
 */
#include <math.h>

#include "policy/def.h"
#include "policy/windows.h"

#define UNSEEN 1.0 /* idle times longer than any seen: as if there had been one */

enum { RANGE, COST, BIN, MIN_ITS, LOAD };

static const struct policy_param params[] = {
    [RANGE] = {"RANGE", PARAM_DURATION, PARAM_ARG, 4 * 3600, .min = 1, .max = POLICY_MAX_S},
    [COST] = {"cost", PARAM_COLD_COST, .min = POLICY_MIN_COST_S, .max = POLICY_MAX_S},
    [BIN] = {"bin", PARAM_DURATION, .fallback = 60, .min = 0.001, .max = POLICY_MAX_S},
    [MIN_ITS] = {"min_its", PARAM_INTEGER, .fallback = 2, .min = 1, .max = 1000000},
    [LOAD] = {"load", PARAM_DURATION, .fallback = 1, .max = 3600},
    {},
};

static int check(const struct hearth_policy *p, char *err, size_t err_size)
{
	return policy_check_bins("hazard", p->v[RANGE], p->v[BIN], err, err_size);
}

static void geometry(const struct hearth_policy *p, double *bin_s, uint32_t *nbins)
{
	*bin_s = p->v[BIN];
	*nbins = lround(p->v[RANGE] / p->v[BIN]);
}

/* Idle times near a bin: a quarter of its neighbours', for they could as well have been here. */
static double smoothed(const struct hearth_hist *h, uint32_t i)
{
	double before = i ? h->bins[i - 1] : h->bins[i];
	double after = i + 1 < h->nbins ? h->bins[i + 1] : h->bins[i];

	return 0.5 * h->bins[i] + 0.25 * (before + after);
}

static void decide(const struct hearth_policy *p, void *state, const struct hearth_hist *h,
		   struct hearth_decision *out)
{
	double at_risk = h->s1 + h->oob + UNSEEN;
	struct windows windows;

	(void)state;
	if (h->s1 + h->oob < p->v[MIN_ITS]) {
		decide_window(out, 0, p->v[COST], "too few idle times yet: ski rental");
		return;
	}
	windows_init(&windows, out);
	for (uint32_t i = 0; i < h->nbins; i++) {
		double gain = smoothed(h, i) * p->v[COST] - at_risk * h->bin_s;

		if (gain > 0)
			windows_add(&windows, i * h->bin_s, (i + 1) * h->bin_s, gain,
				    p->v[LOAD] * at_risk);
		at_risk -= h->bins[i];
	}
	windows_done(&windows);
	out->reason = "loaded where the hazard exceeds the cost threshold";
}

const struct policy_def policy_hazard = {
    .params = params,
    .check = check,
    .geometry = geometry,
    .decide = decide,
};
