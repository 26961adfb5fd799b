/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "lib/progress.h"
#include "sim/faascache.h"
#include "sim/image_host.h"
#include "sim/node.h"
#include "sim/parallel.h"

/* One setting: a host of its own. */
struct host {
	const struct capacity_setting *setting;
	struct node *node; /* default model */
	struct image_host *images;
	struct pool pool; /* faascache model */
	struct order_cursor cursor;
	int error;
};

struct capacity {
	struct host *hosts;
	size_t n;
	struct order order;
	const struct trace_unit *units;
	size_t nunits;
	struct progress *progress;
	double end_s;
};

static struct pool *host_pool(const struct host *h)
{
	if (h->images)
		return image_host_pool(h->images);
	return h->node ? node_pool(h->node) : (struct pool *)&h->pool;
}

static bool host_init(struct host *h, const struct capacity_setting *s, uint64_t seed)
{
	h->setting = s;
	if (s->images)
		return !(h->images = image_host_new(s, seed));
	if (!s->faascache)
		return !(h->node = node_new(s, seed));
	pool_init(&h->pool, s, seed);
	return false;
}

int capacity_new(const struct capacity_setting settings[], size_t n,
		 const struct spread_options *spread, struct capacity **out)
{
	struct capacity *c = calloc(1, sizeof(*c));
	bool failed = false;

	if (!c)
		return -ENOMEM;
	c->order.spread = *spread;
	c->hosts = calloc(n, sizeof(*c->hosts));
	for (size_t i = 0; c->hosts && i < n; i++) {
		struct host *h = &c->hosts[c->n++];

		failed |= host_init(h, &settings[i], spread->seed);
	}
	if (!c->hosts || failed) {
		capacity_free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void capacity_free(struct capacity *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++) {
		order_cursor_done(&c->hosts[i].cursor);
		if (c->hosts[i].setting->faascache)
			pool_done(&c->hosts[i].pool);
		node_free(c->hosts[i].node);
		image_host_free(c->hosts[i].images);
	}
	order_done(&c->order);
	free(c->hosts);
	free(c);
}

static int host_units(struct host *h, const struct trace_unit *units, size_t n)
{
	if (h->images)
		return image_host_units(h->images, units, n);
	return h->node ? node_units(h->node, units, n) : pool_units(&h->pool, n);
}

static int host_arrive(struct host *h, const struct trace_unit *unit, const struct arrival *a)
{
	if (h->images)
		return image_host_arrive(h->images, a);
	return h->node ? node_arrive(h->node, a) : faascache_arrive(&h->pool, unit, a);
}

static void feed_host(void *arg, size_t i)
{
	struct capacity *c = arg;
	struct host *h = &c->hosts[i];
	struct arrival a;

	h->error = host_units(h, c->units, c->nunits);
	order_start(&h->cursor, &c->order);
	while (!h->error && (h->error = order_next(&h->cursor, &a)) > 0)
		h->error = host_arrive(h, &c->units[a.unit], &a);
	progress_piece(c->progress);
}

static void finish_host(void *arg, size_t i)
{
	struct capacity *c = arg;
	struct host *h = &c->hosts[i];

	if (h->images)
		h->error = image_host_finish(h->images, c->end_s);
	else if (h->node)
		h->error = node_finish(h->node, c->end_s);
	else
		faascache_finish(&h->pool, c->end_s);
}

static int on_hosts(struct capacity *c, void (*f)(void *arg, size_t i))
{
	int error = 0;

	parallel(c->n, 0, f, c);
	for (size_t i = 0; i < c->n; i++)
		error = error ? error : c->hosts[i].error;
	return error;
}

int capacity_run(struct capacity *c, struct trace *t)
{
	const struct trace_block *b;
	struct trace_info info;
	int rc;

	c->progress = trace_progress(t);
	progress_stage(c->progress, "replaying");
	while ((rc = trace_next(t, &b)) > 0) {
		c->units = trace_units(t, &c->nunits);
		rc = order_build(&c->order, b, c->units);
		progress_pieces(c->progress, c->n);
		if (!rc)
			rc = on_hosts(c, feed_host);
		if (rc)
			return rc;
	}
	if (rc)
		return rc;
	trace_info(t, &info);
	c->end_s = info.end_s;
	return on_hosts(c, finish_host);
}

const struct capacity_total *capacity_total(const struct capacity *c, size_t setting)
{
	return &host_pool(&c->hosts[setting])->total;
}

const struct sim_tally *capacity_tally(const struct capacity *c, size_t setting, size_t unit)
{
	const struct host *h = &c->hosts[setting];
	const struct pool *p = host_pool(h);

	if (h->images)
		return image_host_tally(h->images, unit);
	return unit < p->nunits && p->units[unit].tally.arrivals ? &p->units[unit].tally : NULL;
}
