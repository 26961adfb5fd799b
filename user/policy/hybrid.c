/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The hybrid histogram policy (Shahrad et al., Serverless in the Wild, ATC
 * 2020, section 4.2): loaded from a little before the head of the idle-time
 * histogram to a little after its tail, and for the whole range as long as the
 * histogram does not represent the function. When most idle times are beyond the
 * range, a time series takes over: loaded around the forecast of the next one.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "policy/arima.h"
#include "policy/def.h"

#define HISTORY 100 /* latest idle times that the time series sees */

enum { RANGE, CV, HEAD, TAIL, BIN, MIN_ITS, OOB, MARGIN, MARGIN_OF, ARIMA, ARIMA_MARGIN };
enum { MARGIN_OF_EDGES, MARGIN_OF_WINDOW };
enum { ARIMA_ON };

static const struct policy_param params[] = {
    [RANGE] = {"RANGE", PARAM_DURATION, PARAM_ARG, 4 * 3600, .min = 1, .max = POLICY_MAX_S},
    [CV] = {"cv", PARAM_NUMBER, .fallback = 2, .max = 100},
    [HEAD] = {"head", PARAM_INTEGER, .fallback = 5, .max = 100},
    [TAIL] = {"tail", PARAM_INTEGER, .fallback = 99, .max = 100},
    [BIN] = {"bin", PARAM_DURATION, .fallback = 60, .min = 0.001, .max = POLICY_MAX_S},
    [MIN_ITS] = {"min_its", PARAM_INTEGER, .fallback = 10, .min = 1, .max = 1000000},
    [OOB] = {"oob", PARAM_NUMBER, .fallback = 0.5, .max = 1},
    [MARGIN] = {"margin", PARAM_NUMBER, .fallback = 10, .max = 100}, /* percent */
    [MARGIN_OF] = {"margin_of", PARAM_CHOICE,
		   .choices = (const char *const[]){"edges", "window", NULL}},
    [ARIMA] = {"arima", PARAM_CHOICE, .choices = (const char *const[]){"on", "off", NULL}},
    [ARIMA_MARGIN] = {"arima_margin", PARAM_NUMBER, .fallback = 15, .max = 100},
    {},
};

struct hybrid_state {
	uint32_t seen;        /* idle times */
	uint32_t modelled;    /* `seen` that the model and the forecast are of */
	uint32_t next_search; /* `seen` at which the order is chosen anew */
	double forecast_s;
	struct arima model;
	float idle_s[HISTORY]; /* ring, by number */
};

static int check(const struct hearth_policy *p, char *err, size_t err_size)
{
	if (p->v[HEAD] > p->v[TAIL]) {
		snprintf(err, err_size, "hybrid: head=%g is above tail=%g", p->v[HEAD], p->v[TAIL]);
		return -EINVAL;
	}
	return policy_check_bins("hybrid", p->v[RANGE], p->v[BIN], err, err_size);
}

static void geometry(const struct hearth_policy *p, double *bin_s, uint32_t *nbins)
{
	*bin_s = p->v[BIN];
	*nbins = lround(p->v[RANGE] / p->v[BIN]);
}

/*
 * CV >= cv of the bin counts <=> n S2 >= (1 + cv^2) S1^2, in integers: cv has two
 * decimals. S1 stays below 2^41 (512 bins of 32 bits), so the products fit 128 bits.
 */
static bool concentrated(const struct hearth_policy *p, const struct hearth_hist *h)
{
	uint64_t cv = lround(p->v[CV] * 100);
	unsigned __int128 s1 = h->s1;

	return (unsigned __int128)h->nbins * h->s2 * 10000 >= s1 * s1 * (10000 + cv * cv);
}

static void decide_histogram(const struct hearth_policy *p, const struct hearth_hist *h,
			     struct hearth_decision *out)
{
	double margin = p->v[MARGIN] / 100;
	int head = hearth_hist_percentile(h, p->v[HEAD]);
	int tail = hearth_hist_percentile(h, p->v[TAIL]);
	double head_s = head * h->bin_s, tail_s = (tail + 1) * h->bin_s;
	double open_s = (1 - margin) * head_s, close_s = (1 + margin) * tail_s;

	if (p->v[MARGIN_OF] == MARGIN_OF_WINDOW)
		close_s = open_s + (1 + margin) * (tail_s - head_s);
	if (head < 0 || tail < 0) /* counted while it was copied: s1 is ahead of the bins */
		decide_window(out, 0, p->v[RANGE], "histogram in motion: standard keep-alive");
	else
		decide_window(out, open_s, close_s, "histogram: head to tail of the idle times");
}

static void observe(const struct hearth_policy *p, void *state, const struct hearth_arrival *a)
{
	struct hybrid_state *s = state;

	(void)p;
	if (a->idle_s >= 0)
		s->idle_s[s->seen++ % HISTORY] = a->idle_s;
}

/*
 * Estimates after every idle time, as the paper does; the order, which costs ten
 * times as much, is chosen again when the history has grown by a quarter.
 */
static void forecast(struct hybrid_state *s)
{
	uint32_t n = s->seen < HISTORY ? s->seen : HISTORY;
	double y[HISTORY];

	for (uint32_t i = 0; i < n; i++)
		y[i] = s->idle_s[(s->seen - n + i) % HISTORY];
	if (s->seen >= s->next_search) {
		if (arima_search(y, n, &s->model))
			return;
		s->next_search = s->seen + 1 + s->seen / 4;
	} else {
		arima_refit(y, n, &s->model);
	}
	s->forecast_s = arima_forecast(&s->model, y, n);
	s->modelled = s->seen;
}

static void decide_series(const struct hearth_policy *p, struct hybrid_state *s,
			  struct hearth_decision *out)
{
	double margin = p->v[ARIMA_MARGIN] / 100;

	if (s->modelled != s->seen && s->seen >= ARIMA_LEAST)
		forecast(s);
	if (s->modelled && s->forecast_s > 0)
		decide_window(out, (1 - margin) * s->forecast_s, (1 + margin) * s->forecast_s,
			      "idle times out of range: around the ARIMA forecast");
	else
		decide_window(out, 0, p->v[RANGE], "no forecast: standard keep-alive");
}

static void decide(const struct hearth_policy *p, void *state, const struct hearth_hist *h,
		   struct hearth_decision *out)
{
	double range_s = p->v[RANGE];
	bool beyond = h->oob > p->v[OOB] * (h->s1 + h->oob);

	if (beyond && p->v[ARIMA] == ARIMA_ON)
		decide_series(p, state, out);
	else if (beyond)
		decide_window(out, 0, range_s, "most idle times out of range: standard keep-alive");
	else if (h->s1 < p->v[MIN_ITS])
		decide_window(out, 0, range_s, "too few idle times yet: standard keep-alive");
	else if (!concentrated(p, h))
		decide_window(out, 0, range_s, "idle times too spread: standard keep-alive");
	else
		decide_histogram(p, h, out);
}

const struct policy_def policy_hybrid = {
    .params = params,
    .state_size = sizeof(struct hybrid_state),
    .observe = observe,
    .check = check,
    .geometry = geometry,
    .decide = decide,
};
