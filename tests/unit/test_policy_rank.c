/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rankers: whom each evicts first, and whom none may evict. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/rank.h>

#define NOW 100000.0

/* Three idle instances that differ in everything a ranker looks at. */
static struct hearth_rank_item items[3];
static struct hearth_rank_item *const idle[3] = {&items[0], &items[1], &items[2]};
static struct hearth_rank_pool pool;

static int setup(void **state)
{
	(void)state;
	pool = (struct hearth_rank_pool){.capacity_mb = 4000};
	items[0] = (struct hearth_rank_item){0, NOW - 1000, 100, 1, 9, 500, 40, 0};
	items[1] = (struct hearth_rank_item){NOW - 900, NOW - 300, 50, 2, 4, 3, 3, 0};
	items[2] = (struct hearth_rank_item){NOW - 30, NOW - 20, 10, 3, 30, 20, 20, 0};
	return 0;
}

static struct hearth_ranker *parse(const char *spec)
{
	struct hearth_ranker *r = NULL;
	char err[512] = "";

	if (hearth_ranker_parse(spec, &r, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	return r;
}

static long victim(const char *spec)
{
	struct hearth_ranker *r = parse(spec);
	long v;

	for (int i = 0; i < 3; i++)
		hearth_ranker_served(r, &pool, &items[i], true);
	v = hearth_ranker_victim(r, &pool, NOW, idle, 3);
	hearth_ranker_free(r);
	return v;
}

static void each_ranker_has_its_order(void **state)
{
	(void)state;
	assert_int_equal(victim("lru"), 0);
	assert_int_equal(victim("lfu"), 1);
	assert_int_equal(victim("runtime-diff"), 2); /* 3/30 < 1/9 < 2/4 */
	assert_int_equal(victim("init-cost"), 1);
	assert_int_equal(victim("cold-cost"), 2);
	assert_int_equal(victim("cold-cost,asc"), 1);
	assert_int_equal(victim("gdsf"), 1);     /* 40*8/100, 3*2/50, 20*27/10 */
	assert_int_equal(victim("landlord"), 1); /* 8/100, 2/50, 27/10 */
}

static void ties_go_to_the_first(void **state)
{
	(void)state;
	items[1].last_s = items[2].last_s = items[0].last_s;
	assert_int_equal(victim("lru"), 0);
}

static void nobody_to_offer_is_no_victim(void **state)
{
	struct hearth_ranker *r = parse("lru");

	(void)state;
	assert_int_equal(hearth_ranker_victim(r, &pool, NOW, idle, 0), -1);
	hearth_ranker_free(r);
}

/* 4000 MB / 400 = 10 minutes; small pools 6 minutes. */
static void ttl_dynamic_spares_who_was_used_within_it(void **state)
{
	struct hearth_ranker *r = parse("ttl-dynamic");
	struct hearth_ranker *eager = parse("ttl-dynamic,eager");

	(void)state;
	assert_int_equal(victim("ttl-dynamic"), 0);
	items[0].last_s = NOW - 600;
	assert_int_equal(victim("ttl-dynamic"), -1);
	pool.capacity_mb = 1000;
	assert_int_equal(victim("ttl-dynamic"), 0);
	items[0].last_s = NOW - 360;
	assert_int_equal(victim("ttl-dynamic"), -1);
	assert_true(isinf(hearth_ranker_ttl_s(r, &pool)));
	assert_true(hearth_ranker_ttl_s(eager, &pool) == 360);
	hearth_ranker_free(r);
	hearth_ranker_free(eager);
}

static void young_instances_stay_whatever_the_order(void **state)
{
	(void)state;
	assert_int_equal(victim("cold-cost,min-residency=30"), 2);
	assert_int_equal(victim("cold-cost,min-residency=31"), 0);
	assert_int_equal(victim("cold-cost,min-residency=20m"), 0);
	assert_int_equal(victim("lru,min-residency=2d"), -1);
	assert_int_equal(victim("random,min-residency=2d"), -1);
}

static void random_takes_everyone_evenly_and_repeats_with_its_seed(void **state)
{
	struct hearth_ranker *r = parse("random");
	struct hearth_rank_pool again = {.rng = 5};
	int taken[3] = {0};

	(void)state;
	pool.rng = 5;
	for (int i = 0; i < 3000; i++) {
		long v = hearth_ranker_victim(r, &pool, NOW, idle, 3);

		assert_int_equal(v, hearth_ranker_victim(r, &again, NOW, idle, 3));
		taken[v]++;
	}
	for (int i = 0; i < 3; i++)
		assert_true(taken[i] > 850 && taken[i] < 1150);
	hearth_ranker_free(r);
}

/* After an eviction, who comes new outranks who has not been used since. */
static void greedy_dual_ages_what_is_not_used(void **state)
{
	struct hearth_ranker *r = parse("gdsf");

	(void)state;
	items[0].pooled = items[1].pooled = items[2].pooled = 1;
	for (int i = 0; i < 3; i++)
		hearth_ranker_served(r, &pool, &items[i], true);
	assert_int_equal(hearth_ranker_victim(r, &pool, NOW, idle, 3), 1);
	hearth_ranker_evicted(r, &pool, &items[1], NULL, 0);
	assert_true(fabs(pool.clock - 2.0 / 50) < 1e-12);
	hearth_ranker_served(r, &pool, &items[1], true); /* came back: 0.04 + 0.04 = 0.08 */
	items[1].cold_s += 0.1;
	hearth_ranker_served(r, &pool, &items[1], true);
	assert_int_equal(hearth_ranker_victim(r, &pool, NOW, idle, 3), 0);
	hearth_ranker_free(r);
}

/* Against the plain algorithm that charges every instance at every eviction. */
static void landlord_by_clock_is_landlord_by_rent(void **state)
{
	struct hearth_ranker *r = parse("landlord");
	double credit[3];

	(void)state;
	srand(11);
	for (int i = 0; i < 3; i++) {
		hearth_ranker_served(r, &pool, &items[i], true);
		credit[i] = items[i].cold_s - items[i].warm_s;
	}
	for (int round = 0; round < 1000; round++) {
		int v = hearth_ranker_victim(r, &pool, NOW, idle, 3), hit = rand() % 3;
		double rent = credit[v] / items[v].mem_mb;

		for (int i = 0; i < 3; i++) {
			credit[i] -= rent * items[i].mem_mb;
			assert_true(credit[i] > -1e-6);
		}
		hearth_ranker_evicted(r, &pool, &items[v], NULL, 0);
		credit[v] = items[v].cold_s - items[v].warm_s; /* started again */
		hearth_ranker_served(r, &pool, &items[v], true);
		credit[hit] = items[hit].cold_s - items[hit].warm_s;
		hearth_ranker_served(r, &pool, &items[hit], true);
	}
	hearth_ranker_free(r);
}

static void specs_are_checked_and_canonical(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
	    {"lur", "did you mean \"lru\"? accepted: ttl-dynamic, lru"},
	    {"lru,asc", "lru: unknown key \"asc\"; accepted: min-residency"},
	    {"cold-cost,asc=1", "asc takes no value"},
	    {"lru,min-residency", "min-residency needs a value"},
	    {"lru,min-residency=x", "seconds, or a duration with a unit"},
	    {"lru:3", "lru: takes no argument"},
	};
	struct hearth_ranker *r;
	char err[512];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(hearth_ranker_parse(bad[i].spec, &r, err, sizeof(err)), -EINVAL);
		if (!strstr(err, bad[i].says))
			fail_msg("\"%s\" says: %s", bad[i].spec, err);
	}
	r = parse("ttl-dynamic,min-residency=90,eager");
	assert_string_equal(hearth_ranker_spec(r), "ttl-dynamic,min-residency=90s,eager");
	hearth_ranker_free(r);
	assert_string_equal(hearth_ranker_list(&n)[0].name, "ttl-dynamic");
	assert_int_equal(n, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(each_ranker_has_its_order, setup),
	    cmocka_unit_test_setup(ties_go_to_the_first, setup),
	    cmocka_unit_test_setup(nobody_to_offer_is_no_victim, setup),
	    cmocka_unit_test_setup(ttl_dynamic_spares_who_was_used_within_it, setup),
	    cmocka_unit_test_setup(young_instances_stay_whatever_the_order, setup),
	    cmocka_unit_test_setup(random_takes_everyone_evenly_and_repeats_with_its_seed, setup),
	    cmocka_unit_test_setup(greedy_dual_ages_what_is_not_used, setup),
	    cmocka_unit_test_setup(landlord_by_clock_is_landlord_by_rent, setup),
	    cmocka_unit_test(specs_are_checked_and_canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
