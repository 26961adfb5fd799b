/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Self-exciting arrivals: the Hawkes process with an exponential kernel,
 * intensity l0 + sum over past arrivals of a exp(-b age). Pure like policy.h:
 * scratch memory and random state are the caller's. Times in seconds,
 * ascending; rates per second.
 */
#ifndef HEARTH_HAWKES_H
#define HEARTH_HAWKES_H

#include <stddef.h>
#include <stdint.h>

struct hearth_hawkes {
	double l0; /* background rate */
	double a;  /* excitation by one arrival; stationary iff a < b */
	double b;  /* decay of it */
};

/* What the past adds up to just after an arrival: excitation 0 stands for no arrival before. */
double hearth_hawkes_excite(const struct hearth_hawkes *h, double excitation, double iat_s);

/*
 * How long after an arrival staying loaded is worth it (Theorem 2): until the
 * intensity falls to theta = c_p / c_cs. 0: not at all, INFINITY: for ever.
 */
double hearth_hawkes_tau(const struct hearth_hawkes *h, double excitation, double theta);

/* The history-free keep-alive of Theorem 7: within a factor of 2 of the optimum. */
double hearth_hawkes_tau_approx(const struct hearth_hawkes *h, double theta);

/* Mean of hearth_hawkes_tau over a simulated day: the optimized TTL. */
double hearth_hawkes_tau_mean(const struct hearth_hawkes *h, double theta, uint64_t *rng);

/* Time from an arrival to the next one, by Ogata's thinning; INFINITY if none comes in most_s. */
double hearth_hawkes_next(const struct hearth_hawkes *h, double excitation, double most_s,
			  uint64_t *rng);

/*
 * Log-likelihood of the arrivals in [start_s, end_s] from an empty history, and
 * its gradient by (l0, a, b) if grad is not NULL. Silence up to end_s counts. An
 * arrival at start_s itself opens the observation: it excites, but is not an event.
 */
double hearth_hawkes_loglik(const struct hearth_hawkes *h, const double *t, size_t n,
			    double start_s, double end_s, double grad[3]);

/*
 * Maximum likelihood with a < b. scratch holds 2 n doubles. 0, or -EINVAL with
 * fewer than 3 arrivals or no time between them.
 */
int hearth_hawkes_fit(const double *t, size_t n, double start_s, double end_s, double *scratch,
		      struct hearth_hawkes *out);

/*
 * Kolmogorov-Smirnov distance between the time-rescaled gaps and Exp(1), in
 * [0, 1]; meaningful on arrivals that were not fitted to. scratch holds n doubles.
 */
double hearth_hawkes_ks(const struct hearth_hawkes *h, const double *t, size_t n, double start_s,
			double *scratch);

#endif
