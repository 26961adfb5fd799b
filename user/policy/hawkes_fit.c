/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maximum likelihood of a Hawkes process, without an optimiser: at the optimum
 * the expected number of events equals the observed one, so for a given decay b
 * the background rate follows from a, and what is left is concave in a - the
 * root of a falling function, found by guarded Newton steps. Only b is
 * searched: coarsely over all time scales of the data, then by golden section.
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>

#include <hearth/hawkes.h>

#define STATIONARY   0.999 /* most of a / b */
#define SCALES       10    /* values of b of the coarse search */
#define REFINEMENTS  14    /* golden sections: b to better than 1% of a scale step */
#define NEWTON_STEPS 30
#define NEWTON_TOL   1e-7

/* The data at one value of b: A_i before each event, and what the events sum to. */
struct at_b {
	const double *A;
	size_t n; /* events */
	double T; /* observed time */
	double G; /* integral of the excitation per unit of a */
	double b;
};

double hearth_hawkes_loglik(const struct hearth_hawkes *h, const double *t, size_t n,
			    double start_s, double end_s, double grad[3])
{
	/* A = sum exp(-b age), B = -dA/db, both just before t[i]; likewise C, D up to end_s. */
	double A = 0, B = 0, C = 0, D = 0, last = start_s, sum = 0, g0 = 0, ga = 0, gb = 0;

	for (size_t i = 0; i < n; i++) {
		double x = t[i] - last, e = exp(-h->b * x), rest = end_s - t[i];
		double rate;

		if (i) {
			B = e * (B + x * (1 + A));
			A = e * (1 + A);
		}
		C += -expm1(-h->b * rest);
		D += rest * exp(-h->b * rest);
		last = t[i];
		if (!i && x <= 0)
			continue;
		rate = h->l0 + h->a * A;
		sum += log(rate);
		g0 += 1 / rate;
		ga += A / rate;
		gb -= h->a * B / rate;
	}
	if (grad) {
		grad[0] = g0 - (end_s - start_s);
		grad[1] = ga - C / h->b;
		grad[2] = gb + h->a * C / (h->b * h->b) - h->a * D / h->b;
	}
	return sum - h->l0 * (end_s - start_s) - h->a / h->b * C;
}

/* d loglik / d a with l0 = (n - a G) / T, and its derivative. */
static double slope(const struct at_b *d, double a, double *curvature)
{
	double l0 = (d->n - a * d->G) / d->T, mean = d->G / d->T;
	double sum[2] = {0}, square[2] = {0}; /* of even and odd events: two divisions at once */
	size_t i = 0;

	for (; i + 1 < d->n; i += 2) {
		for (int k = 0; k < 2; k++) {
			double q = (d->A[i + k] - mean) / (l0 + a * d->A[i + k]);

			sum[k] += q;
			square[k] += q * q;
		}
	}
	if (i < d->n) {
		double q = (d->A[i] - mean) / (l0 + a * d->A[i]);

		sum[0] += q;
		square[0] += q * q;
	}
	*curvature = -(square[0] + square[1]);
	return sum[0] + sum[1];
}

/* From a guess: that of a neighbouring b, which is near. */
static double best_a(const struct at_b *d, double guess)
{
	double lo = 0, hi = fmin(STATIONARY * d->b, d->n / d->G * (1 - 1e-9)), curvature;
	double a = guess < hi ? guess : hi / 2;

	for (int i = 0; i < NEWTON_STEPS && hi - lo > NEWTON_TOL * hi; i++) {
		double s = slope(d, a, &curvature), next = a - s / curvature;

		if (a == 0 && s <= 0)
			return 0;
		*(s > 0 ? &lo : &hi) = a;
		if (lo == 0 && a > 0 && next <= 0)
			next = 0;                   /* is that the root? */
		else if (!(next > lo && next < hi)) /* NaN too */
			next = (lo + hi) / 2;
		if (fabs(next - a) <= NEWTON_TOL * next)
			return next;
		a = next;
	}
	return a;
}

