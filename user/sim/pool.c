/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "sim/pool.h"

#define ROUNDING_MB 1e-6 /* sums of memory sizes are not exact */

void pool_init(struct pool *p, const struct capacity_setting *setting, uint64_t seed)
{
	*p = (struct pool){.setting = setting,
			   .rank = {.capacity_mb = setting->memory_mb, .rng = seed}};
}

void pool_done(struct pool *p)
{
	while (p->first) {
		struct instance *i = p->first;

		p->first = i->next;
		free(i);
	}
	timers_done(&p->timers);
	free(p->units);
	free(p->idle);
}

int pool_units(struct pool *p, size_t n)
{
	struct pool_unit *grown;

	if (n <= p->nunits)
		return 0;
	grown = realloc(p->units, n * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + p->nunits, 0, (n - p->nunits) * sizeof(*grown));
	p->units = grown;
	p->nunits = n;
	return 0;
}

bool pool_fits(const struct pool *p, double mem_mb)
{
	return p->used_mb + mem_mb <= p->setting->memory_mb + ROUNDING_MB;
}

static void link_last(struct pool *p, struct instance *i)
{
	struct pool_unit *u = &p->units[i->unit];

	i->prev = p->last;
	*(p->last ? &p->last->next : &p->first) = i;
	p->last = i;
	i->unit_prev = u->last;
	*(u->last ? &u->last->unit_next : &u->first) = i;
	u->last = i;
}

static void unlink_instance(struct pool *p, struct instance *i)
{
	struct pool_unit *u = &p->units[i->unit];

	*(i->prev ? &i->prev->next : &p->first) = i->next;
	*(i->next ? &i->next->prev : &p->last) = i->prev;
	*(i->unit_prev ? &i->unit_prev->unit_next : &u->first) = i->unit_next;
	*(i->unit_next ? &i->unit_next->unit_prev : &u->last) = i->unit_prev;
}

struct instance *pool_start(struct pool *p, const struct trace_unit *info, uint32_t unit,
			    double now_s)
{
	struct instance *i;

	if (p->ninstances == p->idle_cap) {
		size_t cap = p->idle_cap * 2 + 64;
		void *grown = realloc(p->idle, cap * sizeof(*p->idle));

		if (!grown)
			return NULL;
		p->idle = grown;
		p->idle_cap = cap;
	}
	i = calloc(1, sizeof(*i));
	if (!i)
		return NULL;
	i->unit = unit;
	i->idle_s = now_s;
	i->item = (struct hearth_rank_item){.since_s = now_s,
					    .last_s = now_s,
					    .mem_mb = info->mem_mb,
					    .warm_s = info->warm_s,
					    .cold_s = info->cold_s};
	link_last(p, i);
	p->ninstances++;
	p->used_mb += info->mem_mb;
	return i;
}

void pool_charge(struct pool *p, const struct instance *i, double now_s)
{
	if (now_s > i->idle_s)
		p->units[i->unit].tally.waste_s += now_s - i->idle_s;
}

void pool_remove(struct pool *p, struct instance *i, double now_s)
{
	pool_charge(p, i, now_s);
	if (p->removed)
		p->removed(p->removed_arg, i, now_s);
	p->units[i->unit].pooled -= i->calls;
	p->used_mb -= i->item.mem_mb;
	p->ninstances--;
	unlink_instance(p, i);
	timers_cancel(&p->timers, &i->timer);
	free(i);
}

void pool_touch(struct pool *p, struct instance *i, double t_s)
{
	struct pool_unit *u = &p->units[i->unit];

	i->calls++;
	u->served++;
	u->pooled++;
	i->item.last_s = t_s;
	for (struct instance *k = u->first; k; k = k->unit_next) {
		k->item.served = u->served;
		k->item.pooled = u->pooled;
		hearth_ranker_served(p->setting->ranker, &p->rank, &k->item, k == i);
	}
}

void pool_serve(struct pool *p, struct instance *i, double t_s, bool hit)
{
	pool_touch(p, i, t_s);
	p->units[i->unit].tally.cold += !hit;
	*(hit ? &p->total.warm : &p->total.cold) += 1;
}

bool pool_evict(struct pool *p, double now_s, double *freed_mb)
{
	struct hearth_rank_item victim;
	struct instance *v;
	size_t n = 0;
	long at;

	for (struct instance *i = p->first; i; i = i->next) {
		if (i->idle_s > now_s)
			continue;
		i->item.served = p->units[i->unit].served;
		p->idle[n++] = &i->item;
	}
	at = hearth_ranker_victim(p->setting->ranker, &p->rank, now_s, p->idle, n);
	if (at < 0)
		return false;
	v = container_of(p->idle[at], struct instance, item);
	victim = v->item;
	*freed_mb = victim.mem_mb;
	pool_remove(p, v, now_s);
	p->total.evictions++;
	n = 0;
	for (struct instance *i = p->first; i; i = i->next)
		p->idle[n++] = &i->item;
	hearth_ranker_evicted(p->setting->ranker, &p->rank, &victim, p->idle, n);
	return true;
}
