/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where in its minute a binned arrival falls: sorted uniforms, drawn one after
 * the other. They depend on seed, unit and minute alone, so that every policy
 * sees the same arrivals in any order of work.
 */
#ifndef HEARTH_SIM_JITTER_H
#define HEARTH_SIM_JITTER_H

#include <stdint.h>

struct jitter {
	uint64_t rng;
	double log_left; /* log of the share of the bin that is left */
};

void jitter_start(struct jitter *j, uint64_t seed, const char *unit, double t_s);

/* The next one, on [0, 1); `left` counts it and those that follow. */
double jitter_next(struct jitter *j, uint32_t left);

#endif
