/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A host with bounded memory: who is evicted, who waits, who is dropped. Each
 * setting (policy, ranker, memory) is a host of its own that sees the whole
 * trace in order of time.
 *
 * Three models. node (default): a cold call takes cold_s, windows unload and
 * pre-warm, a call that finds no room waits. faascache: what published
 * simulators do (policies.md: compatibility mode), arrivals only.
 * image_host: instances are forked from images of their dependencies.
 */
#ifndef HEARTH_SIM_CAPACITY_H
#define HEARTH_SIM_CAPACITY_H

#include <hearth/policy.h>
#include <hearth/rank.h>

#include "sim/images.h"
#include "sim/lane.h"
#include "sim/order.h"

/* How instances start, where there are images. */
enum image_mode {
	IMAGE_OFF,  /* each loads its dependencies, and is kept by the policy */
	IMAGE_ONLY, /* forked; the policy keeps images alone */
	IMAGE_BOTH, /* forked, and the policy keeps instances as well */
};

struct capacity_setting {
	const struct hearth_policy *policy; /* not used by the faascache model */
	const struct hearth_ranker *ranker;
	double memory_mb;
	double queue_s; /* how long a call may wait for room */
	bool faascache;
	const struct images *images; /* NULL: no such thing; the default model else */
	/* The same policy where memory and a start cost something else, see images_worth_s. */
	const struct hearth_policy *image_policy, *forked_policy;
	struct image_costs costs;
	enum image_mode mode;
};

/* With images; dropped calls have no start. */
struct start_total {
	uint64_t forks;       /* starts from an image: neither cold nor warm */
	uint64_t image_loads; /* images that were made */
	double mean_s, p99_s; /* over all calls served, warm ones 0 */
	double mb_s;          /* memory in use, over time */
};

struct capacity_total {
	uint64_t arrivals, cold, warm, dropped, evictions, queued;
	double wait_s; /* of all that waited and were served */
	struct start_total starts;
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
