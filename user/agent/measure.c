/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rings of samples and their quantiles. A sample is a whole number of bytes or
 * nanoseconds, held in a float: seven digits are more than any measure has, and
 * what is saved as an integer comes back the same.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/measure.h"
#include "lib/clock.h"
#include "lib/util.h"

static const struct {
	const char *name;
	bool bytes;
} quantities[MEASURES] = {
    [MEASURE_WARM_BYTES] = {"warm_bytes", true},
    [MEASURE_FROZEN_BYTES] = {"frozen_bytes", true},
    [MEASURE_RECLAIMED_BYTES] = {"reclaimed_bytes", true},
    [MEASURE_RETURNED_BYTES] = {"returned_bytes", true},
    [MEASURE_THAW_S] = {"thaw_s", false},
    [MEASURE_FROZEN_WAKE_S] = {"frozen_wake_s", false},
    [MEASURE_RECLAIMED_WAKE_S] = {"reclaimed_wake_s", false},
    [MEASURE_PREFAULTED_WAKE_S] = {"prefaulted_wake_s", false},
    [MEASURE_PREFAULT_S] = {"prefault_s", false},
    [MEASURE_COLD_S] = {"cold_s", false},
    [MEASURE_SPAN_S] = {"span_s", false},
};

const char *measure_name(enum measure_what what)
{
	return quantities[what].name;
}

bool measure_is_bytes(enum measure_what what)
{
	return quantities[what].bytes;
}

void measure_add(struct measures *m, enum measure_what what, double value)
{
	struct measure *r = &m->of[what];
	double sample = rint(quantities[what].bytes ? value : value * (double)NSEC_PER_SEC);

	if (!(sample >= 0) || sample > MEASURE_SAMPLE_MAX)
		return;
	r->last[r->count++ % MEASURE_SAMPLES] = (float)sample;
}

void measure_add_wake(struct measures *m, enum measure_what what, double span_s)
{
	double warm_s = measure_quantile(m, MEASURE_SPAN_S, 0.5);

	if (!isnan(warm_s))
		measure_add(m, what, isnan(span_s) ? span_s : fmax(span_s - warm_s, 0));
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

double measure_quantile(const struct measures *m, enum measure_what what, double q)
{
	const struct measure *r = &m->of[what];
	size_t n = MIN(r->count, (uint64_t)MEASURE_SAMPLES);
	float sorted[MEASURE_SAMPLES];
	double rank = ceil(q * (double)n), value;

	if (n == 0)
		return NAN;
	memcpy(sorted, r->last, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_size);
	value = sorted[rank >= 1 ? MIN((size_t)rank, n) - 1 : 0];
	return quantities[what].bytes ? value : value / (double)NSEC_PER_SEC;
}

uint64_t measure_count(const struct measures *m, enum measure_what what)
{
	return m->of[what].count;
}
