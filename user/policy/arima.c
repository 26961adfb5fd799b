/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Choosing an ARIMA model and forecasting with it. The series is differenced
 * until it looks stationary, then brought to mean 0 and scale 1; the model lives
 * in those units, and the forecast undoes them.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "policy/arima_estimate.h"

#define KPSS_5_PERCENT 0.463 /* critical value for stationarity around a level */
#define START_ORDER    2

struct series {
	double w[ARIMA_MOST];
	size_t n;
	double shift;
	double scale; /* 0: all values are the same */
};

static size_t difference(double *w, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++)
		w[i] = w[i + 1] - w[i];
	return n - 1;
}

static double mean_of(const double *w, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += w[i];
	return sum / n;
}

/* KPSS statistic for a level, Bartlett window, the lag that auto.arima takes. */
static double kpss(const double *w, size_t n)
{
	size_t lags = 3 * sqrt(n) / 13;
	double mean = mean_of(w, n), partial = 0, sum = 0, variance = 0;

	for (size_t i = 0; i < n; i++) {
		partial += w[i] - mean;
		sum += partial * partial;
		variance += (w[i] - mean) * (w[i] - mean);
	}
	for (size_t lag = 1; lag <= lags; lag++) {
		double product = 0;

		for (size_t i = lag; i < n; i++)
			product += (w[i] - mean) * (w[i - lag] - mean);
		variance += 2 * product * (1 - lag / (lags + 1.0));
	}
	return variance > 0 ? sum / n / variance : 0;
}

static int differences(const double *y, size_t n)
{
	double w[ARIMA_MOST];
	int d = 0;

	memcpy(w, y, n * sizeof(*y));
	while (d < ARIMA_DIFFS && n > ARIMA_LEAST && kpss(w, n) > KPSS_5_PERCENT) {
		n = difference(w, n);
		d++;
	}
	return d;
}

/* y differenced d times, in its own units. */
static void prepare(const double *y, size_t n, int d, struct series *s)
{
	double square = 0;

	memcpy(s->w, y, n * sizeof(*y));
	s->n = n;
	for (int i = 0; i < d; i++)
		s->n = difference(s->w, s->n);
	s->shift = d < 2 ? mean_of(s->w, s->n) : 0;
	for (size_t i = 0; i < s->n; i++)
		square += (s->w[i] - s->shift) * (s->w[i] - s->shift);
	s->scale = sqrt(square / s->n);
	if (s->scale <= 1e-9 * fabs(s->shift))
		s->scale = 0;
	for (size_t i = 0; i < s->n && s->scale > 0; i++)
		s->w[i] = (s->w[i] - s->shift) / s->scale;
}

/* Without a constant the mean is 0 in the units of y. */
static double fixed_mean(const struct series *s, const struct arima *m)
{
	return m->constant ? 0 : -s->shift / s->scale;
}

struct search {
	const struct series *series;
	struct arima best;
	bool tried[ARIMA_ORDER + 1][ARIMA_ORDER + 1][2];
	int most; /* order that the length supports */
};

/* True if the model is better than the best so far; it takes its place. */
static bool try(struct search *s, int d, int p, int q, bool constant)
{
	struct arima m = {.p = p, .d = d, .q = q, .constant = constant};

	if (p < 0 || q < 0 || p > s->most || q > s->most || (constant && d > 1) ||
	    s->tried[p][q][constant])
		return false;
	s->tried[p][q][constant] = true;
	m.mean = fixed_mean(s->series, &m);
	arima_estimate(s->series->w, s->series->n, &m);
	if (!(m.aicc < s->best.aicc))
		return false;
	s->best = m;
	return true;
}

static void stepwise(struct search *s, int d)
{
	static const struct {
		int p, q;
	} moves[] = {{-1, 0}, {0, -1}, {1, 0}, {0, 1}, {-1, -1}, {-1, 1}, {1, -1}, {1, 1}};
	bool constant = d <= 1, better = true;
	int start = s->most < START_ORDER ? s->most : START_ORDER;

	try(s, d, start, start, constant);
	try(s, d, 0, 0, constant);
	try(s, d, s->most > 0, 0, constant);
	try(s, d, 0, s->most > 0, constant);
	try(s, d, 0, 0, false);
	while (better) {
		int p = s->best.p, q = s->best.q;

		constant = s->best.constant;
		better = false;
		for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]) && !better; i++)
			better = try(s, d, p + moves[i].p, q + moves[i].q, constant);
		better = better || try(s, d, p, q, !constant);
	}
}

int arima_search(const double *y, size_t n, struct arima *out)
{
	struct series series;
	struct search s = {.series = &series};
	int d;

	if (n < ARIMA_LEAST || n > ARIMA_MOST)
		return -EINVAL;
	d = differences(y, n);
	prepare(y, n, d, &series);
	s.best = (struct arima){.d = d, .constant = d <= 1, .aicc = INFINITY};
	s.most = series.n / 3 < ARIMA_ORDER ? series.n / 3 : ARIMA_ORDER;
	if (series.scale > 0)
		stepwise(&s, d);
	*out = s.best;
	return 0;
}

int arima_refit(const double *y, size_t n, struct arima *m)
{
	struct series series;

	if (n < ARIMA_LEAST || n > ARIMA_MOST)
		return -EINVAL;
	prepare(y, n, m->d, &series);
	if (!(series.scale > 0))
		return 0;
	if (!m->constant)
		m->mean = fixed_mean(&series, m);
	arima_estimate(series.w, series.n, m);
	return 0;
}

double arima_forecast(const struct arima *m, const double *y, size_t n)
{
	double e[ARIMA_MOST], next;
	struct series s;

	prepare(y, n, m->d, &s);
	next = s.shift;
	if (s.scale > 0) {
		double z = m->mean;

		arima_errors(s.w, s.n, m, e);
		for (int i = 0; i < m->p && (size_t)i < s.n; i++)
			z += m->ar[i] * (s.w[s.n - 1 - i] - m->mean);
		for (int j = 0; j < m->q && (size_t)j < s.n; j++)
			z += m->ma[j] * e[s.n - 1 - j];
		next += z * s.scale;
	}
	if (m->d == 1)
		next += y[n - 1];
	else if (m->d == 2)
		next += 2 * y[n - 1] - y[n - 2];
	return next;
}
