/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/util.h"
#include "sim/fit.h"
#include "sim/parallel.h"

#define RARE       4  /* arrivals below which nothing can be said */
#define FIT_LEAST  10 /* arrivals to fit to */
#define TEST_LEAST 10 /* and to test on */
#define CV_TIMER   0.05
#define CV_REGULAR 0.8
#define CV_BURSTY  1.2

struct fits {
	const struct gather *g;
	double start_s, split_s, end_s;
	struct fit_row *rows;
	atomic_int error;
};

static double interval_cv(const struct gathered *u)
{
	double n = u->n - 1.0, mean, sum2 = 0;

	if (u->n < 3)
		return NAN;
	mean = (u->t_s[u->n - 1] - u->t_s[0]) / n;
	for (size_t i = 1; i < u->n; i++) {
		double d = u->t_s[i] - u->t_s[i - 1] - mean;

		sum2 += d * d;
	}
	return mean > 0 ? sqrt(sum2 / n) / mean : NAN;
}

static const char *kind_of(const struct fit_row *r)
{
	if (r->n < RARE || isnan(r->cv))
		return "rare";
	if (r->cv < CV_TIMER)
		return "timer";
	if (r->cv < CV_REGULAR)
		return "regular";
	return r->cv > CV_BURSTY ? "bursty" : "poisson";
}

static void fit_one(void *arg, size_t i)
{
	struct fits *f = arg;
	const struct gathered *u = &f->g->units[i];
	struct fit_row *r = &f->rows[i];
	_cleanup_free_ double *scratch = malloc((2 * u->n + 1) * sizeof(*scratch));

	if (!scratch) {
		atomic_store(&f->error, -ENOMEM);
		return;
	}
	*r = (struct fit_row){.n = u->n, .cv = interval_cv(u), .ks = NAN, .error = -ENODATA};
	r->per_day = u->n / (f->end_s - f->start_s) * 86400;
	r->kind = kind_of(r);
	while (r->fitted < u->n && u->t_s[r->fitted] < f->split_s)
		r->fitted++;
	if (r->fitted < FIT_LEAST)
		return;
	r->error =
	    hearth_hawkes_fit(u->t_s, r->fitted, f->start_s, f->split_s, scratch, &r->hawkes);
	if (!r->error && u->n - r->fitted >= TEST_LEAST)
		r->ks = hearth_hawkes_ks(&r->hawkes, u->t_s + r->fitted, u->n - r->fitted,
					 f->split_s, scratch);
}

int fit_units(const struct gather *g, double start_s, double end_s, double share,
	      struct fit_row rows[])
{
	struct fits f = {.g = g,
			 .start_s = start_s,
			 .split_s = start_s + share * (end_s - start_s),
			 .end_s = end_s,
			 .rows = rows};

	parallel(g->n, 0, fit_one, &f);
	return f.error;
}
