/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>

#include "sim/faascache.h"

#define START_S     3.0 /* a miss keeps its instance busy for START_S + COLD_FACTOR * cold time */
#define COLD_FACTOR 1.2

static struct instance *first_idle(const struct pool *p, uint32_t unit, double now_s)
{
	struct instance *i = p->units[unit].first;

	while (i && i->idle_s > now_s)
		i = i->unit_next;
	return i;
}

static void make_room(struct pool *p, double mem_mb, double now_s)
{
	double freed_mb = 0, more_mb;

	if (pool_fits(p, mem_mb))
		return;
	while (freed_mb < mem_mb && pool_evict(p, now_s, &more_mb))
		freed_mb += more_mb;
}

/* Eager time-outs, which need no shortage. */
static void expire(struct pool *p, double now_s)
{
	double ttl_s = hearth_ranker_ttl_s(p->setting->ranker, &p->rank);
	struct instance *next;

	for (struct instance *i = p->first; i && ttl_s < now_s; i = next) {
		next = i->next;
		if (i->idle_s <= now_s && now_s - i->item.last_s > ttl_s)
			pool_remove(p, i, now_s);
	}
}

int faascache_arrive(struct pool *p, const struct trace_unit *info, const struct arrival *a)
{
	struct instance *i;
	bool hit;

	p->total.arrivals++;
	p->units[a->unit].tally.arrivals++;
	expire(p, a->t_s);
	i = first_idle(p, a->unit, a->t_s);
	hit = i;
	if (!hit) {
		make_room(p, info->mem_mb, a->t_s);
		if (!pool_fits(p, info->mem_mb)) {
			p->total.dropped++;
			return 0;
		}
		i = pool_start(p, info, a->unit, a->t_s);
		if (!i)
			return -ENOMEM;
	}
	pool_charge(p, i, a->t_s);
	i->idle_s = a->t_s + (hit ? info->warm_s : START_S + COLD_FACTOR * info->cold_s);
	pool_serve(p, i, a->t_s, hit);
	return 0;
}

void faascache_finish(struct pool *p, double end_s)
{
	while (p->first)
		pool_remove(p, p->first, end_s);
}
