/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hazard policy: windows where the histogram's hazard exceeds the cost threshold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/policy.h>

static uint32_t bins[240];
static struct hearth_hist_buf hist;

static int setup(void **state)
{
	(void)state;
	memset(bins, 0, sizeof(bins));
	hist = (struct hearth_hist_buf){bins, {bins, 240, .bin_s = 60}};
	return 0;
}

static void fill(double minute, int times)
{
	while (times--)
		hearth_hist_add(&hist, minute * 60);
}

static struct hearth_decision decide(const char *spec)
{
	struct hearth_policy *p = NULL;
	struct hearth_decision d;
	char err[512] = "";

	if (hearth_policy_parse(spec, 600, &p, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	hearth_policy_decide(p, NULL, &hist.view, &d);
	hearth_policy_free(p);
	return d;
}

static bool loaded(const struct hearth_decision *d, double minute)
{
	for (unsigned int i = 0; i < d->n; i++) {
		if (minute * 60 >= d->w[i].open_s && minute * 60 < d->w[i].close_s)
			return true;
	}
	return false;
}

static void falling_hazard_gives_one_window_from_the_start(void **state)
{
	struct hearth_decision d;

	(void)state;
	for (int m = 0; m < 60; m++)
		fill(m, 4000 / (1 + m * m));
	fill(1000, 100); /* or the end of what was seen would be certain */
	d = decide("hazard");
	assert_int_equal(d.n, 1);
	assert_true(d.w[0].open_s == 0);
	assert_true(d.w[0].close_s > 60 && d.w[0].close_s < 3600);
}

static void one_peak_gives_one_window_around_it(void **state)
{
	struct hearth_decision d;

	(void)state;
	fill(30, 100);
	d = decide("hazard");
	assert_int_equal(d.n, 1);
	assert_true(loaded(&d, 30) && !loaded(&d, 5) && !loaded(&d, 40));
}

static void one_valley_gives_two_windows(void **state)
{
	struct hearth_decision d;

	(void)state;
	fill(0, 100);
	fill(60, 50);
	d = decide("hazard");
	assert_int_equal(d.n, 2);
	assert_true(loaded(&d, 0) && loaded(&d, 60) && !loaded(&d, 30));
}

static void a_dearer_cold_start_keeps_longer(void **state)
{
	double before = 0;

	(void)state;
	for (int m = 0; m < 240; m++)
		fill(m, 1 + 500 / (1 + m));
	for (int cost = 1; cost <= 64; cost *= 2) {
		struct hearth_decision d;
		double sum = 0;
		char spec[64];

		snprintf(spec, sizeof(spec), "hazard,cost=%d", cost);
		d = decide(spec);
		for (unsigned int i = 0; i < d.n; i++)
			sum += d.w[i].close_s - d.w[i].open_s;
		assert_true(sum >= before);
		before = sum;
	}
	assert_true(before > 0);
}

/* 20 seen at 30 min; the more were longer than the range, the lower the hazard there. */
static void idle_times_beyond_the_range_lower_the_hazard(void **state)
{
	struct hearth_decision d;

	(void)state;
	fill(30, 20);
	d = decide("hazard");
	assert_true(loaded(&d, 30));
	fill(1000, 400);
	d = decide("hazard");
	assert_false(loaded(&d, 30));
}

static void without_history_it_rents_skis(void **state)
{
	struct hearth_decision d = decide("hazard");

	(void)state;
	assert_int_equal(d.n, 1);
	assert_true(d.w[0].open_s == 0 && d.w[0].close_s == 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(falling_hazard_gives_one_window_from_the_start, setup),
	    cmocka_unit_test_setup(one_peak_gives_one_window_around_it, setup),
	    cmocka_unit_test_setup(one_valley_gives_two_windows, setup),
	    cmocka_unit_test_setup(a_dearer_cold_start_keeps_longer, setup),
	    cmocka_unit_test_setup(idle_times_beyond_the_range_lower_the_hazard, setup),
	    cmocka_unit_test_setup(without_history_it_rents_skis, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
