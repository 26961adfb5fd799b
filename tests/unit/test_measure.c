/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Running quantiles: exact over the last 32, and nothing that is no measure gets in. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/measure.h"

static void before_the_first_there_is_none(void **state)
{
	struct measures m = {};

	(void)state;
	for (int w = 0; w < MEASURES; w++) {
		assert_true(isnan(measure_quantile(&m, w, 0.5)));
		assert_int_equal(measure_count(&m, w), 0);
		assert_true(strlen(measure_name(w)) > 3);
		assert_int_equal(measure_is_bytes(w), strstr(measure_name(w), "_bytes") != NULL);
	}
}

static void quantiles_are_samples_by_nearest_rank(void **state)
{
	struct measures m = {};

	(void)state;
	for (int i = 10; i >= 1; i--)
		measure_add(&m, MEASURE_WARM_BYTES, i * 1048576.0);
	assert_true(measure_quantile(&m, MEASURE_WARM_BYTES, 0) == 1048576);
	assert_true(measure_quantile(&m, MEASURE_WARM_BYTES, 0.1) == 1048576);
	assert_true(measure_quantile(&m, MEASURE_WARM_BYTES, 0.11) == 2 * 1048576);
	assert_true(measure_quantile(&m, MEASURE_WARM_BYTES, 0.5) == 5 * 1048576);
	assert_true(measure_quantile(&m, MEASURE_WARM_BYTES, 0.9) == 9 * 1048576);
	assert_true(measure_quantile(&m, MEASURE_WARM_BYTES, 1) == 10 * 1048576);
	assert_int_equal(measure_count(&m, MEASURE_WARM_BYTES), 10);
	assert_true(isnan(measure_quantile(&m, MEASURE_FROZEN_BYTES, 0.5)));
}

static void only_the_last_32_count(void **state)
{
	struct measures m = {};

	(void)state;
	for (int i = 0; i < 100; i++)
		measure_add(&m, MEASURE_COLD_S, 9);
	for (int i = 0; i < 31; i++)
		measure_add(&m, MEASURE_COLD_S, 2);
	assert_float_equal(measure_quantile(&m, MEASURE_COLD_S, 1), 9, 1e-6);
	measure_add(&m, MEASURE_COLD_S, 1);
	assert_float_equal(measure_quantile(&m, MEASURE_COLD_S, 1), 2, 1e-6);
	assert_float_equal(measure_quantile(&m, MEASURE_COLD_S, 0), 1, 1e-6);
	assert_int_equal(measure_count(&m, MEASURE_COLD_S), 132);
}

static void what_is_no_measure_is_left_out(void **state)
{
	static const double bad[] = {NAN, -NAN, INFINITY, -INFINITY, -1, -1e-3, 1e300};
	struct measures m = {};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		measure_add(&m, MEASURE_THAW_S, bad[i]);
		measure_add(&m, MEASURE_WARM_BYTES, bad[i] * 1000);
	}
	assert_int_equal(measure_count(&m, MEASURE_THAW_S), 0);
	assert_int_equal(measure_count(&m, MEASURE_WARM_BYTES), 0);
	measure_add(&m, MEASURE_THAW_S, 0);
	assert_true(measure_quantile(&m, MEASURE_THAW_S, 0.5) == 0);
}

static void a_wake_costs_what_it_took_beyond_a_warm_span(void **state)
{
	struct measures m = {};

	(void)state;
	measure_add_wake(&m, MEASURE_RECLAIMED_WAKE_S, 0.3);
	assert_int_equal(measure_count(&m, MEASURE_RECLAIMED_WAKE_S), 0); /* beyond what? */
	measure_add(&m, MEASURE_SPAN_S, 0.01);
	measure_add(&m, MEASURE_SPAN_S, 0.02);
	measure_add(&m, MEASURE_SPAN_S, 5);
	measure_add_wake(&m, MEASURE_RECLAIMED_WAKE_S, 0.3);
	assert_float_equal(measure_quantile(&m, MEASURE_RECLAIMED_WAKE_S, 1), 0.28, 1e-7);
	measure_add_wake(&m, MEASURE_FROZEN_WAKE_S, 0.005);
	assert_true(measure_quantile(&m, MEASURE_FROZEN_WAKE_S, 1) == 0);
	measure_add_wake(&m, MEASURE_FROZEN_WAKE_S, NAN);
	assert_int_equal(measure_count(&m, MEASURE_FROZEN_WAKE_S), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(before_the_first_there_is_none),
	    cmocka_unit_test(quantiles_are_samples_by_nearest_rank),
	    cmocka_unit_test(only_the_last_32_count),
	    cmocka_unit_test(what_is_no_measure_is_left_out),
	    cmocka_unit_test(a_wake_costs_what_it_took_beyond_a_warm_span),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
