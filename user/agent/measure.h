/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What one function's tiers cost, as measured here: running quantiles over the
 * last 32 samples of each quantity. A window of samples, not an estimator such
 * as P2: it gives any quantile exactly, forgets a version of the function that
 * is gone, and with 32 numbers needs little more memory than the estimator of
 * three quantiles. Plain data; copied and saved as it is.
 */
#ifndef HEARTH_MEASURE_H
#define HEARTH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

enum measure_what {
	MEASURE_WARM_BYTES,       /* RAM of an idle instance */
	MEASURE_FROZEN_BYTES,     /* that it keeps frozen */
	MEASURE_RECLAIMED_BYTES,  /* that it keeps reclaimed: resident, and for its swapped pages */
	MEASURE_RETURNED_BYTES,   /* by one reclaim */
	MEASURE_THAW_S,           /* from the wake record to the write to cgroup.freeze */
	MEASURE_FROZEN_WAKE_S,    /* beyond a warm span, of the first one after a wake */
	MEASURE_RECLAIMED_WAKE_S, /* the same, paged out */
	MEASURE_PREFAULTED_WAKE_S, /* the same, paged out and brought back in time */
	MEASURE_PREFAULT_S,        /* to bring a working set back */
	MEASURE_COLD_S,            /* from the creation to the first begin */
	MEASURE_SPAN_S,            /* warm: from begin to end */
	MEASURES,
};

#define MEASURE_SAMPLES    32u
#define MEASURE_SAMPLE_MAX 9e18 /* fits an int64_t: 8 EiB, or 285 years */

struct measure {
	uint64_t count;              /* of all time; the next sample goes to count % 32 */
	float last[MEASURE_SAMPLES]; /* whole bytes or nanoseconds */
};

struct measures {
	struct measure of[MEASURES];
};

/* Bytes or seconds. What is negative or no number is left out. */
void measure_add(struct measures *m, enum measure_what what, double value);

/*
 * The span of the first invocation after a wake: what it took longer than the
 * median warm span, 0 if shorter. Left out while no warm span was seen.
 */
void measure_add_wake(struct measures *m, enum measure_what what, double span_s);

/* The smallest sample that a share q (0..1) of them does not exceed; NAN before the first. */
double measure_quantile(const struct measures *m, enum measure_what what, double q);

uint64_t measure_count(const struct measures *m, enum measure_what what);

const char *measure_name(enum measure_what what); /* "warm_bytes": in JSON and state */
bool measure_is_bytes(enum measure_what what);

#endif
