/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Workload generator: an azure2019 directory of invented apps whose
 * distributions are those of the published population (gen_model.c names each
 * source). The same options give the same bytes.
 */
#ifndef HEARTH_TRACE_GEN_H
#define HEARTH_TRACE_GEN_H

#include <stddef.h>
#include <stdint.h>

#define GEN_APPS_MAX 1000000
#define GEN_DAYS_MAX 3650
#define GEN_MINUTES  1440

struct gen_options {
	uint32_t apps;
	uint32_t days;
	uint64_t seed;
	double max_per_day; /* no app is drawn busier; 0: no limit */
};

/* What came out, for comparison with what was aimed at. */
struct gen_result {
	uint32_t apps;
	uint64_t functions, invocations;
	double hourly;   /* share of apps with at most one invocation an hour on average */
	double minutely; /* and at most one a minute */
	double regular;  /* share of apps (of three intervals and more) with CV of them near 0 */
	double bursty;   /* and above 1 */
	double single;   /* share of apps with one function */
	double duration_p50_s, duration_p90_s;
	double memory_p50_mb, memory_p90_mb;
};

struct gen_target {
	const char *what;
	double value; /* of the population */
	size_t at;    /* offset in gen_result */
	const char *source;
};
extern const struct gen_target gen_targets[]; /* ends with .what = NULL */

/* The directory may exist, its trace files may not. 0, or -errno with a message in err. */
int gen_write(const char *directory, const struct gen_options *o, struct gen_result *out, char *err,
	      size_t err_size);

#endif
