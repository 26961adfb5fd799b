/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The instances of one host and their memory, for both capacity models. Keeps
 * two orders: of the pool and of each unit, oldest instance first, and the
 * counts that rankers weigh. Tallies idle residency as waste.
 */
#ifndef HEARTH_SIM_POOL_H
#define HEARTH_SIM_POOL_H

#include "sim/capacity.h"
#include "sim/timers.h"

struct instance {
	struct hearth_rank_item item;
	uint32_t unit;
	double idle_s;  /* idle from here on: it is busy while this is ahead */
	uint64_t calls; /* it served */
	struct timer timer;
	bool forked;                            /* from an image: the host's */
	struct instance *prev, *next;           /* in the pool */
	struct instance *unit_prev, *unit_next; /* in its unit */
};

struct pool_unit {
	struct instance *first, *last;
	uint64_t served;
	uint64_t pooled;
	struct sim_tally tally;
};

struct pool {
	const struct capacity_setting *setting;
	struct hearth_rank_pool rank;
	struct instance *first, *last;
	double used_mb;
	struct capacity_total total;
	struct pool_unit *units;
	size_t nunits;
	struct timers timers;
	struct hearth_rank_item **idle; /* scratch of evict */
	size_t ninstances, idle_cap;
	/* If set, told of every instance that goes, before it is gone. */
	void (*removed)(void *arg, struct instance *i, double now_s);
	void *removed_arg;
};

void pool_init(struct pool *p, const struct capacity_setting *setting, uint64_t seed);
void pool_done(struct pool *p);
int pool_units(struct pool *p, size_t n); /* room for so many; 0 or -ENOMEM */

/* A new instance at the end of both orders; NULL: no memory. */
struct instance *pool_start(struct pool *p, const struct trace_unit *info, uint32_t unit,
			    double now_s);
void pool_remove(struct pool *p, struct instance *i, double now_s);

/* Idle time up to now, charged to the unit. */
void pool_charge(struct pool *p, const struct instance *i, double now_s);

/* The instance is of use at t_s: what rankers weigh. */
void pool_touch(struct pool *p, struct instance *i, double t_s);

/* It serves a call that arrived at t_s: that, and counts. */
void pool_serve(struct pool *p, struct instance *i, double t_s, bool hit);

/* Evict what the ranker puts first; false if nothing may go. */
bool pool_evict(struct pool *p, double now_s, double *freed_mb);

bool pool_fits(const struct pool *p, double mem_mb);

#endif
