/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tiers: thresholds of the lower envelope, and plans with moves against every other plan. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/tier.h>

/* Frozen keeps everything, reclaimed a tenth, gone nothing; 10 ms, 200 ms, 2 s; c_cs 600 s. */
static const struct hearth_tier ladder[] = {{1, 3}, {0.1, 60}, {0, 600}};

static void costs_come_from_what_is_measured(void **state)
{
	const struct hearth_tier_measure m = {25e6, 0.01, 0.2};
	const struct hearth_tier_measure nan = {NAN, 0, 0};
	struct hearth_tier t = {7, 7};

	(void)state;
	assert_int_equal(hearth_tier_cost(&m, 100e6, 10, 600, 2, &t), 0);
	assert_true(fabs(t.hold - 0.35) < 1e-12);
	assert_true(fabs(t.penalty - 60) < 1e-12);
	assert_int_equal(hearth_tier_cost(&m, 0, 10, 600, 2, &t), -EINVAL);
	assert_int_equal(hearth_tier_cost(&m, 1, 10, 600, 0, &t), -EINVAL);
	assert_int_equal(hearth_tier_cost(&nan, 1, 10, 600, 2, &t), -EINVAL);
	assert_true(fabs(t.hold - 0.35) < 1e-12); /* written on success only */
}

static void thresholds_are_where_the_lines_cross(void **state)
{
	struct hearth_tier_step steps[HEARTH_TIERS];

	(void)state;
	assert_int_equal(hearth_tier_envelope(ladder, 3, steps), 3);
	assert_int_equal(steps[0].tier, 2);
	assert_true(steps[0].hazard == 0);
	assert_int_equal(steps[1].tier, 1);
	assert_true(fabs(steps[1].hazard - 0.1 / 540) < 1e-12);
	assert_int_equal(steps[2].tier, 0);
	assert_true(fabs(steps[2].hazard - 0.9 / 57) < 1e-12);
}

static void two_tiers_are_the_cost_threshold(void **state)
{
	const struct hearth_tier two[] = {{1, 0}, {0, 600}};
	struct hearth_tier_step steps[HEARTH_TIERS];

	(void)state;
	assert_int_equal(hearth_tier_envelope(two, 2, steps), 2);
	assert_true(fabs(steps[1].hazard - 1 / 600.0) < 1e-15);
	assert_int_equal(hearth_tier_at(steps, 2, 0.9 / 600), 1);
	assert_int_equal(hearth_tier_at(steps, 2, 1.1 / 600), 0);
}

static void tiers_off_the_envelope_are_never_used(void **state)
{
	/* The second saves little memory and restores slowly; the last is a copy. */
	const struct hearth_tier with_bad[] = {{1, 3}, {0.8, 500}, {0.1, 60}, {0, 600}, {0, 600}};
	struct hearth_tier_step steps[HEARTH_TIERS];
	unsigned int n = hearth_tier_envelope(with_bad, 5, steps);

	(void)state;
	assert_int_equal(n, 3);
	for (unsigned int i = 0; i < n; i++)
		assert_true(steps[i].tier != 1 && steps[i].tier != 4);
	assert_int_equal(hearth_tier_envelope(with_bad, 0, steps), 0);
	assert_int_equal(hearth_tier_envelope(with_bad, HEARTH_TIERS + 1, steps), 0);
}

static void envelope_is_the_cheapest_at_every_hazard(void **state)
{
	(void)state;
	srand(9);
	for (int round = 0; round < 500; round++) {
		struct hearth_tier tiers[HEARTH_TIERS];
		struct hearth_tier_step steps[HEARTH_TIERS];
		unsigned int n = 1 + rand() % HEARTH_TIERS, found;

		for (unsigned int i = 0; i < n; i++)
			tiers[i] = (struct hearth_tier){rand() % 20 / 10.0, rand() % 50 * 10};
		found = hearth_tier_envelope(tiers, n, steps);
		for (double hazard = 1e-5; hazard < 10; hazard *= 1.7) {
			const struct hearth_tier *t = &tiers[hearth_tier_at(steps, found, hazard)];

			for (unsigned int i = 0; i < n; i++)
				assert_true(t->hold + hazard * t->penalty <=
					    tiers[i].hold + hazard * tiers[i].penalty + 1e-9);
		}
		for (unsigned int i = 1; i < found; i++)
			assert_true(steps[i].hazard > steps[i - 1].hazard);
	}
}

#define STRETCHES 5
#define TIERS     3

