/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tallies per unit to what a report says of one setting. Units without an
 * arrival, or left out, do not count.
 */
#ifndef HEARTH_SIM_SUMMARY_H
#define HEARTH_SIM_SUMMARY_H

#include "sim/capacity.h"

/* What was simulated. */
struct sim_setting {
	const char *policy; /* spec; "" for none */
	const char *ranker; /* spec; NULL without a memory limit */
	const char *mode;   /* how instances start; NULL without images */
	double memory_mb;   /* with a ranker */
	double cold_cost_s;
	double load_cost_s; /* of each pre-warm load */
};

struct sim_result {
	struct sim_setting setting;
	uint64_t apps;               /* units, whatever they are */
	struct capacity_total total; /* without a limit: nothing is dropped, evicted or queued */
	uint64_t loads;              /* ahead of an arrival */
	double cold_p75_pct;         /* 75th percentile over units of the share of cold starts */
	double waste_s;
	double waste_mb_s;
	double cost_s; /* waste_s + cold_cost_s * cold starts + load_cost_s * loads */
};

/* The tally of a unit, NULL if it had no arrival. */
typedef const struct sim_tally *(*sim_tally_fn)(const void *arg, size_t setting, size_t unit);

/*
 * limited: totals of a capacity run; NULL without a limit. 0 or -ENOMEM.
 */
int summary_make(const struct sim_setting *setting, size_t index, const struct trace *t,
		 sim_tally_fn tally, const void *arg, const struct capacity_total *limited,
		 struct sim_result *out);

/* Percentile q (0..100) of n values with linear interpolation; sorts them. */
double summary_percentile(double *values, size_t n, double q);

#endif
