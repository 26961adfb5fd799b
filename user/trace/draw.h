/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Random draws for the workload generator: a seed decides them all. */
#ifndef HEARTH_TRACE_DRAW_H
#define HEARTH_TRACE_DRAW_H

#include <stddef.h>
#include <stdint.h>

struct draw {
	uint64_t state;
};

struct draw_point { /* of a distribution: share p of the values is at most x */
	double p;
	double x;
};

uint64_t draw_bits(struct draw *d);
double draw_unit(struct draw *d); /* (0, 1) */
double draw_normal(struct draw *d);
double draw_gamma(struct draw *d, double shape); /* mean = shape */
uint64_t draw_poisson(struct draw *d, double mean);

/* From a table in ascending order, geometric between points where x allows, else linear. */
double draw_table(struct draw *d, const struct draw_point *table, size_t n);

#endif
