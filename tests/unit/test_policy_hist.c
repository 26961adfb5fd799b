/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Idle-time histograms: sums kept exactly, percentiles as policies.md states them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/policy.h>

#define BINS 16

static uint32_t bins[BINS];

static struct hearth_hist_buf empty(double bin_s)
{
	memset(bins, 0, sizeof(bins));
	return (struct hearth_hist_buf){bins, {bins, BINS, .bin_s = bin_s}};
}

static void idle_times_fall_into_half_open_bins(void **state)
{
	struct hearth_hist_buf h = empty(60);

	(void)state;
	hearth_hist_add(&h, 0);
	hearth_hist_add(&h, 59.999);
	hearth_hist_add(&h, 60);
	hearth_hist_add(&h, BINS * 60 - 0.001);
	hearth_hist_add(&h, BINS * 60);
	hearth_hist_add(&h, 1e300);
	hearth_hist_add(&h, INFINITY);
	assert_int_equal(bins[0], 2);
	assert_int_equal(bins[1], 1);
	assert_int_equal(bins[BINS - 1], 1);
	assert_int_equal(h.view.s1, 4);
	assert_int_equal(h.view.s2, 4 + 1 + 1);
	assert_int_equal(h.view.oob, 3);
}

static void a_clock_step_backwards_is_no_idle_time(void **state)
{
	struct hearth_hist_buf h = empty(60);

	(void)state;
	hearth_hist_add(&h, -5);
	assert_int_equal(bins[0], 1);
	hearth_hist_add(&h, NAN);
	assert_int_equal(h.view.s1 + h.view.oob, 2);
}

static void sums_stay_exact_over_random_histories(void **state)
{
	struct hearth_hist_buf h = empty(1);

	(void)state;
	srand(1);
	for (int n = 0; n < 20000; n++) {
		uint64_t s1 = 0, s2 = 0;

		hearth_hist_add(&h, rand() % (BINS + 4) * (rand() % 3 > 0));
		if (n % 500)
			continue;
		for (int i = 0; i < BINS; i++) {
			s1 += bins[i];
			s2 += (uint64_t)bins[i] * bins[i];
		}
		assert_int_equal(h.view.s1, s1);
		assert_int_equal(h.view.s2, s2);
		assert_int_equal(h.view.s1 + h.view.oob, n + 1);
	}
}

static void percentiles_are_the_smallest_bin_that_reaches_them(void **state)
{
	struct hearth_hist_buf h = empty(1);

	(void)state;
	assert_int_equal(hearth_hist_percentile(&h.view, 0), -1);
	assert_int_equal(hearth_hist_percentile(&h.view, 100), -1);
	for (int i = 0; i < 100; i++) /* 4 in bin 2, 95 in bin 5, 1 in bin 9 */
		hearth_hist_add(&h, i < 4 ? 2 : i < 99 ? 5 : 9);
	assert_int_equal(hearth_hist_percentile(&h.view, 0), 2);
	assert_int_equal(hearth_hist_percentile(&h.view, 4), 2);
	assert_int_equal(hearth_hist_percentile(&h.view, 5), 5);
	assert_int_equal(hearth_hist_percentile(&h.view, 99), 5);
	assert_int_equal(hearth_hist_percentile(&h.view, 100), 9);
}

static void one_idle_time_is_every_percentile(void **state)
{
	struct hearth_hist_buf h = empty(1);

	(void)state;
	hearth_hist_add(&h, 7);
	for (unsigned int q = 0; q <= 100; q++)
		assert_int_equal(hearth_hist_percentile(&h.view, q), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idle_times_fall_into_half_open_bins),
	    cmocka_unit_test(a_clock_step_backwards_is_no_idle_time),
	    cmocka_unit_test(sums_stay_exact_over_random_histories),
	    cmocka_unit_test(percentiles_are_the_smallest_bin_that_reaches_them),
	    cmocka_unit_test(one_idle_time_is_every_percentile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
