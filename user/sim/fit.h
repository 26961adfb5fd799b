/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the arrivals of each unit look like: the variation of their intervals,
 * a Hawkes process fitted to the first part of the trace, and how well that
 * describes the rest, on which it was not fitted.
 */
#ifndef HEARTH_SIM_FIT_H
#define HEARTH_SIM_FIT_H

#include <hearth/hawkes.h>

#include "sim/gather.h"

struct fit_row {
	size_t n, fitted; /* arrivals: of all, of the part fitted to */
	double cv;        /* of the intervals; NAN with fewer than two */
	double per_day;
	struct hearth_hawkes hawkes;
	int error;        /* of the fit: then hawkes says nothing */
	double ks;        /* on the rest; NAN if it was not fitted or too little is left */
	const char *kind; /* rare, timer, regular, poisson, bursty */
};

/*
 * rows[i] for unit i of g; fits on [start_s, start_s + share * (end_s -
 * start_s)). 0 or -ENOMEM.
 */
int fit_units(const struct gather *g, double start_s, double end_s, double share,
	      struct fit_row rows[]);

#endif
