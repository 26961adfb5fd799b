/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A host with bounded memory: who is evicted, who waits, who is dropped. Each
 * setting (policy, ranker, memory) is a host of its own that sees the whole
 * trace in order of time.
 *
 * Two models. node (default): a cold call takes cold_s, windows unload and
 * pre-warm, a call that finds no room waits. faascache: what published
 * simulators do (policies.md: compatibility mode), arrivals only.
 */
#ifndef HEARTH_SIM_CAPACITY_H
#define HEARTH_SIM_CAPACITY_H

#include <hearth/policy.h>
#include <hearth/rank.h>

#include "sim/lane.h"
#include "sim/order.h"

struct capacity_setting {
	const struct hearth_policy *policy; /* not used by the faascache model */
	const struct hearth_ranker *ranker;
	double memory_mb;
	double queue_s; /* how long a call may wait for room */
	bool faascache;
};

struct capacity_total {
	uint64_t arrivals, cold, warm, dropped, evictions, queued;
	double wait_s; /* of all that waited and were served */
};

struct capacity;

/* The settings stay the caller's. 0 or -ENOMEM. */
int capacity_new(const struct capacity_setting settings[], size_t n,
		 const struct spread_options *spread, struct capacity **out);
void capacity_free(struct capacity *c);

/* Read the trace to its end: 0, or -errno. */
int capacity_run(struct capacity *c, struct trace *t);

const struct capacity_total *capacity_total(const struct capacity *c, size_t setting);
/* What a unit cost; NULL if it had no arrival. */
const struct sim_tally *capacity_tally(const struct capacity *c, size_t setting, size_t unit);

#endif
