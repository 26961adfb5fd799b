/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Latencies and the result. "Added" is what a frozen instance cost: the latency
 * of a request that found it frozen less the median of its function's requests
 * that found it warm; null while either is missing.
 */
#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

void report_add(struct samples *s, uint64_t ns)
{
	if (s->n == s->size) {
		s->size = s->size ? 2 * s->size : 256;
		s->us = reallocarray(s->us, s->size, sizeof(*s->us));
		if (!s->us)
			err(1, "latencies");
	}
	s->us[s->n++] = (uint32_t)(ns / 1000);
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t quantile(const struct samples *s, double q)
{
	return s->us[(size_t)(q * (double)(s->n - 1) + 0.5)];
}

static json_t *quantiles(const struct samples *s)
{
	if (s->n == 0)
		return json_pack("{s:i}", "n", 0);
	return json_pack("{s:I,s:I,s:I}", "n", (json_int_t)s->n, "p50_us",
			 (json_int_t)quantile(s, 0.5), "p99_us", (json_int_t)quantile(s, 0.99));
}

/* Per function, and over all of them in the end. */
static json_t *added(const struct samples *frozen, const struct samples *warm, double q)
{
	if (frozen->n == 0 || warm->n == 0)
		return json_null();
	return json_integer((json_int_t)quantile(frozen, q) - (json_int_t)quantile(warm, 0.5));
}

static json_t *added_by_all(const struct target *t, size_t n)
{
	struct samples all = {0};
	json_t *out;

	for (size_t i = 0; i < n; i++) {
		const struct samples *frozen = &t[i].latency[FOUND_FROZEN];
		const struct samples *warm = &t[i].latency[FOUND_WARM];

		for (size_t k = 0; warm->n && k < frozen->n; k++) {
			uint32_t usual = quantile(warm, 0.5);

			report_add(&all,
				   frozen->us[k] > usual ? 1000ULL * (frozen->us[k] - usual) : 0);
		}
	}
	if (all.n)
		qsort(all.us, all.n, sizeof(uint32_t), ascending);
	out = quantiles(&all);
	free(all.us);
	return out;
}

static json_t *row(struct target *t)
{
	for (int f = 0; f < FOUND_KINDS; f++)
		if (t->latency[f].n)
			qsort(t->latency[f].us, t->latency[f].n, sizeof(uint32_t), ascending);
	return json_pack(
	    "{s:s,s:I,s:I,s:I,s:s*,s:o,s:o,s:o,s:o,s:o}", "name", t->name, "sent",
	    (json_int_t)t->sent, "ok", (json_int_t)t->ok, "failed", (json_int_t)t->failed, "error",
	    t->failed ? t->error : NULL, "frozen", quantiles(&t->latency[FOUND_FROZEN]), "warm",
	    quantiles(&t->latency[FOUND_WARM]), "busy", quantiles(&t->latency[FOUND_BUSY]),
	    "added_p50_us", added(&t->latency[FOUND_FROZEN], &t->latency[FOUND_WARM], 0.5),
	    "added_p99_us", added(&t->latency[FOUND_FROZEN], &t->latency[FOUND_WARM], 0.99));
}

int report_print(struct target *t, size_t n, double seconds)
{
	json_t *functions = json_array(), *all;
	int rc;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(functions, row(&t[i]));
	all = json_pack("{s:f,s:o,s:o}", "seconds", seconds, "added", added_by_all(t, n),
			"functions", functions);
	rc = json_dumpf(all, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(all);
	return rc;
}
