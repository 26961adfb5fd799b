/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The plain-data side of the state: a growing array of functions that own
 * their memory. What enters through state_add can be written and read back.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/state.h"
#include "agent/state_check.h"
#include "lib/util.h"

void state_function_done(struct state_function *f)
{
	free(f->bins);
	free(f->policy);
	free(f->blob_spec);
	free(f->blob);
	*f = (struct state_function){0};
}

void state_done(struct state *s)
{
	for (size_t i = 0; i < s->n; i++)
		state_function_done(&s->functions[i]);
	free(s->functions);
	*s = (struct state){0};
}

static void *copy_bytes(const void *p, size_t bytes, int *rc)
{
	void *q = NULL;

	if (p && bytes) {
		q = malloc(bytes);
		if (q)
			memcpy(q, p, bytes);
		else
			*rc = -ENOMEM;
	}
	return q;
}

static char *copy_text(const char *text, int *rc)
{
	return copy_bytes(text, text ? strlen(text) + 1 : 0, rc);
}

int state_push(struct state *s, struct state_function *f)
{
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		void *p = reallocarray(s->functions, room, sizeof(*s->functions));

		if (!p)
			return -ENOMEM;
		s->functions = p;
		s->room = room;
	}
	s->functions[s->n++] = *f;
	*f = (struct state_function){0};
	return 0;
}

int state_add(struct state *s, const struct state_function *f)
{
	struct state_function copy = *f;
	int rc = state_check(f) ? -EINVAL : 0;

	if (rc < 0)
		return rc;
	state_sums(f, &copy.s1, &copy.s2);
	copy.bins = copy_bytes(f->bins, f->nbins * sizeof(*f->bins), &rc);
	copy.policy = copy_text(f->policy, &rc);
	copy.blob_spec = copy_text(f->blob_spec, &rc);
	copy.blob = copy_bytes(f->blob, f->blob_bytes, &rc);
	if (rc == 0)
		rc = state_push(s, &copy);
	state_function_done(&copy);
	return rc;
}

bool state_take(struct state *s, const char *name, struct state_function *out)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->functions[i].name, name) != 0)
			continue;
		*out = s->functions[i];
		s->functions[i] = s->functions[--s->n];
		return true;
	}
	return false;
}

static int by_last_seen(const void *a, const void *b)
{
	double x = ((const struct state_function *)a)->last_seen_s;
	double y = ((const struct state_function *)b)->last_seen_s;

	return (x < y) - (x > y);
}

size_t state_trim(struct state *s, size_t max)
{
	size_t gone = s->n > max ? s->n - max : 0;

	if (!gone)
		return 0;
	qsort(s->functions, s->n, sizeof(*s->functions), by_last_seen);
	while (s->n > max)
		state_function_done(&s->functions[--s->n]);
	return gone;
}

bool state_sums(const struct state_function *f, uint64_t *s1, uint64_t *s2)
{
	*s1 = *s2 = 0;
	for (uint32_t i = 0; i < f->nbins; i++) {
		uint64_t c = f->bins[i];

		*s1 += c;
		if (__builtin_add_overflow(*s2, c * c, s2))
			return false;
	}
	return true;
}

/* Specs are printable ASCII: nothing else parses as one. */
static bool spec_ok(const char *spec)
{
	if (!spec)
		return true;
	for (; *spec; spec++)
		if (*spec < 0x20 || *spec > 0x7e)
			return false;
	return true;
}

static bool seconds_ok(double s)
{
	return isfinite(s) && s >= 0;
}

const char *state_check(const struct state_function *f)
{
	const uint64_t counters[] = {f->bin_ns,          f->oob,        f->unbinned,
				     f->invocations,     f->busy_spans, f->cold_starts,
				     f->lukewarm_starts, f->freezes,    f->wakes};
	uint64_t s1, s2;

	if (f->name[0] == '\0' || !memchr(f->name, '\0', sizeof(f->name)))
		return "name is empty or too long";
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (counters[i] > INT64_MAX)
			return "a counter is out of range";
	if (f->nbins > STATE_BINS || (f->bins && (f->nbins == 0 || f->bin_ns == 0)) ||
	    (!f->bins && f->nbins > 0))
		return "the histogram has no proper geometry";
	if (!state_sums(f, &s1, &s2))
		return "the histogram counts too much";
	if (!state_measures_ok(&f->measures))
		return "a measure is out of range";
	for (unsigned int i = 0; i < hearth_gaps_held(&f->gaps); i++)
		if (hearth_gaps_at(&f->gaps, i) > HEARTH_PRIOR_MINUTES)
			return "a gap is out of range";
	if (!seconds_ok(f->frozen_s) || !seconds_ok(f->instance_s) ||
	    !seconds_ok(f->first_seen_s) || !seconds_ok(f->last_seen_s))
		return "a time is negative or not finite";
	if (!spec_ok(f->policy) || !spec_ok(f->blob_spec))
		return "a policy spec is not printable";
	if (f->blob_bytes > STATE_BLOB || !f->blob != !f->blob_bytes || !f->blob != !f->blob_spec)
		return "the policy's memory is too large or belongs to no policy";
	return NULL;
}
