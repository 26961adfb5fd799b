/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rankers: each is a key over idle instances, and the smallest key goes first.
 * A young instance (min-residency) never goes: when memory is short, every
 * cold start holds memory and causes the next one, and only the refusal to
 * displace young instances ends that.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <hearth/rank.h>

#include "policy/random.h"
#include "policy/spec.h"

#define TTL_MB_PER_MINUTE 400
#define TTL_LEAST_MINUTES 6
#define COLD_LEAST_S      0.001 /* a cold time of 0 counts as one millisecond */

enum { MIN_RESIDENCY, OPTION };

struct hearth_ranker {
	const struct ranker_def *def;
	double v[POLICY_PARAMS];
	char spec[SPEC_MAX];
};

struct ranker_def {
	const struct policy_param *params;
	/* NULL: random. */
	double (*key)(const struct hearth_ranker *r, const struct hearth_rank_item *item);
	/* Credit after a served call. NULL: the ranker keeps none. */
	double (*credit)(const struct hearth_rank_pool *pool, const struct hearth_rank_item *item,
			 bool hit);
};

#define RESIDENCY                                                                                  \
	[MIN_RESIDENCY] = {                                                                        \
	    "min-residency",                                                                       \
	    PARAM_SECONDS,                                                                         \
	    .max = POLICY_MAX_S,                                                                   \
	}

static const struct policy_param plain[] = {RESIDENCY, {}};
static const struct policy_param with_eager[] = {RESIDENCY, [OPTION] = {"eager", PARAM_FLAG}, {}};
static const struct policy_param with_asc[] = {RESIDENCY, [OPTION] = {"asc", PARAM_FLAG}, {}};

static double ttl_s(const struct hearth_rank_pool *pool)
{
	return 60 * fmax(floor(pool->capacity_mb / TTL_MB_PER_MINUTE), TTL_LEAST_MINUTES);
}

static double last_key(const struct hearth_ranker *r, const struct hearth_rank_item *item)
{
	(void)r;
	return item->last_s;
}

static double served_key(const struct hearth_ranker *r, const struct hearth_rank_item *item)
{
	(void)r;
	return item->served;
}

static double ratio_key(const struct hearth_ranker *r, const struct hearth_rank_item *item)
{
	(void)r;
	return item->warm_s / (item->cold_s > 0 ? item->cold_s : COLD_LEAST_S);
}

static double init_key(const struct hearth_ranker *r, const struct hearth_rank_item *item)
{
	(void)r;
	return item->cold_s - item->warm_s;
}

static double cold_key(const struct hearth_ranker *r, const struct hearth_rank_item *item)
{
	return r->v[OPTION] ? item->cold_s : -item->cold_s;
}

static double credit_key(const struct hearth_ranker *r, const struct hearth_rank_item *item)
{
	(void)r;
	return item->credit;
}

static double start_cost_per_mb(const struct hearth_rank_item *item)
{
	return (item->cold_s - item->warm_s) / item->mem_mb;
}

static double gdsf_credit(const struct hearth_rank_pool *pool, const struct hearth_rank_item *item,
			  bool hit)
{
	(void)hit;
	return pool->clock + item->pooled * start_cost_per_mb(item);
}

/*
 * Instead of charging everyone rent, the clock counts the rent per MB charged
 * so far: what is left of an item's credit is (credit - clock) * size.
 */
static double landlord_credit(const struct hearth_rank_pool *pool,
			      const struct hearth_rank_item *item, bool hit)
{
	return hit ? pool->clock + start_cost_per_mb(item) : item->credit;
}

static const struct ranker_def ttl_dynamic = {with_eager, last_key};
static const struct ranker_def lru = {plain, last_key};
static const struct ranker_def lfu = {plain, served_key};
static const struct ranker_def uniform = {plain};
static const struct ranker_def runtime_diff = {plain, ratio_key};
static const struct ranker_def init_cost = {plain, init_key};
static const struct ranker_def cold_cost = {with_asc, cold_key};
static const struct ranker_def gdsf = {plain, credit_key, gdsf_credit};
static const struct ranker_def landlord = {plain, credit_key, landlord_credit};

