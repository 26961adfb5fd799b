/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a function learned survives changes of geometry and the way to the state file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/history.h"
#include "lib/clock.h"

static uint64_t total(const struct hearth_function *fn)
{
	return fn->s1 + fn->oob;
}

static void check_sums(const struct hearth_function *fn)
{
	uint64_t s1 = 0, s2 = 0;
	size_t i;

	for (i = 0; i < HEARTH_BINS; i++) {
		s1 += fn->bins[i];
		s2 += (uint64_t)fn->bins[i] * fn->bins[i];
	}
	assert_int_equal(fn->s1, s1);
	assert_int_equal(fn->s2, s2);
}

static void a_new_geometry_keeps_every_idle_time(void **state)
{
	static const uint64_t WIDTHS[] = {NSEC_PER_SEC, 7 * NSEC_PER_SEC, NSEC_PER_MIN,
					  500 * NSEC_PER_MSEC, 10 * NSEC_PER_MIN};
	struct hearth_fn_control ctl = {};
	struct hearth_function fn = {};
	size_t i;

	(void)state;
	history_geometry(&fn, &ctl, NSEC_PER_MIN, 240);
	for (i = 0; i < 240; i++)
		fn.bins[i] = (uint32_t)(i * 7919 % 13);
	fn.oob = 5;
	fn.s1 = fn.s2 = 0;
	for (i = 0; i < 240; i++) {
		fn.s1 += fn.bins[i];
		fn.s2 += (uint64_t)fn.bins[i] * fn.bins[i];
	}
	for (i = 0; i < sizeof(WIDTHS) / sizeof(WIDTHS[0]); i++) {
		uint64_t before = total(&fn);

		history_geometry(&fn, &ctl, WIDTHS[i], 100 + (uint32_t)i * 90);
		assert_int_equal(total(&fn), before);
		assert_int_equal(ctl.bin_ns, WIDTHS[i]);
		assert_int_equal(ctl.nbins, 100 + i * 90);
		check_sums(&fn);
	}
}

static void merged_bins_hold_the_sum_and_split_ones_the_middle(void **state)
{
	struct hearth_fn_control ctl = {.bin_ns = NSEC_PER_SEC, .nbins = 120};
	struct hearth_function fn = {.s1 = 7, .s2 = 9 + 16};

	(void)state;
	fn.bins[60] = 3;
	fn.bins[119] = 4;
	history_geometry(&fn, &ctl, NSEC_PER_MIN, 10);
	assert_int_equal(fn.bins[1], 7);
	history_geometry(&fn, &ctl, NSEC_PER_SEC, 120);
	assert_int_equal(fn.bins[90], 7); /* the middle of minute 1 */
}

static void what_no_longer_fits_becomes_out_of_bounds(void **state)
{
	struct hearth_fn_control ctl = {.bin_ns = NSEC_PER_MIN, .nbins = 240};
	struct hearth_function fn = {.s1 = 5, .s2 = 25};

	(void)state;
	fn.bins[200] = 5;
	history_geometry(&fn, &ctl, NSEC_PER_MIN, 60);
	assert_int_equal(fn.oob, 5);
	assert_int_equal(fn.s1, 0);
}

static void an_unchanged_geometry_touches_nothing(void **state)
{
	struct hearth_fn_control ctl = {.bin_ns = NSEC_PER_MIN, .nbins = 240};
	struct hearth_function fn = {.s1 = 1, .s2 = 1}, before;

	(void)state;
	fn.bins[3] = 1;
	before = fn;
	history_geometry(&fn, &ctl, NSEC_PER_MIN, 240);
	assert_memory_equal(&fn, &before, sizeof(fn));
}

static void saved_and_restored_history_is_the_same(void **state)
{
	struct hearth_fn_control ctl = {.bin_ns = NSEC_PER_MIN, .nbins = 240};
	struct hearth_function fn = {.invocations = 9,
				     .busy_spans = 8,
				     .cold_starts = 2,
				     .lukewarm_starts = 1,
				     .oob = 3,
				     .unbinned = 1},
			       back = {};
	struct state_function saved = {};

	(void)state;
	fn.bins[0] = 2;
	fn.bins[239] = 4;
	fn.s1 = 6;
	fn.s2 = 20;
	assert_int_equal(history_save(&fn, &ctl, &saved), 0);
	history_restore(&back, &ctl, &saved);
	assert_memory_equal(&back, &fn, sizeof(fn));
	free(saved.bins);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_new_geometry_keeps_every_idle_time),
	    cmocka_unit_test(merged_bins_hold_the_sum_and_split_ones_the_middle),
	    cmocka_unit_test(what_no_longer_fits_becomes_out_of_bounds),
	    cmocka_unit_test(an_unchanged_geometry_touches_nothing),
	    cmocka_unit_test(saved_and_restored_history_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
