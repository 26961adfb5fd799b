/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Estimation of an ARMA model with given order on a series with mean about 0
 * and scale about 1: least squares of the one-step errors, values before the
 * series taken as the mean, so that all orders are compared on all n errors.
 */
#ifndef HEARTH_POLICY_ARIMA_ESTIMATE_H
#define HEARTH_POLICY_ARIMA_ESTIMATE_H

#include "policy/arima.h"

/* Improves the parameters of m from where they are; m->aicc is set, INFINITY if it has none. */
void arima_estimate(const double *w, size_t n, struct arima *m);

/* One-step errors of m over w into e. Returns the sum of their squares. */
double arima_errors(const double *w, size_t n, const struct arima *m, double *e);

#endif
