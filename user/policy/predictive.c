/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hearth's own policy. Theorem 2 (On Keep-alive Caching) says when to be loaded:
 * where the hazard of the next arrival exceeds c_p / c_cs. The hazard of each clock
 * minute to come is a logistic mixture of what the function's own habits and a
 * population (prior-*.csv, or the caller's) say of it, see outlook.h: what
 * repeats, repeats by the clock. The weights of the mixture (weights-*.csv) are
 * fitted to traces; they depend on how much is known of the function.
 *
 * The plan for the minutes after the last one with an arrival is made once; the
 * rest of that minute itself is decided anew by every arrival in it.
 */
#include <math.h>

#include <hearth/population.h>

#include "policy/def.h"
#include "policy/outlook.h"
#include "policy/predictive.h"
#include "policy/windows.h"

#define MINUTE_S  60.0
#define EPSILON_S 1e-6 /* times that are minutes up to rounding are minutes */
#define LEAST_MIN 0.05 /* no more to win: what is later does not matter */

enum { COST, PRIOR, LOAD, WEIGHTS };
enum { BOTH, DAY, HOURS };

/* From rows of the Azure Functions Trace 2019 (CC-BY 4.0; Shahrad et al., Serverless in the Wild,
 * USENIX ATC 2020): tables of `hearth fit --prior`, as rows {minute, p}; weights of
 * build/train-predictive, a row per context. */
static const struct hearth_prior_cell day[] = {
#include "prior-day.inc"
};
static const struct hearth_prior_cell hours[] = {
#include "prior-hours.inc"
};
static const struct hearth_prior_cell both[] = {
#include "prior-both.inc"
};
static const struct outlook_weights weights[] = {
    [BOTH] = {{
#include "weights-both.inc"
    }},
    [DAY] = {{
#include "weights-day.inc"
    }},
    [HOURS] = {{
#include "weights-hours.inc"
    }},
};
static const char *const samples[] = {[BOTH] = "both", [DAY] = "day", [HOURS] = "hours", NULL};

static const struct policy_param params[] = {
    [COST] = {"cost", PARAM_COLD_COST, .min = POLICY_MIN_COST_S, .max = POLICY_MAX_S},
    [PRIOR] = {"prior", PARAM_CHOICE, .choices = samples},
    [LOAD] = {"load", PARAM_DURATION, .fallback = 1, .max = 3600},
    [WEIGHTS] = {"weights", PARAM_CHOICE, .choices = samples},
    {},
};

/* Loaded from the beginning of one minute after the last to that of another. */
struct planned {
	uint16_t from, to;
	float gain; /* in minutes, if there is no further arrival in the last minute */
};

struct predictive_state {
	double last_s;    /* the last arrival */
	double idle_s;    /* when its busy span ended */
	uint32_t planned; /* minutes with an arrival when the plan was made */
	uint32_t n;
	uint32_t prior; /* mark of the table that the plan was made with */
	struct planned plan[HEARTH_WINDOWS];
	struct outlook outlook;
};

static void prepare(const struct hearth_policy *p)
{
	static const struct {
		const struct hearth_prior_cell *cells;
		size_t n;
	} priors[] = {
	    [BOTH] = {both, sizeof(both) / sizeof(both[0])},
	    [DAY] = {day, sizeof(day) / sizeof(day[0])},
	    [HOURS] = {hours, sizeof(hours) / sizeof(hours[0])},
	};
	int which = p->v[PRIOR];

	outlook_prior_read(p->aux, priors[which].cells, priors[which].n);
}

const struct hearth_prior_cell *hearth_policy_prior(size_t *n)
{
	*n = sizeof(both) / sizeof(both[0]);
	return both;
}

static void set_prior(const struct hearth_policy *p, const struct hearth_prior_cell cells[],
		      size_t n)
{
	if (p->v[PRIOR] == BOTH)
		outlook_prior_read(p->aux, cells, n);
}

const struct outlook_prior *predictive_prior(const struct hearth_policy *p)
{
	return p->aux;
}

static void observe(const struct hearth_policy *p, void *state, const struct hearth_arrival *a)
{
	struct predictive_state *s = state;

	(void)p;
	outlook_arrive(&s->outlook, hearth_clock_minute(a->t_s));
	s->last_s = s->idle_s = a->t_s;
}

static void idle(const struct hearth_policy *p, void *state, double t_s)
{
	struct predictive_state *s = state;

	(void)p;
	s->idle_s = fmax(s->last_s, t_s);
}

static void plan(const struct hearth_policy *p, struct predictive_state *s)
{
	const struct outlook_weights *w = &weights[(int)p->v[WEIGHTS]];
	double cost_min = p->v[COST] / MINUTE_S, load_min = p->v[LOAD] / MINUTE_S, longer = 1;
	struct hearth_decision decision;
	struct outlook_walk walk;
	struct windows windows;

	windows_init(&windows, &decision);
	outlook_walk(&walk, &s->outlook, p->aux);
	for (unsigned int b = 1; longer * cost_min > LEAST_MIN; b++) {
		double hazard = outlook_hazard(&walk, w);
		double gain = longer * (hazard * cost_min - 1);

		if (hazard < 0)
			break;
		if (gain > 0)
			windows_add(&windows, b, b + 1, gain, load_min * longer);
		longer *= 1 - hazard;
	}
	windows_done(&windows);
	s->n = decision.n;
	for (unsigned int i = 0; i < s->n; i++)
		s->plan[i] =
		    (struct planned){decision.w[i].open_s, decision.w[i].close_s, windows.gain[i]};
	s->planned = s->outlook.active;
	s->prior = predictive_prior(p)->mark;
}

static void decide(const struct hearth_policy *p, void *state, const struct hearth_hist *hist,
		   struct hearth_decision *out)
{
	struct predictive_state *s = state;
	double began_s = MINUTE_S * hearth_clock_minute(s->last_s);
	double minute_s = began_s - s->idle_s - EPSILON_S; /* counted from the idle time's start */
	double rest_min = 1 - (s->last_s - began_s) / MINUTE_S; /* of the arrival's own minute */
	double same = outlook_same_minute(&s->outlook, p->aux);
	double gain = same * p->v[COST] / MINUTE_S - rest_min;
	struct windows windows;

	(void)hist;
	if (s->planned != s->outlook.active || s->prior != predictive_prior(p)->mark)
		plan(p, s);
	if (s->n && s->plan[0].from == 1) /* else it is loaded again at once */
		gain += (1 - same) * p->v[LOAD] / MINUTE_S;
	windows_init(&windows, out);
	if (gain > 0 && minute_s + MINUTE_S > EPSILON_S)
		windows_add(&windows, 0, minute_s + MINUTE_S, gain, 0);
	for (unsigned int i = 0; i < s->n; i++) {
		double from_s = minute_s + MINUTE_S * s->plan[i].from;
		double to_s = minute_s + MINUTE_S * s->plan[i].to;

		if (to_s > EPSILON_S)
			windows_add(&windows, fmax(0, from_s), to_s, (1 - same) * s->plan[i].gain,
				    0);
	}
	windows_done(&windows);
	out->reason = s->outlook.runs ? "loaded while the next arrival is likely enough"
				      : "no gap seen yet: as likely as in the population";
}

const struct policy_def policy_predictive = {
    .params = params,
    .state_size = sizeof(struct predictive_state),
    .aux_size = sizeof(struct outlook_prior),
    .prepare = prepare,
    .set_prior = set_prior,
    .observe = observe,
    .idle = idle,
    .decide = decide,
};
