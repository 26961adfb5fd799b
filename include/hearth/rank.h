/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who goes first when memory is short. Pure like policy.h: no I/O, clock,
 * globals, logs or allocation after parsing.
 *
 * The caller keeps one hearth_rank_item per resident instance, tells the
 * ranker about every served call, and asks for one victim after the other
 * until the need is met. Only idle instances may be offered. Seconds are from
 * any fixed origin.
 */
#ifndef HEARTH_RANK_H
#define HEARTH_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a ranker may know about an instance. The caller fills all but credit. */
struct hearth_rank_item {
	double since_s;  /* when it became resident */
	double last_s;   /* its last invocation (arrival) */
	double mem_mb;   /* what evicting it frees */
	double warm_s;   /* processing time of a warm call of its function */
	double cold_s;   /* and of a cold one, start included */
	uint64_t served; /* calls of its function, over all time */
	uint64_t pooled; /* calls served by the resident instances of its function */
	double credit;   /* the ranker's; 0 for a new instance */
};

/* Per pool of memory, zeroed by the caller; `random` is seeded through `rng`. */
struct hearth_rank_pool {
	double capacity_mb; /* the caller's; ttl-dynamic scales with it */
	double clock;
	uint64_t rng;
};

struct hearth_ranker; /* a parsed spec: immutable */

/*
 * Parse `name[,key=value...]`: ttl-dynamic[,eager] lru lfu random runtime-diff
 * init-cost cold-cost[,asc] gdsf landlord; each takes min-residency=SECONDS.
 * 0, or -EINVAL with a one-line message that says what is accepted; -ENOMEM.
 */
int hearth_ranker_parse(const char *spec, struct hearth_ranker **out, char *err, size_t err_size);
void hearth_ranker_free(struct hearth_ranker *r);

/* Canonical form, keys at their default left out; lives as long as r. */
const char *hearth_ranker_spec(const struct hearth_ranker *r);

/*
 * A call of the item's function was served (last_s, served and pooled are
 * already updated). Call it for every resident instance of that function;
 * `hit` is true for the instance that served it.
 */
void hearth_ranker_served(const struct hearth_ranker *r, const struct hearth_rank_pool *pool,
			  struct hearth_rank_item *item, bool hit);

/*
 * The idle item to evict first: its index, ties to the lower one; -1 if none
 * may go (ttl-dynamic before expiry, min-residency).
 */
long hearth_ranker_victim(const struct hearth_ranker *r, struct hearth_rank_pool *pool,
			  double now_s, struct hearth_rank_item *const items[], size_t n);

/* The victim was evicted; the others (running ones too) may be charged for it. */
void hearth_ranker_evicted(const struct hearth_ranker *r, struct hearth_rank_pool *pool,
			   const struct hearth_rank_item *victim,
			   struct hearth_rank_item *const others[], size_t n);

/* Seconds after last_s when an item goes without any need; INFINITY if never. */
double hearth_ranker_ttl_s(const struct hearth_ranker *r, const struct hearth_rank_pool *pool);

/* Name, keys and one-line description of every ranker, for help and docs. */
struct hearth_ranker_info {
	const char *name;
	const char *usage;
	const char *summary;
};
const struct hearth_ranker_info *hearth_ranker_list(size_t *n);

#endif
