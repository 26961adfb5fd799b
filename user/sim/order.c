/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "lib/util.h"
#include "sim/order.h"

static int entry_order(const void *x, const void *y)
{
	const struct order_entry *a = x, *b = y;

	if (a->t_s != b->t_s)
		return a->t_s < b->t_s ? -1 : 1;
	return (a->seq > b->seq) - (a->seq < b->seq);
}

static int arrival_order(const void *x, const void *y)
{
	const struct arrival *a = x, *b = y;

	if (a->t_s != b->t_s)
		return a->t_s < b->t_s ? -1 : 1;
	return (a->seq > b->seq) - (a->seq < b->seq);
}

int order_build(struct order *o, const struct trace_block *b, const struct trace_unit *units)
{
	size_t n = 0;

	for (size_t i = 0; i < b->nslices; i++)
		n += b->slices[i].n;
	if (n > o->cap) {
		void *grown = realloc(o->entries, n * sizeof(*o->entries));

		if (!grown)
			return -ENOMEM;
		o->entries = grown;
		o->cap = n;
	}
	o->n = 0;
	for (size_t i = 0; i < b->nslices; i++) {
		const struct trace_slice *s = &b->slices[i];

		for (size_t run = s->first; run < s->first + s->n; run++)
			o->entries[o->n++] =
			    (struct order_entry){b->runs[run].t_s, b->runs[run].seq, s->unit, run};
	}
	if (o->n) /* qsort wants an array even for nothing */
		qsort(o->entries, o->n, sizeof(*o->entries), entry_order);
	o->block = b;
	o->units = units;
	return 0;
}

void order_done(struct order *o)
{
	free(o->entries);
}

void order_start(struct order_cursor *c, const struct order *o)
{
	c->order = o;
	c->next = c->i = c->n = 0;
}

void order_cursor_done(struct order_cursor *c)
{
	free(c->group);
}

static void expand(struct order_cursor *c, const struct order_entry *e)
{
	const struct order *o = c->order;
	const struct trace_run *run = &o->block->runs[e->run];
	struct spread spread;
	double t_s;

	spread_start(&spread, &o->spread, o->units[e->unit].name, run, o->block->span_s);
	while (spread_next(&spread, &t_s))
		c->group[c->n++] = (struct arrival){t_s, run->busy_s, e->unit, e->seq};
}

/* The entries that begin together (a minute of a binned trace) as sorted arrivals. */
static int next_group(struct order_cursor *c)
{
	const struct order *o = c->order;
	size_t from = c->next, need = 0;

	for (; c->next < o->n && o->entries[c->next].t_s == o->entries[from].t_s; c->next++)
		need += o->block->runs[o->entries[c->next].run].n;
	if (need > c->cap) {
		void *grown = realloc(c->group, need * sizeof(*c->group));

		if (!grown)
			return -ENOMEM;
		c->group = grown;
		c->cap = need;
	}
	c->i = c->n = 0;
	for (size_t e = from; e < c->next; e++)
		expand(c, &o->entries[e]);
	if (o->block->span_s > 0)
		qsort(c->group, c->n, sizeof(*c->group), arrival_order);
	return 0;
}

int order_next(struct order_cursor *c, struct arrival *out)
{
	int rc;

	if (c->i == c->n) {
		if (c->next == c->order->n)
			return 0;
		rc = next_group(c);
		if (rc)
			return rc;
	}
	*out = c->group[c->i++];
	return 1;
}
