/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The predictive policy: what it learns, how fast, and when it lets go; and window collection. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/policy.h>

#include "policy/windows.h"

#define MINUTE 60.0

static struct hearth_policy *policy;
static void *memory;
static double now; /* of the last arrival */

static void begin(const char *spec, double cold_cost_s)
{
	char err[512] = "";

	if (hearth_policy_parse(spec, cold_cost_s, &policy, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	memory = calloc(1, hearth_policy_state_size(policy));
	now = -1;
}

static void end(void)
{
	free(memory);
	hearth_policy_free(policy);
}

static struct hearth_decision decide(void)
{
	struct hearth_decision d;

	hearth_policy_decide(policy, memory, NULL, &d);
	assert_non_null(d.reason);
	return d;
}

static struct hearth_decision arrive(double t)
{
	double gap = now < 0 ? -1 : t - now;

	hearth_policy_observe(policy, memory, &(struct hearth_arrival){t, gap, gap});
	now = t;
	return decide();
}

static bool loaded(const struct hearth_decision *d, double x)
{
	for (unsigned int i = 0; i < d->n; i++) {
		if (x >= d->w[i].open_s && x < d->w[i].close_s)
			return true;
	}
	return false;
}

static double loaded_for(const struct hearth_decision *d, double most)
{
	double sum = 0;

	for (unsigned int i = 0; i < d->n; i++)
		sum += fmax(0, fmin(most, d->w[i].close_s) - d->w[i].open_s);
	return sum;
}

static void decides_before_any_arrival(void **state)
{
	struct hearth_decision d;

	(void)state;
	begin("predictive", 10 * MINUTE);
	d = decide();
	assert_true(d.n <= HEARTH_WINDOWS);
	end();
}

static void a_timer_is_loaded_in_its_minute_alone(void **state)
{
	struct hearth_decision d;

	(void)state;
	begin("predictive", 10 * MINUTE);
	for (int i = 0; i <= 20; i++)
		d = arrive(i * 20 * MINUTE);
	assert_true(loaded(&d, 20 * MINUTE));
	assert_true(loaded(&d, 20.5 * MINUTE));
	assert_true(loaded_for(&d, 40 * MINUTE) <= MINUTE + 1e-3);
	end();
}

static void a_timer_within_the_minute_stays_on_its_minute(void **state)
{
	struct hearth_decision d;

	(void)state;
	srand(2);
	begin("predictive", 10 * MINUTE);
	for (int i = 0; i <= 40; i++)
		d = arrive(i * 20 * MINUTE + rand() % 60);
	for (int s = 0; s < 60; s++)
		assert_true(loaded(&d, 41 * 20 * MINUTE + s - now));
	assert_true(loaded_for(&d, 40 * MINUTE) <= MINUTE + 1e-3);
	end();
}

/* 5, then 30, then 5...: after a 5 only the 30 is expected. */
static void the_gap_before_tells_which_comes_next(void **state)
{
	struct hearth_decision d;
	double t = 0;

	(void)state;
	begin("predictive", 10 * MINUTE);
	d = arrive(0);
	for (int i = 0; i < 60; i++)
		d = arrive(t += (i % 2 ? 30 : 5) * MINUTE);
	assert_true(loaded(&d, 5 * MINUTE)); /* the last gap was 30 */
	assert_true(loaded_for(&d, 29 * MINUTE) <= MINUTE + 1e-3);
	d = arrive(t + 5 * MINUTE);
	assert_true(loaded(&d, 30 * MINUTE));
	assert_false(loaded(&d, 5 * MINUTE));
	end();
}

static void a_burst_and_a_timer_give_two_windows(void **state)
{
	struct hearth_decision d;
	double t = 0;

	(void)state;
	begin("predictive", 20 * MINUTE);
	srand(4);
	d = arrive(0);
	for (int i = 0; i < 300; i++)
		d = arrive(t += (rand() % 2 ? 60 : 1) * MINUTE);
	assert_true(d.n >= 2);
	assert_true(loaded(&d, 1 * MINUTE) && loaded(&d, 60 * MINUTE));
	assert_true(loaded_for(&d, 120 * MINUTE) <= 2 * MINUTE + 1e-3);
	end();
}

/* Every 7 past a full 20 minutes, and at random in between: gaps alone would not show it. */
static void a_timer_among_other_calls_is_foreseen(void **state)
{
	struct hearth_decision d;

	(void)state;
	srand(8);
	begin("predictive", 10 * MINUTE);
	for (int minute = 0; minute < 1440; minute++)
		if (minute % 20 == 7 || rand() % 25 == 0)
			d = arrive(minute * MINUTE);
	d = arrive(1441 * MINUTE); /* 6 minutes before the timer */
	assert_true(loaded(&d, 6 * MINUTE));
	assert_true(loaded_for(&d, 6 * MINUTE) <= 2 * MINUTE);
	end();
}

static void its_memory_is_bounded(void **state)
{
	(void)state;
	begin("predictive", 10 * MINUTE);
	assert_true(hearth_policy_state_size(policy) <= 8192);
	end();
}

static void the_first_gap_is_expected_as_in_the_population(void **state)
{
	struct hearth_decision dear, cheap;

	(void)state;
	begin("predictive", 120 * MINUTE);
	dear = arrive(0);
	end();
	begin("predictive", 1 * MINUTE);
	cheap = arrive(0);
	assert_true(loaded(&dear, 1 * MINUTE));
	assert_true(loaded_for(&dear, 1e5) > loaded_for(&cheap, 1e5));
	end();
}

static void old_habits_are_forgotten(void **state)
{
	struct hearth_decision d;
	double t = 0;

	(void)state;
	begin("predictive", 10 * MINUTE);
	d = arrive(0);
	for (int i = 0; i < 600; i++)
		d = arrive(t += (20 + i % 7) * MINUTE);
	for (int i = 0; i < 600; i++)
		d = arrive(t += (50 + i % 5) * MINUTE);
	assert_true(loaded_for(&d, 40 * MINUTE) < 1);
	end();
}

static void windows_count_from_the_end_of_the_busy_span(void **state)
{
	struct hearth_decision d;

	(void)state;
	begin("predictive", 10 * MINUTE);
	for (int i = 0; i <= 20; i++)
		arrive(i * 20 * MINUTE);
	hearth_policy_idle(policy, memory, now + 7 * MINUTE);
	d = decide();
	assert_true(loaded(&d, 13 * MINUTE));
	assert_false(loaded(&d, 20 * MINUTE));
	hearth_policy_idle(policy, memory,
			   now + 20.5 * MINUTE); /* past the expected arrival's start */
	d = decide();
	assert_true(d.n && d.w[0].open_s >= 0 && loaded(&d, 0.4 * MINUTE));
	end();
}

static void a_clock_set_back_teaches_nothing(void **state)
{
	struct hearth_decision before, after;

	(void)state;
	begin("predictive", 10 * MINUTE);
	for (int i = 0; i <= 20; i++)
		before = arrive(1e6 + i * 20 * MINUTE - fmod(1e6, MINUTE));
	after = arrive(600);
	assert_int_equal(before.n, after.n);
	assert_true(fabs(loaded_for(&before, 1e5) - loaded_for(&after, 1e5)) < 1e-3);
	end();
}

static void any_history_gives_ordered_windows(void **state)
{
	(void)state;
	srand(6);
	for (int round = 0; round < 60; round++) {
		double t = rand() % 100000, cold = exp(rand() % 12) * 5;
		int habit = rand() % 3;

		begin("predictive", cold);
		for (int i = 0; i < 700; i++) {
			struct hearth_decision d = arrive(t);
			double last = 0;

			if (rand() % 4 == 0) {
				hearth_policy_idle(policy, memory, t + rand() % 500);
				d = decide();
			}
			assert_true(d.n <= HEARTH_WINDOWS);
			for (unsigned int w = 0; w < d.n; w++) {
				assert_true(d.w[w].open_s >= last);
				assert_true(d.w[w].close_s > d.w[w].open_s);
				last = d.w[w].close_s;
			}
			t += habit == 0   ? rand() % 100
			     : habit == 1 ? (rand() % 20) * 5 * MINUTE
					  : exp(rand() % 13 + 0.001 * (rand() % 1000));
		}
		end();
	}
}

static void a_load_that_is_not_earned_is_left_out(void **state)
{
	struct hearth_decision d;
	struct windows w;

	(void)state;
	windows_init(&w, &d);
	windows_add(&w, 0, 10, 0.1, 1); /* at 0 it is loaded anyhow */
	windows_add(&w, 20, 30, 0.5, 1);
	windows_add(&w, 30, 40, 0.4, 1);
	windows_add(&w, 50, 60, 1.1, 1);
	windows_add(&w, 70, 80, 0.6, 1);
	windows_add(&w, 80, 90, 0.6, 1);
	windows_done(&w);
	assert_int_equal(d.n, 3);
	assert_true(d.w[0].open_s == 0 && d.w[1].open_s == 50);
	assert_true(d.w[2].open_s == 70 && d.w[2].close_s == 90);
}

static void of_too_many_windows_the_best_remain(void **state)
{
	struct hearth_decision d;
	struct windows w;

	(void)state;
	windows_init(&w, &d);
	for (int i = 0; i < 20; i++)
		windows_add(&w, 100 * i, 100 * i + 10, i % 5 == 0 ? 1 : 5 + i, 0);
	windows_done(&w);
	assert_int_equal(d.n, HEARTH_WINDOWS);
	for (int i = 0; i < HEARTH_WINDOWS; i++) {
		assert_true(d.w[i].open_s >= 1000);
		assert_true(!i || d.w[i].open_s > d.w[i - 1].close_s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decides_before_any_arrival),
	    cmocka_unit_test(a_timer_is_loaded_in_its_minute_alone),
	    cmocka_unit_test(a_timer_within_the_minute_stays_on_its_minute),
	    cmocka_unit_test(the_gap_before_tells_which_comes_next),
	    cmocka_unit_test(a_burst_and_a_timer_give_two_windows),
	    cmocka_unit_test(a_timer_among_other_calls_is_foreseen),
	    cmocka_unit_test(its_memory_is_bounded),
	    cmocka_unit_test(the_first_gap_is_expected_as_in_the_population),
	    cmocka_unit_test(old_habits_are_forgotten),
	    cmocka_unit_test(windows_count_from_the_end_of_the_busy_span),
	    cmocka_unit_test(a_clock_set_back_teaches_nothing),
	    cmocka_unit_test(any_history_gives_ordered_windows),
	    cmocka_unit_test(a_load_that_is_not_earned_is_left_out),
	    cmocka_unit_test(of_too_many_windows_the_best_remain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
