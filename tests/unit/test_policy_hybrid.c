/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hybrid histogram policy, rule by rule; and the policies that do not learn. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/policy.h>

#define BINS 240

static uint32_t bins[BINS];
static struct hearth_hist_buf hist;

static void fill(int minute, int times)
{
	for (int i = 0; i < times; i++)
		hearth_hist_add(&hist, minute * 60.0);
}

static void clear(void)
{
	memset(bins, 0, sizeof(bins));
	hist = (struct hearth_hist_buf){bins, {bins, BINS, .bin_s = 60}};
}

static struct hearth_policy *parse(const char *spec, double cold_cost_s)
{
	struct hearth_policy *p = NULL;
	char err[512] = "";

	if (hearth_policy_parse(spec, cold_cost_s, &p, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	return p;
}

static struct hearth_decision decide(const char *spec)
{
	struct hearth_policy *p = parse(spec, 600);
	void *state = calloc(1, hearth_policy_state_size(p) + 1);
	struct hearth_decision d;

	hearth_policy_decide(p, state, &hist.view, &d);
	assert_non_null(d.reason);
	free(state);
	hearth_policy_free(p);
	return d;
}

static void assert_window(const char *spec, double open_min, double close_min)
{
	struct hearth_decision d = decide(spec);

	assert_int_equal(d.n, 1);
	if (fabs(d.w[0].open_s - open_min * 60) > 1e-6 ||
	    fabs(d.w[0].close_s - close_min * 60) > 1e-6)
		fail_msg("%s: [%g, %g) min, wanted [%g, %g)", spec, d.w[0].open_s / 60,
			 d.w[0].close_s / 60, open_min, close_min);
}

static void unlearned_policies_give_their_window(void **state)
{
	struct hearth_decision d;

	(void)state;
	clear();
	assert_int_equal(decide("none").n, 0);
	assert_int_equal(decide("fixed:0").n, 0);
	d = decide("always");
	assert_int_equal(d.n, 1);
	assert_true(d.w[0].open_s == 0 && isinf(d.w[0].close_s));
	assert_window("fixed:10", 0, 10);
	assert_window("skirental", 0, 10);
	assert_window("skirental,cost=1h", 0, 60);
}

static void timer_is_unloaded_and_loaded_again_ahead_of_it(void **state)
{
	(void)state;
	clear();
	fill(20, 100);
	assert_window("hybrid:240,arima=off", 18, 1.1 * 21);
	assert_window("hybrid:240,arima=off,margin=0", 20, 21);
	assert_window("hybrid:240,arima=off,margin=50", 10, 31.5);
}

static void margin_can_widen_the_window_instead_of_the_edges(void **state)
{
	(void)state;
	clear();
	fill(20, 50);
	fill(30, 50);
	assert_window("hybrid:240,arima=off", 18, 1.1 * 31);
	assert_window("hybrid:240,arima=off,margin_of=window", 18, 18 + 1.1 * 11);
}

static void head_in_the_first_bin_never_unloads_at_once(void **state)
{
	(void)state;
	clear();
	fill(0, 10);
	fill(30, 90);
	assert_window("hybrid:240,arima=off", 0, 1.1 * 31);
}

static void cut_offs_leave_outliers_out(void **state)
{
	(void)state;
	clear();
	fill(3, 4);
	fill(10, 995);
	fill(200, 1);
	assert_window("hybrid:240,arima=off", 9, 1.1 * 11);
	assert_window("hybrid:240,arima=off,head=0,tail=100", 2.7, 1.1 * 201);
}

static void few_idle_times_get_the_standard_keep_alive(void **state)
{
	(void)state;
	clear();
	assert_window("hybrid:240,arima=off", 0, 240);
	fill(20, 9);
	assert_window("hybrid:240,arima=off", 0, 240);
	assert_window("hybrid:240,arima=off,min_its=9", 18, 1.1 * 21);
	fill(20, 1);
	assert_window("hybrid:240,arima=off", 18, 1.1 * 21);
}

static void spread_idle_times_get_the_standard_keep_alive(void **state)
{
	(void)state;
	clear();
	for (int m = 0; m < BINS; m++)
		fill(m, 1);
	assert_window("hybrid:240,arima=off", 0, 240);
	assert_window("hybrid:240,arima=off,cv=0", 1.0 * 11 * 0.9, 1.1 * 238);
}

static void out_of_range_majority_gets_the_standard_keep_alive(void **state)
{
	(void)state;
	clear();
	fill(20, 50);
	fill(500, 50);
	assert_window("hybrid:240,arima=off", 18, 1.1 * 21); /* half is no majority */
	fill(500, 1);
	assert_window("hybrid:240,arima=off", 0, 240);
	assert_window("hybrid:240,arima=off,oob=0.6", 18, 1.1 * 21);
}

/* CV >= 2 exactly at the border: n S2 = 5 S1^2 for 48 of 240 bins with one each. */
static void variation_is_compared_exactly(void **state)
{
	(void)state;
	clear();
	for (int m = 0; m < 48; m++)
		fill(m, 1);
	assert_int_equal(BINS * hist.view.s2, 5 * hist.view.s1 * hist.view.s1);
	assert_window("hybrid:240,arima=off", 0.9 * 2, 1.1 * 48);
	assert_window("hybrid:240,arima=off,cv=2.01", 0, 240);
	fill(48, 1);
	assert_window("hybrid:240,arima=off", 0, 240);
}

static double floating_cv(void)
{
	double mean = (double)hist.view.s1 / BINS, sum = 0;

	for (int m = 0; m < BINS; m++)
		sum += (bins[m] - mean) * (bins[m] - mean);
	return sqrt(sum / BINS) / mean;
}

static void integer_variation_agrees_with_floating_point(void **state)
{
	int both[2] = {0, 0};

	(void)state;
	srand(7);
	for (int round = 0; round < 400; round++) {
		int spread = 1 + rand() % BINS, n = 10 + rand() % 2000;
		double cv;

		clear();
		while (n--)
			fill(rand() % spread, 1);
		cv = floating_cv();
		if (fabs(cv - 2) < 1e-9)
			continue;
		both[cv > 2]++;
		assert_int_equal(decide("hybrid:240,arima=off").w[0].close_s != 240 * 60 ||
				     decide("hybrid:240,arima=off").w[0].open_s != 0,
				 cv > 2);
	}
	assert_true(both[0] > 50 && both[1] > 50);
}

static void a_histogram_ahead_of_its_bins_is_not_trusted(void **state)
{
	(void)state;
	clear();
	fill(20, 100);
	hist.view.s1 += 10; /* as when it is copied while the kernel counts */
	assert_window("hybrid:240,arima=off,cv=1", 0, 240);
}

static double cost_of(const struct hearth_decision *d, double x, double cold_cost_s)
{
	double cost = 0;
	bool warm = false;

	for (unsigned int i = 0; i < d->n; i++) {
		cost += fmax(0, fmin(x, d->w[i].close_s) - d->w[i].open_s);
		warm |= x >= d->w[i].open_s && x < d->w[i].close_s;
	}
	return cost + (warm ? 0 : cold_cost_s);
}

/* Against offline, which knows every idle time, on sequences from harmless to adversarial. */
static void ski_rental_costs_at_most_twice_the_best(void **state)
{
	(void)state;
	srand(3);
	for (int round = 0; round < 200; round++) {
		double cold = 1 + rand() % 3600, scale = cold * exp(rand() % 9 - 4.0);
		struct hearth_policy *ski = parse("skirental", cold);
		struct hearth_policy *best = parse("offline", cold);
		double *foreseen = calloc(1, hearth_policy_state_size(best));
		double cost = 0, least = 0;

		assert_int_equal(hearth_policy_needs(best), HEARTH_NEEDS_NEXT);
		assert_int_equal(hearth_policy_needs(ski), 0);
		for (int i = 0; i < 200; i++) {
			double x = i % 10 ? -scale * log((1 + rand() % 1000) / 1001.0) : cold;
			struct hearth_decision d;

			hearth_policy_decide(ski, NULL, &hist.view, &d);
			cost += cost_of(&d, x, cold);
			hearth_policy_foresee(best, foreseen, x);
			hearth_policy_decide(best, foreseen, &hist.view, &d);
			assert_true(fabs(cost_of(&d, x, cold) - fmin(x, cold)) < 1e-6);
			least += fmin(x, cold);
		}
		assert_true(cost <= 2 * least * (1 + 1e-9));
		free(foreseen);
		hearth_policy_free(ski);
		hearth_policy_free(best);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unlearned_policies_give_their_window),
	    cmocka_unit_test(timer_is_unloaded_and_loaded_again_ahead_of_it),
	    cmocka_unit_test(margin_can_widen_the_window_instead_of_the_edges),
	    cmocka_unit_test(head_in_the_first_bin_never_unloads_at_once),
	    cmocka_unit_test(cut_offs_leave_outliers_out),
	    cmocka_unit_test(few_idle_times_get_the_standard_keep_alive),
	    cmocka_unit_test(spread_idle_times_get_the_standard_keep_alive),
	    cmocka_unit_test(out_of_range_majority_gets_the_standard_keep_alive),
	    cmocka_unit_test(variation_is_compared_exactly),
	    cmocka_unit_test(integer_variation_agrees_with_floating_point),
	    cmocka_unit_test(a_histogram_ahead_of_its_bins_is_not_trusted),
	    cmocka_unit_test(ski_rental_costs_at_most_twice_the_best),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
