/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ARIMA: the order and the forecast of series whose truth is known; its use in hybrid. */
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

#include <hearth/policy.h>

#include "policy/arima_estimate.h"
#include "policy/random.h"

static double normal(uint64_t *rng)
{
	return sqrt(-2 * log(random_unit(rng))) * cos(2 * M_PI * random_unit(rng));
}

/* One autoregressive and one moving-average term around a mean. */
static void simulate(double *y, int n, double ar, double ma, double mean, uint64_t seed)
{
	double z = 0, e = 0;

	for (int i = -100; i < n; i++) {
		double next = normal(&seed);

		z = ar * z + next + ma * e;
		e = next;
		if (i >= 0)
			y[i] = mean + z;
	}
}

static double median_error(double ar, double ma, bool naive)
{
	double y[101], error[99];
	struct arima m;

	for (int k = 0; k < 99; k++) {
		double f = 50;

		simulate(y, 101, ar, ma, 50, k);
		if (!naive) {
			assert_int_equal(arima_search(y, 100, &m), 0);
			f = arima_forecast(&m, y, 100);
		}
		error[k] = fabs(f - y[100]);
		for (int i = k; i > 0 && error[i] < error[i - 1]; i--) {
			double swap = error[i];

			error[i] = error[i - 1];
			error[i - 1] = swap;
		}
	}
	return error[49];
}

/* The best forecast of an ARMA series is off by |e|, median 0.674 for sigma 1. */
static void forecasts_are_nearly_as_good_as_with_the_truth(void **state)
{
	(void)state;
	assert_true(median_error(0.8, 0, false) < 0.674 * 1.25);
	assert_true(median_error(-0.7, 0, false) < 0.674 * 1.25);
	assert_true(median_error(0.9, -0.3, false) < 0.674 * 1.25);
	assert_true(median_error(0.8, 0, true) > 0.674 * 1.35); /* what the mean alone gives */
}

static void long_series_give_their_parameters_back(void **state)
{
	double y[ARIMA_MOST], ar = 0, mean = 0;
	struct arima m;

	(void)state;
	for (int k = 0; k < 50; k++) {
		simulate(y, ARIMA_MOST, 0.6, 0, 20, k + 1000);
		m = (struct arima){.p = 1, .constant = true};
		assert_int_equal(arima_refit(y, ARIMA_MOST, &m), 0);
		ar += m.ar[0] / 50;
		mean += arima_forecast(&m, y, ARIMA_MOST) / 50;
	}
	assert_true(fabs(ar - 0.6) < 0.06);
	assert_true(fabs(mean - 20) < 1);
}

static void a_trend_is_differenced_and_followed(void **state)
{
	double y[60];
	uint64_t rng = 3;
	struct arima m;

	(void)state;
	for (int i = 0; i < 60; i++)
		y[i] = 1000 + 50 * i + 5 * normal(&rng);
	assert_int_equal(arima_search(y, 60, &m), 0);
	assert_true(m.d >= 1);
	assert_true(fabs(arima_forecast(&m, y, 60) - 4000) < 20);
}

static void noise_is_forecast_by_its_mean(void **state)
{
	double y[100];
	int plain = 0;

	(void)state;
	for (int k = 0; k < 40; k++) {
		struct arima m;

		simulate(y, 100, 0, 0, 300, 50 + k);
		assert_int_equal(arima_search(y, 100, &m), 0);
		plain += m.p + m.d + m.q == 0;
		assert_true(fabs(arima_forecast(&m, y, 100) - 300) < 3);
	}
	assert_true(plain >= 20);
}

static void equal_values_are_forecast_exactly(void **state)
{
	double y[50];
	struct arima m;

	(void)state;
	for (int n = ARIMA_LEAST; n <= 50; n++) {
		y[n - 1] = 18000;
		for (int i = 0; i < n; i++)
			y[i] = 18000;
		assert_int_equal(arima_search(y, n, &m), 0);
		assert_true(fabs(arima_forecast(&m, y, n) - 18000) < 1e-6);
		assert_int_equal(arima_refit(y, n, &m), 0);
		assert_true(fabs(arima_forecast(&m, y, n) - 18000) < 1e-6);
	}
}

static void any_series_gives_a_finite_forecast(void **state)
{
	double y[ARIMA_MOST];
	uint64_t rng = 17;

	(void)state;
	for (int k = 0; k < 600; k++) {
		size_t n = ARIMA_LEAST + random_bits(&rng) % (ARIMA_MOST - ARIMA_LEAST + 1);
		struct arima m;

		for (size_t i = 0; i < n; i++) {
			double v = exp(4 * normal(&rng));

			y[i] = k % 4 == 0   ? v
			       : k % 4 == 1 ? (i % 7) * 3600
			       : k % 4 == 2 ? (i ? y[i - 1] : 0) + v
					    : 86400 * (i == n / 2);
		}
		assert_int_equal(arima_search(y, n, &m), 0);
		assert_true(isfinite(arima_forecast(&m, y, n)));
		y[n - 1] += 1;
		assert_int_equal(arima_refit(y, n, &m), 0);
		assert_true(isfinite(arima_forecast(&m, y, n)));
	}
}

static void too_short_or_too_long_is_refused(void **state)
{
	double y[ARIMA_MOST + 1] = {0};
	struct arima m;

	(void)state;
	assert_int_equal(arima_search(y, ARIMA_LEAST - 1, &m), -EINVAL);
	assert_int_equal(arima_search(y, ARIMA_MOST + 1, &m), -EINVAL);
}

/* Every 5 h: beyond the range of 4 h. Then 4.25 h unloaded and 1.5 h loaded. */
static void hybrid_loads_around_the_forecast_of_long_idle_times(void **state)
{
	uint32_t bins[240] = {0};
	struct hearth_hist_buf hist = {bins, {bins, 240, .bin_s = 60}};
	struct hearth_policy *p;
	struct hearth_decision d;
	char err[512];
	void *memory;

	(void)state;
	assert_int_equal(hearth_policy_parse("hybrid:240", 600, &p, err, sizeof(err)), 0);
	memory = calloc(1, hearth_policy_state_size(p));
	for (int i = 0; i < 30; i++) {
		double idle = i ? 18000 : -1;

		if (i)
			hearth_hist_add(&hist, idle);
		hearth_policy_observe(p, memory, &(struct hearth_arrival){i * 18000, idle, idle});
		hearth_policy_decide(p, memory, &hist.view, &d);
		assert_int_equal(d.n, 1);
		if (i < ARIMA_LEAST) {
			assert_true(d.w[0].open_s == 0 && d.w[0].close_s == 4 * 3600);
			continue;
		}
		assert_true(fabs(d.w[0].open_s - 4.25 * 3600) < 1);
		assert_true(fabs(d.w[0].close_s - 5.75 * 3600) < 1);
	}
	free(memory);
	hearth_policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(forecasts_are_nearly_as_good_as_with_the_truth),
	    cmocka_unit_test(long_series_give_their_parameters_back),
	    cmocka_unit_test(a_trend_is_differenced_and_followed),
	    cmocka_unit_test(noise_is_forecast_by_its_mean),
	    cmocka_unit_test(equal_values_are_forecast_exactly),
	    cmocka_unit_test(any_series_gives_a_finite_forecast),
	    cmocka_unit_test(too_short_or_too_long_is_refused),
	    cmocka_unit_test(hybrid_loads_around_the_forecast_of_long_idle_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
