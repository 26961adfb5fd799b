/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Levenberg-Marquardt over (ar, ma, mean) with exact derivatives: each error
 * depends on earlier errors, and so do its derivatives, by the same recursion.
 * Steps out of the stationary and invertible region are refused.
 */
#include <math.h>
#include <string.h>

#include "policy/arima_estimate.h"

#define PARAMS     (2 * ARIMA_ORDER + 1)
#define ITERATIONS 12
#define TOLERANCE  1e-4  /* relative gain of a step below which it is the last */
#define UNIT_ROOT  1.001 /* roots nearer to the unit circle than this are refused... */
#define NEAR_UNIT  1.01  /* ...while searching, and than this as a result */

/* 1 - c_1 z - ... has all roots outside the circle of radius r (Schur-Cohn). */
static bool roots_outside(const double *c, int n, double r)
{
	double a[ARIMA_ORDER], b[ARIMA_ORDER], scale = 1;

	for (int i = 0; i < n; i++) {
		scale *= r;
		a[i] = c[i] * scale;
	}
	for (int k = n; k > 0; k--) {
		double last = a[k - 1];

		if (!(fabs(last) < 1))
			return false;
		for (int i = 0; i < k - 1; i++)
			b[i] = (a[i] + last * a[k - 2 - i]) / (1 - last * last);
		memcpy(a, b, sizeof(a));
	}
	return true;
}

static bool admissible(const struct arima *m, double r)
{
	double negated[ARIMA_ORDER];

	for (int j = 0; j < m->q; j++)
		negated[j] = -m->ma[j];
	return roots_outside(m->ar, m->p, r) && roots_outside(negated, m->q, r);
}

static double error_at(const double *w, size_t t, const struct arima *m, const double *e)
{
	double v = w[t] - m->mean;

	for (int i = 0; i < m->p && (size_t)i < t; i++)
		v -= m->ar[i] * (w[t - 1 - i] - m->mean);
	for (int j = 0; j < m->q && (size_t)j < t; j++)
		v -= m->ma[j] * e[t - 1 - j];
	return v;
}

double arima_errors(const double *w, size_t n, const struct arima *m, double *e)
{
	double sum = 0;

	for (size_t t = 0; t < n; t++) {
		e[t] = error_at(w, t, m, e);
		sum += e[t] * e[t];
	}
	return sum;
}

/* Derivatives of error t by (ar, ma, mean), given those of the errors before. */
static void slope_at(const double *w, size_t t, const struct arima *m, const double *e,
		     double (*D)[PARAMS])
{
	double *d = D[t];
	int k = 0;

	for (int i = 0; i < m->p; i++)
		d[k++] = (size_t)i < t ? -(w[t - 1 - i] - m->mean) : 0;
	for (int j = 0; j < m->q; j++)
		d[k++] = (size_t)j < t ? -e[t - 1 - j] : 0;
	if (m->constant) {
		d[k] = -1;
		for (int i = 0; i < m->p && (size_t)i < t; i++)
			d[k] += m->ar[i];
		k++;
	}
	for (int j = 0; j < m->q && (size_t)j < t; j++) {
		for (int i = 0; i < k; i++)
			d[i] -= m->ma[j] * D[t - 1 - j][i];
	}
}

/* Normal equations of the least squares at m: A = D'D, g = D'e. */
static void normal(const double *w, size_t n, const struct arima *m, int k,
		   double A[PARAMS][PARAMS], double *g)
{
	double D[ARIMA_MOST][PARAMS], e[ARIMA_MOST];

	memset(A, 0, sizeof(double[PARAMS][PARAMS]));
	memset(g, 0, sizeof(double[PARAMS]));
	for (size_t t = 0; t < n; t++) {
		e[t] = error_at(w, t, m, e);
		slope_at(w, t, m, e, D);
		for (int i = 0; i < k; i++) {
			g[i] += D[t][i] * e[t];
			for (int j = 0; j <= i; j++)
				A[i][j] += D[t][i] * D[t][j];
		}
	}
}

/* Solve (A + damping diag A) x = -g by Cholesky. False if A is not positive. */
static bool solve(double A[PARAMS][PARAMS], const double *g, int k, double damping, double *x)
{
	double L[PARAMS][PARAMS];

	for (int i = 0; i < k; i++) {
		for (int j = 0; j <= i; j++) {
			double v = A[i][j] + (i == j ? damping * A[i][i] + 1e-12 : 0);

			for (int l = 0; l < j; l++)
				v -= L[i][l] * L[j][l];
			if (i == j && !(v > 0))
				return false;
			L[i][j] = i == j ? sqrt(v) : v / L[j][j];
		}
	}
	for (int i = 0; i < k; i++) {
		x[i] = -g[i];
		for (int l = 0; l < i; l++)
			x[i] -= L[i][l] * x[l];
		x[i] /= L[i][i];
	}
	for (int i = k; i-- > 0;) {
		for (int l = i + 1; l < k; l++)
			x[i] -= L[l][i] * x[l];
		x[i] /= L[i][i];
	}
	return true;
}

static struct arima moved(const struct arima *m, const double *step)
{
	struct arima to = *m;
	int k = 0;

	for (int i = 0; i < m->p; i++)
		to.ar[i] += step[k++];
	for (int j = 0; j < m->q; j++)
		to.ma[j] += step[k++];
	if (m->constant)
		to.mean += step[k];
	return to;
}

static double aicc(double sum, size_t n, int params)
{
	double k = params + 1; /* the variance, too */

	if (n <= k + 1 || !isfinite(sum))
		return INFINITY;
	return n * log(sum / n + 1e-12) + 2 * k + 2 * k * (k + 1) / (n - k - 1);
}

void arima_estimate(const double *w, size_t n, struct arima *m)
{
	int k = m->p + m->q + m->constant;
	double A[PARAMS][PARAMS], g[PARAMS], step[PARAMS], e[ARIMA_MOST];
	double sum = arima_errors(w, n, m, e), damping = 1e-3;
	bool stale = true;

	for (int i = 0; i < ITERATIONS && k && damping < 1e6; i++) {
		struct arima to;
		double next;

		if (stale)
			normal(w, n, m, k, A, g);
		stale = solve(A, g, k, damping, step);
		if (stale) {
			to = moved(m, step);
			next = arima_errors(w, n, &to, e);
			stale = next < sum && admissible(&to, UNIT_ROOT);
		}
		if (!stale) {
			damping *= 8;
			continue;
		}
		damping /= 8;
		*m = to;
		if (sum - next < TOLERANCE * sum) {
			sum = next;
			break;
		}
		sum = next;
	}
	m->aicc = admissible(m, NEAR_UNIT) ? aicc(sum, n, k) : INFINITY;
}
