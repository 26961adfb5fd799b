/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Measures in the state file, those that have samples:
 *
 *   "measures":{"warm_bytes":[COUNT,SAMPLE,...],...}
 *
 * Samples are whole bytes or nanoseconds, oldest first; of COUNT at most the
 * last 32 are there.
 */
#include <errno.h>
#include <math.h>

#include "agent/state_check.h"
#include "lib/util.h"

static size_t held(const struct measure *r)
{
	return MIN(r->count, (uint64_t)MEASURE_SAMPLES);
}

bool state_measures_ok(const struct measures *m)
{
	for (int w = 0; w < MEASURES; w++) {
		const struct measure *r = &m->of[w];

		if (r->count > INT64_MAX)
			return false;
		for (size_t i = 0; i < held(r); i++)
			if (!(r->last[i] >= 0) || r->last[i] > MEASURE_SAMPLE_MAX ||
			    rintf(r->last[i]) != r->last[i])
				return false;
	}
	return true;
}

static json_t *ring_json(const struct measure *r)
{
	json_t *a = json_array();
	int bad = json_array_append_new(a, json_integer((json_int_t)r->count));

	for (uint64_t i = r->count - held(r); i < r->count; i++)
		bad |= json_array_append_new(
		    a, json_integer((json_int_t)r->last[i % MEASURE_SAMPLES]));
	if (bad) {
		json_decref(a);
		return NULL;
	}
	return a;
}

json_t *state_measures_json(const struct measures *m)
{
	json_t *o = json_object();

	for (int w = 0; w < MEASURES; w++)
		if (m->of[w].count &&
		    json_object_set_new(o, measure_name(w), ring_json(&m->of[w])) < 0) {
			json_decref(o);
			return NULL;
		}
	return o;
}

static bool ring_read(const json_t *a, struct measure *r)
{
	const json_t *count = json_array_get(a, 0);

	if (!json_is_integer(count) || json_integer_value(count) <= 0)
		return false;
	r->count = (uint64_t)json_integer_value(count);
	if (json_array_size(a) != held(r) + 1)
		return false;
	for (size_t i = 1; i <= held(r); i++) {
		const json_t *v = json_array_get(a, i);

		if (!json_is_integer(v))
			return false;
		r->last[(r->count - held(r) + i - 1) % MEASURE_SAMPLES] =
		    (float)json_integer_value(v);
	}
	return true;
}

bool state_measures_read(const json_t *o, struct measures *m)
{
	if (o && !json_is_object(o))
		return false;
	for (int w = 0; w < MEASURES; w++) {
		const json_t *a = json_object_get(o, measure_name(w));

		if (a && !ring_read(a, &m->of[w]))
			return false;
	}
	return true;
}