/* clang-format off */
#define RANKER_TABLE(X) \
	X(ttl_dynamic, "ttl-dynamic", "ttl-dynamic[,eager]", \
	  "idle for memory / 400 MB minutes, at least 6; eager: even without need") \
	X(lru, "lru", "lru", "oldest last invocation first") \
	X(lfu, "lfu", "lfu", "function invoked least often first") \
	X(uniform, "random", "random", "any: the baseline to beat") \
	X(runtime_diff, "runtime-diff", "runtime-diff", "smallest warm time / cold time first") \
	X(init_cost, "init-cost", "init-cost", "cheapest start first") \
	X(cold_cost, "cold-cost", "cold-cost[,asc]", "highest cold time first; asc: lowest") \
	X(gdsf, "gdsf", "gdsf", "greedy dual: age, frequency and start cost per MB (FaasCache)") \
	X(landlord, "landlord", "landlord", "rent per MB until the last hit's credit is used up")
/* clang-format on */

#define INFO(def, name, usage, summary) {name, usage "[,min-residency=SECONDS]", summary},
#define DEF(def, name, usage, summary)  &def,
static const struct hearth_ranker_info infos[] = {RANKER_TABLE(INFO)};
static const struct ranker_def *const defs[] = {RANKER_TABLE(DEF)};
#define RANKERS (sizeof(infos) / sizeof(infos[0]))

static const char *name_at(size_t i)
{
	return infos[i].name;
}

int hearth_ranker_parse(const char *spec, struct hearth_ranker **out, char *err, size_t err_size)
{
	const char *rest;
	int i = spec_lookup("ranker", spec, name_at, RANKERS, &rest, err, err_size);
	struct hearth_ranker *r;
	int ret;

	if (i < 0)
		return i;
	r = calloc(1, sizeof(*r));
	if (!r) {
		snprintf(err, err_size, "%s: out of memory", name_at(i));
		return -ENOMEM;
	}
	r->def = defs[i];
	ret = spec_parse(name_at(i), r->def->params, rest, 0, r->v, err, err_size);
	if (ret) {
		free(r);
		return ret;
	}
	spec_write(name_at(i), r->def->params, r->v, 0, r->spec);
	*out = r;
	return 0;
}

void hearth_ranker_free(struct hearth_ranker *r)
{
	free(r);
}

const char *hearth_ranker_spec(const struct hearth_ranker *r)
{
	return r->spec;
}

void hearth_ranker_served(const struct hearth_ranker *r, const struct hearth_rank_pool *pool,
			  struct hearth_rank_item *item, bool hit)
{
	if (r->def->credit)
		item->credit = r->def->credit(pool, item, hit);
}

static bool may_go(const struct hearth_ranker *r, const struct hearth_rank_pool *pool, double now_s,
		   const struct hearth_rank_item *item)
{
	if (now_s - item->since_s < r->v[MIN_RESIDENCY])
		return false;
	return r->def != &ttl_dynamic || now_s - item->last_s > ttl_s(pool);
}

/* One pass: the k-th candidate takes the place with probability 1/k. */
static long random_victim(const struct hearth_ranker *r, struct hearth_rank_pool *pool,
			  double now_s, struct hearth_rank_item *const items[], size_t n)
{
	uint64_t candidates = 0;
	long victim = -1;

	for (size_t i = 0; i < n; i++) {
		if (may_go(r, pool, now_s, items[i]) && random_bits(&pool->rng) % ++candidates == 0)
			victim = i;
	}
	return victim;
}

long hearth_ranker_victim(const struct hearth_ranker *r, struct hearth_rank_pool *pool,
			  double now_s, struct hearth_rank_item *const items[], size_t n)
{
	double best = 0;
	long victim = -1;

	if (!r->def->key)
		return random_victim(r, pool, now_s, items, n);
	for (size_t i = 0; i < n; i++) {
		double key;

		if (!may_go(r, pool, now_s, items[i]))
			continue;
		key = r->def->key(r, items[i]);
		if (victim < 0 || key < best) {
			victim = i;
			best = key;
		}
	}
	return victim;
}

void hearth_ranker_evicted(const struct hearth_ranker *r, struct hearth_rank_pool *pool,
			   const struct hearth_rank_item *victim,
			   struct hearth_rank_item *const others[], size_t n)
{
	(void)others, (void)n;   /* rent is the clock's */
	if (r->def == &landlord) /* rent that was paid stays paid, by running instances too */
		pool->clock = fmax(pool->clock, victim->credit);
	else if (r->def->credit)
		pool->clock = victim->credit;
}

double hearth_ranker_ttl_s(const struct hearth_ranker *r, const struct hearth_rank_pool *pool)
{
	return r->def == &ttl_dynamic && r->v[OPTION] ? ttl_s(pool) : INFINITY;
}

const struct hearth_ranker_info *hearth_ranker_list(size_t *n)
{
	*n = RANKERS;
	return infos;
}
