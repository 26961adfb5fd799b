/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "sim/timers.h"

static bool before(const struct timer *a, const struct timer *b)
{
	if (a->due_s != b->due_s)
		return a->due_s < b->due_s;
	return a->kind != b->kind ? a->kind < b->kind : a->set < b->set;
}

static void put(struct timers *ts, size_t i, struct timer *t)
{
	ts->heap[i] = t;
	t->at = i + 1;
}

/* Let the timer find its place from i, up or down. */
static void sift(struct timers *ts, size_t i, struct timer *t)
{
	size_t child;

	for (; i && before(t, ts->heap[(i - 1) / 2]); i = (i - 1) / 2)
		put(ts, i, ts->heap[(i - 1) / 2]);
	while ((child = 2 * i + 1) < ts->n) {
		if (child + 1 < ts->n && before(ts->heap[child + 1], ts->heap[child]))
			child++;
		if (!before(ts->heap[child], t))
			break;
		put(ts, i, ts->heap[child]);
		i = child;
	}
	put(ts, i, t);
}

int timers_set(struct timers *ts, struct timer *t, double due_s)
{
	if (!t->at && ts->n == ts->cap) {
		size_t cap = ts->cap * 2 + 64;
		void *grown = realloc(ts->heap, cap * sizeof(*ts->heap));

		if (!grown)
			return -ENOMEM;
		ts->heap = grown;
		ts->cap = cap;
	}
	t->due_s = due_s;
	t->set = ts->sets++;
	sift(ts, t->at ? t->at - 1 : ts->n++, t);
	return 0;
}

void timers_cancel(struct timers *ts, struct timer *t)
{
	size_t i = t->at;

	if (!i)
		return;
	t->at = 0;
	ts->n--;
	if (i - 1 < ts->n)
		sift(ts, i - 1, ts->heap[ts->n]);
}

struct timer *timers_first(const struct timers *ts)
{
	return ts->n ? ts->heap[0] : NULL;
}

void timers_done(struct timers *ts)
{
	free(ts->heap);
}
