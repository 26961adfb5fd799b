/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table that `predictive` starts from: how long the apps of a population
 * wait for their next arrival. Every app counts the same, however often it is
 * called, and a wait that the end of the trace cuts off counts as longer than
 * what was seen of it. As a file: CSV, minute,probability; # begins a comment.
 */
#ifndef HEARTH_SIM_PRIOR_H
#define HEARTH_SIM_PRIOR_H

#include <stdio.h>

#include <hearth/policy.h>

#include "sim/gather.h"

struct prior_sums {
	double ended[HEARTH_PRIOR_MINUTES + 1]; /* weight of waits of so many clock minutes */
	double cut[HEARTH_PRIOR_MINUTES + 1];   /* and of those seen for so long, without an end */
	size_t apps;
};

struct prior {
	struct hearth_prior_cell cells[HEARTH_PRIOR_MINUTES];
	size_t n;
};

/* Add the units of a trace that ends at end_s; start with zeroed sums. */
void prior_add(struct prior_sums *sums, const struct gather *g, double end_s);
/* Product-limit estimate of what was added. */
void prior_estimate(const struct prior_sums *sums, struct prior *out);

/* 0 or -errno. */
int prior_write(const struct prior *prior, size_t apps, FILE *f);
/* 0, or -errno with a message that names file and line. */
int prior_read(const char *path, struct prior *out, char *err, size_t err_size);

#endif
