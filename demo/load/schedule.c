/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Turns rows of a trace into a list of arrivals. The trace counts arrivals per
 * minute; inside its share of the minute each arrival gets a random place, the
 * same for the same seed.
 */
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "trace/trace.h"

struct list {
	struct arrival *a;
	size_t n, size;
};

static void append(struct list *l, uint64_t at_ns, uint32_t target)
{
	if (l->n == l->size) {
		l->size = l->size ? 2 * l->size : 1024;
		l->a = reallocarray(l->a, l->size, sizeof(*l->a));
		if (!l->a)
			err(1, "schedule");
	}
	l->a[l->n++] = (struct arrival){at_ns, target};
}

static void add_run(struct list *l, const struct trace_run *run, double span_s,
		    const struct window *w, uint32_t target, unsigned int *seed)
{
	for (uint32_t i = 0; i < run->n; i++) {
		double place = ((double)i + rand_r(seed) / (RAND_MAX + 1.0)) / run->n;
		double t = run->t_s + place * span_s - w->from_s;

		if (t >= 0 && t < w->span_s)
			append(l, (uint64_t)(t / w->speed * 1e9), target);
	}
}

static void add_block(struct list *l, const struct trace_block *b, const struct target *t,
		      size_t n_targets, const struct window *w)
{
	for (uint32_t k = 0; k < n_targets; k++) {
		unsigned int seed = w->seed + k;

		for (size_t s = 0; s < b->nslices; s++) {
			if (b->slices[s].unit != t[k].row)
				continue;
			for (uint32_t r = 0; r < b->slices[s].n; r++)
				add_run(l, &b->runs[b->slices[s].first + r], b->span_s, w, k,
					&seed);
		}
	}
}

static int by_time(const void *a, const void *b)
{
	const struct arrival *x = a, *y = b;

	return x->at_ns < y->at_ns ? -1 : x->at_ns > y->at_ns;
}

struct arrival *schedule_make(const char *trace, const struct target *t, size_t n_targets,
			      const struct window *w, size_t *n)
{
	const struct trace_options options = {.by = TRACE_BY_FUNCTION};
	char *paths[] = {(char *)trace};
	const struct trace_block *block;
	struct list l = {0};
	struct trace *reader;
	char message[512];
	int rc;

	if (trace_open(paths, 1, &options, &reader, message, sizeof(message)) < 0)
		errx(1, "%s", message);
	while ((rc = trace_next(reader, &block)) > 0)
		add_block(&l, block, t, n_targets, w);
	trace_close(reader);
	if (rc < 0)
		errx(1, "%s", message);
	if (l.n == 0)
		errx(1, "%s: no arrivals in this window for these rows", trace);
	qsort(l.a, l.n, sizeof(*l.a), by_time);
	*n = l.n;
	return l.a;
}