static void random_stretches(struct hearth_stretch *s)
{
	double survival = 1;

	for (int i = 0; i < STRETCHES; i++) {
		s[i].seconds = 1 + rand() % 600;
		s[i].survival = survival;
		s[i].arrival = survival * (rand() % 100) / 110;
		survival -= s[i].arrival;
	}
}

static double cost_of(const unsigned char *plan, const double (*move)[HEARTH_TIERS],
		      const struct hearth_stretch *s)
{
	unsigned int at = 0;
	double cost = 0;

	for (int i = 0; i < STRETCHES; i++) {
		const struct hearth_tier *t = &ladder[plan[i]];

		if (plan[i] != at)
			cost += s[i].survival * move[at][plan[i]];
		at = plan[i];
		cost += t->hold * s[i].seconds * (s[i].survival - s[i].arrival / 2) +
			t->penalty * s[i].arrival;
	}
	return cost;
}

static void no_other_plan_is_cheaper(void **state)
{
	int moved = 0;

	(void)state;
	srand(10);
	for (int round = 0; round < 200; round++) {
		double move[HEARTH_TIERS][HEARTH_TIERS];
		const double(*m)[HEARTH_TIERS] = (const double(*)[HEARTH_TIERS])move;
		struct hearth_stretch s[STRETCHES];
		unsigned char scratch[STRETCHES * TIERS], plan[STRETCHES], other[STRETCHES];
		double cost;

		for (int i = 0; i < TIERS; i++) {
			for (int j = 0; j < TIERS; j++)
				move[i][j] = rand() % 4 ? rand() % 60 : INFINITY;
		}
		random_stretches(s);
		cost = hearth_tier_plan(ladder, TIERS, m, 0, s, STRETCHES, scratch, plan);
		assert_true(fabs(cost - cost_of(plan, m, s)) < 1e-6);
		for (int code = 0; code < 243; code++) {
			int c = code;

			for (int i = 0; i < STRETCHES; i++, c /= 3)
				other[i] = c % 3;
			assert_false(cost_of(other, m, s) < cost - 1e-6);
		}
		for (int i = 1; i < STRETCHES; i++)
			moved += plan[i] != plan[i - 1];
	}
	assert_true(moved > 50);
}

static void free_moves_follow_the_envelope(void **state)
{
	static const double none[HEARTH_TIERS][HEARTH_TIERS];
	struct hearth_tier_step steps[HEARTH_TIERS];
	unsigned int found = hearth_tier_envelope(ladder, TIERS, steps);

	(void)state;
	srand(11);
	for (int round = 0; round < 200; round++) {
		struct hearth_stretch s[STRETCHES];
		unsigned char scratch[STRETCHES * TIERS], plan[STRETCHES];

		random_stretches(s);
		hearth_tier_plan(ladder, TIERS, none, 0, s, STRETCHES, scratch, plan);
		for (int i = 0; i < STRETCHES; i++) {
			double exposed = s[i].seconds * (s[i].survival - s[i].arrival / 2);

			assert_int_equal(plan[i],
					 hearth_tier_at(steps, found, s[i].arrival / exposed));
		}
	}
}

/* Unloading for a minute saves 60; with moves dearer than that it stays. */
static void a_move_must_earn_the_way_back(void **state)
{
	const struct hearth_tier two[] = {{1, 0}, {0, 600}};
	const struct hearth_stretch s[] = {{60, 1, 0}, {60, 1, 1}};
	double move[HEARTH_TIERS][HEARTH_TIERS] = {{0, 20}, {39, 0}};
	const double(*m)[HEARTH_TIERS] = (const double(*)[HEARTH_TIERS])move;
	unsigned char scratch[4], plan[2];

	(void)state;
	hearth_tier_plan(two, 2, m, 0, s, 2, scratch, plan);
	assert_int_equal(plan[0], 1);
	assert_int_equal(plan[1], 0);
	move[1][0] = 41;
	hearth_tier_plan(two, 2, m, 0, s, 2, scratch, plan);
	assert_int_equal(plan[0], 0);
	assert_int_equal(plan[1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(costs_come_from_what_is_measured),
	    cmocka_unit_test(thresholds_are_where_the_lines_cross),
	    cmocka_unit_test(two_tiers_are_the_cost_threshold),
	    cmocka_unit_test(tiers_off_the_envelope_are_never_used),
	    cmocka_unit_test(envelope_is_the_cheapest_at_every_hazard),
	    cmocka_unit_test(no_other_plan_is_cheaper),
	    cmocka_unit_test(free_moves_follow_the_envelope),
	    cmocka_unit_test(a_move_must_earn_the_way_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
