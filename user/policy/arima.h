/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ARIMA forecasts of short series, the order chosen automatically: d by KPSS
 * tests, p, q and the constant stepwise by AICc (Hyndman and Khandakar, 2008).
 * All memory is the caller's; the work is bounded by ARIMA_MOST values.
 */
#ifndef HEARTH_POLICY_ARIMA_H
#define HEARTH_POLICY_ARIMA_H

#include <stdbool.h>
#include <stddef.h>

#define ARIMA_MOST  128 /* values of a series */
#define ARIMA_LEAST 4   /* below, there is nothing to choose from */
#define ARIMA_ORDER 5   /* most of p and of q */
#define ARIMA_DIFFS 2   /* most of d */

struct arima {
	int p, d, q;
	bool constant; /* mean for d = 0, drift for d = 1 */
	double ar[ARIMA_ORDER];
	double ma[ARIMA_ORDER];
	double mean; /* of the differenced series, in units of its scale */
	double aicc;
};

/* Choose the order and estimate. 0, or -EINVAL outside ARIMA_LEAST .. ARIMA_MOST values. */
int arima_search(const double *y, size_t n, struct arima *out);

/* Estimate again with the order that m has, from where it is. Same errors. */
int arima_refit(const double *y, size_t n, struct arima *m);

/* The next value, expected. */
double arima_forecast(const struct arima *m, const double *y, size_t n);

#endif