/* Of the intensities before the events. They lie within 1e+-20 (best_a keeps some background), so a
 * product of eight is one logarithm, and no overflow. */
static double sum_of_logs(const struct at_b *d, const struct hearth_hawkes *h)
{
	double sum = 0;
	size_t i = 0;

	while (i < d->n) {
		double product = 1;

		for (size_t end = i + 8 < d->n ? i + 8 : d->n; i < end; i++)
			product *= h->l0 + h->a * d->A[i];
		sum += log(product);
	}
	return sum;
}

struct data {
	const double *x; /* gap before each arrival; x[0] is not used */
	size_t n;
	double opening_s; /* silence before the first arrival, and after the last */
	double rest_s;
	double *A;
	double branching; /* a / b, of the last b that was tried */
};

/* Best log-likelihood at b = exp(log_b). */
static double profile(struct data *data, double log_b, struct hearth_hawkes *out)
{
	bool counted = data->opening_s > 0; /* the first arrival is an event */
	struct at_b d = {data->A, data->n - !counted, data->opening_s + data->rest_s, 0,
			 exp(log_b)};
	double excitation = 0;

	for (size_t i = 0; i < data->n; i++) {
		if (i) {
			d.T += data->x[i];
			excitation = exp(-d.b * data->x[i]) * (1 + excitation);
		}
		if (i || counted)
			data->A[i - !counted] = excitation;
	}
	/* All excitation that was ever added, less what is left at the end. */
	d.G = (data->n - exp(-d.b * data->rest_s) * (1 + excitation)) / d.b;
	out->b = d.b;
	out->a = best_a(&d, data->branching * d.b);
	data->branching = out->a / d.b;
	out->l0 = (d.n - out->a * d.G) / d.T;
	return sum_of_logs(&d, out) - d.n;
}

/* The best of evenly spaced values; *lo and *hi close in on its neighbours. */
static void search_scales(struct data *data, double *lo, double *hi)
{
	double step = (*hi - *lo) / (SCALES - 1), best = -INFINITY, at = *lo;
	struct hearth_hawkes h;

	for (int i = 0; i < SCALES; i++) {
		double f = profile(data, *lo + i * step, &h);

		if (f > best) {
			best = f;
			at = *lo + i * step;
		}
	}
	*lo = fmax(*lo, at - step);
	*hi = fmin(*hi, at + step);
}

static double golden_section(struct data *data, double lo, double hi)
{
	static const double golden = 0.6180339887498949;
	double left = hi - golden * (hi - lo), right = lo + golden * (hi - lo);
	struct hearth_hawkes h;
	double f_left = profile(data, left, &h), f_right = profile(data, right, &h);

	for (int i = 0; i < REFINEMENTS; i++) {
		if (f_left > f_right) {
			hi = right;
			right = left;
			f_right = f_left;
			left = hi - golden * (hi - lo);
			f_left = profile(data, left, &h);
		} else {
			lo = left;
			left = right;
			f_left = f_right;
			right = lo + golden * (hi - lo);
			f_right = profile(data, right, &h);
		}
	}
	return (lo + hi) / 2;
}

int hearth_hawkes_fit(const double *t, size_t n, double start_s, double end_s, double *scratch,
		      struct hearth_hawkes *out)
{
	double *x = scratch, shortest = INFINITY, lo, hi;
	bool simultaneous = false;
	struct data data;

	if (n < 3 || !(t[n - 1] > t[0]))
		return -EINVAL;
	data = (struct data){x, n, t[0] - start_s, end_s - t[n - 1], scratch + n, 0};
	for (size_t i = 1; i < n; i++) {
		x[i] = t[i] - t[i - 1];
		if (x[i] > 0)
			shortest = fmin(shortest, x[i]);
		else
			simultaneous = true;
	}
	/* From decay over the whole observation to decay within the shortest gap. */
	lo = -log(t[n - 1] - t[0]);
	hi = fmax(log((simultaneous ? 20 : 2) / shortest), lo + 1);
	search_scales(&data, &lo, &hi);
	profile(&data, golden_section(&data, lo, hi), out);
	return 0;
}
