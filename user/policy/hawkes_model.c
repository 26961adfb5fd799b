/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The Hawkes process with parameters given: its optimal keep-alive (On
 * Keep-alive Caching, section 4.2), simulation and goodness of fit. Everything
 * follows from the O(1) recursion S_m = 1 + exp(-b x_m) S_{m-1}.
 */
#include <math.h>

#include <hearth/hawkes.h>

#include "policy/random.h"

#define DAY_S        86400.0
#define DAY_ARRIVALS 20000 /* enough for a mean; bounds the work for busy functions */

double hearth_hawkes_excite(const struct hearth_hawkes *h, double excitation, double iat_s)
{
	return 1 + excitation * exp(-h->b * iat_s);
}

double hearth_hawkes_tau(const struct hearth_hawkes *h, double excitation, double theta)
{
	if (h->l0 >= theta)
		return INFINITY;
	if (h->l0 + h->a * excitation <= theta)
		return 0;
	return log(h->a * excitation / (theta - h->l0)) / h->b;
}

double hearth_hawkes_tau_approx(const struct hearth_hawkes *h, double theta)
{
	double tau_0 = hearth_hawkes_tau(h, 1, theta);
	double cold_s = 1 / theta;

	return sqrt(cold_s * (tau_0 + cold_s));
}

double hearth_hawkes_next(const struct hearth_hawkes *h, double excitation, double most_s,
			  uint64_t *rng)
{
	double excess = h->a * excitation;
	double x = 0;

	for (;;) {
		double bound = h->l0 + excess; /* the intensity only falls until the next arrival */
		double step = -log(random_unit(rng)) / bound;

		x += step;
		if (!(x <= most_s))
			return INFINITY;
		excess *= exp(-h->b * step);
		if (random_unit(rng) * bound <= h->l0 + excess)
			return x;
	}
}

double hearth_hawkes_tau_mean(const struct hearth_hawkes *h, double theta, uint64_t *rng)
{
	double t = 0, excitation = 0, sum = 0;
	int n = 0;

	if (h->l0 >= theta)
		return INFINITY;
	while (n < DAY_ARRIVALS) {
		double x = hearth_hawkes_next(h, excitation, DAY_S - t, rng);

		if (isinf(x))
			break;
		t += x;
		excitation = hearth_hawkes_excite(h, excitation, x);
		sum += hearth_hawkes_tau(h, excitation, theta);
		n++;
	}
	return n ? sum / n : hearth_hawkes_tau(h, 1, theta);
}

/* Shell sort: in place, no recursion, quick enough for the sizes of a day. */
static void sort(double *v, size_t n)
{
	size_t gap = 1;

	while (gap < n / 3)
		gap = 3 * gap + 1;
	for (; gap; gap /= 3) {
		for (size_t i = gap; i < n; i++) {
			double x = v[i];
			size_t j = i;

			for (; j >= gap && v[j - gap] > x; j -= gap)
				v[j] = v[j - gap];
			v[j] = x;
		}
	}
}

/* Integral of the intensity over a gap of x seconds. */
static double compensator(const struct hearth_hawkes *h, double excitation, double x)
{
	return h->l0 * x - h->a / h->b * excitation * expm1(-h->b * x);
}

double hearth_hawkes_ks(const struct hearth_hawkes *h, const double *t, size_t n, double start_s,
			double *scratch)
{
	double last = start_s, excitation = 0, distance = 0;
	size_t gaps = 0;

	for (size_t i = 0; i < n; i++) {
		double x = t[i] - last;

		if (i || x > 0)
			scratch[gaps++] = -expm1(-compensator(h, excitation, x));
		excitation = hearth_hawkes_excite(h, excitation, x);
		last = t[i];
	}
	sort(scratch, gaps);
	for (size_t i = 0; i < gaps; i++) {
		double above = (i + 1.0) / gaps - scratch[i], below = scratch[i] - (double)i / gaps;

		distance = fmax(distance, fmax(above, below));
	}
	return gaps ? distance : 1;
}
