/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Self-exciting arrivals: reference costs, fits that recover what was simulated, bounds. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include <hearth/hawkes.h>
#include <hearth/policy.h>

#define ARRIVALS 600
#define RUNS     400

static const struct hearth_hawkes reference = {0.01, 0.5, 1};

struct mean {
	double sum, square;
	int n;
};

static void add(struct mean *m, double v)
{
	m->sum += v;
	m->square += v * v;
	m->n++;
}

static double mean(const struct mean *m)
{
	return m->sum / m->n;
}

static double error_of(const struct mean *m)
{
	return sqrt((m->square / m->n - mean(m) * mean(m)) / m->n);
}

static double cost(double x, double keep_s, double cold_s)
{
	return x < keep_s ? x : keep_s + cold_s;
}

/* policies.md section 4: l0 = 0.01, a = 0.5, b = 1, mean cost per inter-arrival. */
static const struct {
	double cold_s, hawkes, error, ski_rental, offline;
} table[] = {
    {1, 0.9864, .0003, 1.396, 0.768}, {2.5, 2.239, .002, 2.877, 1.599},
    {5, 3.847, .004, 5.184, 2.815},   {10, 6.637, .008, 9.626, 5.130},
    {20, 11.80, .014, 17.56, 9.42},   {50, 26.42, .034, 34.94, 19.91},
    {90, 45.40, .06, 47.98, 29.84},   {120, 50.01, .09, 53.01, 35.06},
};
#define ROWS (sizeof(table) / sizeof(table[0]))

static void costs_agree_with_the_reference_table(void **state)
{
	struct mean hawkes[ROWS] = {0}, ski[ROWS] = {0}, offline[ROWS] = {0};
	uint64_t rng = 20;

	(void)state;
	for (int run = 0; run < RUNS; run++) {
		double S = hearth_hawkes_excite(&reference, 0, 0), sum[3][ROWS] = {{0}};

		for (int i = 1; i < ARRIVALS; i++) {
			double x = hearth_hawkes_next(&reference, S, INFINITY, &rng);

			for (size_t c = 0; c < ROWS; c++) {
				double cold = table[c].cold_s;

				sum[0][c] +=
				    cost(x, hearth_hawkes_tau(&reference, S, 1 / cold), cold);
				sum[1][c] += cost(x, cold, cold);
				sum[2][c] += fmin(x, cold);
			}
			S = hearth_hawkes_excite(&reference, S, x);
		}
		for (size_t c = 0; c < ROWS; c++) {
			add(&hawkes[c], sum[0][c] / (ARRIVALS - 1));
			add(&ski[c], sum[1][c] / (ARRIVALS - 1));
			add(&offline[c], sum[2][c] / (ARRIVALS - 1));
		}
	}
	for (size_t c = 0; c < ROWS; c++) {
		double error = hypot(error_of(&hawkes[c]), table[c].error);

		if (fabs(mean(&hawkes[c]) - table[c].hawkes) > 3 * error)
			fail_msg("c_cs %g: %g, wanted %g +- %g", table[c].cold_s, mean(&hawkes[c]),
				 table[c].hawkes, 3 * error);
		assert_true(fabs(mean(&ski[c]) / table[c].ski_rental - 1) < 0.02);
		assert_true(fabs(mean(&offline[c]) / table[c].offline - 1) < 0.02);
	}
}

static size_t simulate(const struct hearth_hawkes *h, double *t, size_t n, uint64_t seed)
{
	double now = 0, S = 0;

	for (size_t i = 0; i < n; i++) {
		double x = hearth_hawkes_next(h, S, INFINITY, &seed);

		now += x;
		t[i] = now;
		S = hearth_hawkes_excite(h, S, x);
	}
	return n;
}

static void gradient_is_the_slope_of_the_likelihood(void **state)
{
	double t[200], grad[3];
	double end = (simulate(&reference, t, 200, 4), t[199] + 30);

	(void)state;
	for (int opening = 0; opening < 2; opening++) {
		double start = opening ? t[0] : 0;

		hearth_hawkes_loglik(&reference, t, 200, start, end, grad);
		for (int k = 0; k < 3; k++) {
			struct hearth_hawkes up = reference, down = reference;
			double *pu = k == 0 ? &up.l0 : k == 1 ? &up.a : &up.b;
			double *pd = k == 0 ? &down.l0 : k == 1 ? &down.a : &down.b;
			double step = *pu * 1e-5, slope;

			*pu += step;
			*pd -= step;
			slope = (hearth_hawkes_loglik(&up, t, 200, start, end, NULL) -
				 hearth_hawkes_loglik(&down, t, 200, start, end, NULL)) /
				(2 * step);
			assert_true(fabs(slope - grad[k]) < 1e-4 * (1 + fabs(slope)));
		}
	}
}

static void fit_is_where_the_likelihood_is_flat(void **state)
{
	static double t[400], scratch[800];
	struct hearth_hawkes h;
	double grad[3];

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		simulate(&reference, t, 400, seed);
		assert_int_equal(hearth_hawkes_fit(t, 400, 0, t[399] + 10, scratch, &h), 0);
		assert_true(h.a < h.b && h.l0 > 0);
		assert_true(hearth_hawkes_loglik(&h, t, 400, 0, t[399] + 10, grad) >=
			    hearth_hawkes_loglik(&reference, t, 400, 0, t[399] + 10, NULL) - 1e-6);
		assert_true(fabs(grad[0] * h.l0) < 1e-3 && fabs(grad[1] * h.a) < 1e-3);
		assert_true(fabs(grad[2] * h.b) < 1);
	}
}

static void fit_recovers_the_parameters(void **state)
{
	static double t[4000], scratch[8000];
	static const struct hearth_hawkes truths[] = {
	    {0.01, 0.5, 1}, {0.002, 0.05, 0.2}, {1, 2, 10}, {0.05, 0.05, 0.1}};
	struct hearth_hawkes h;

	(void)state;
	for (size_t i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
		const struct hearth_hawkes *want = &truths[i];
		struct mean l0 = {0}, ratio = {0}, b = {0};

		for (uint64_t seed = 100; seed < 108; seed++) {
			simulate(want, t, 4000, seed);
			assert_int_equal(hearth_hawkes_fit(t, 4000, 0, t[3999], scratch, &h), 0);
			add(&l0, h.l0 / want->l0);
			add(&ratio, h.a / h.b - want->a / want->b);
			add(&b, log(h.b / want->b));
		}
		assert_true(fabs(mean(&l0) - 1) < 0.1);
		assert_true(fabs(mean(&ratio)) < 0.05);
		assert_true(fabs(mean(&b)) < 0.15);
	}
}

static void arrivals_without_excitation_fit_as_poisson(void **state)
{
	static const struct hearth_hawkes poisson = {0.1, 0, 1};
	static double t[2000], scratch[4000];
	struct hearth_hawkes h;

	(void)state;
	simulate(&poisson, t, 2000, 9);
	assert_int_equal(hearth_hawkes_fit(t, 2000, 0, t[1999], scratch, &h), 0);
	assert_true(h.a / h.b < 0.1);
	assert_true(fabs(h.l0 / (1 - h.a / h.b) / 0.1 - 1) < 0.1);
}

static void silence_after_the_last_arrival_lowers_the_rate(void **state)
{
	static double t[100], scratch[200];
	struct hearth_hawkes now, later;

	(void)state;
	simulate(&reference, t, 100, 2);
	hearth_hawkes_fit(t, 100, 0, t[99], scratch, &now);
	hearth_hawkes_fit(t, 100, 0, t[99] * 4, scratch, &later);
	assert_true(later.l0 < now.l0 / 2);
}

static void regular_and_simultaneous_arrivals_give_a_usable_fit(void **state)
{
	double regular[50], pairs[50], same[5] = {3, 3, 3, 3, 3}, scratch[100];
	struct hearth_hawkes h;

	(void)state;
	for (int i = 0; i < 50; i++) {
		regular[i] = 60 * i;
		pairs[i] = 600 * (i / 2);
	}
	assert_int_equal(hearth_hawkes_fit(regular, 50, 0, regular[49], scratch, &h), 0);
	assert_true(isfinite(h.l0) && isfinite(h.a) && isfinite(h.b) && h.l0 > 0 && h.a >= 0);
	assert_int_equal(hearth_hawkes_fit(pairs, 50, 0, pairs[49], scratch, &h), 0);
	assert_true(isfinite(h.l0) && isfinite(h.a) && isfinite(h.b) && h.a > 0 && h.a < h.b);
	assert_int_equal(hearth_hawkes_fit(same, 5, 0, 10, scratch, &h), -EINVAL);
	assert_int_equal(hearth_hawkes_fit(regular, 2, 0, 60, scratch, &h), -EINVAL);
}

static void residuals_tell_hawkes_from_timers(void **state)
{
	static double t[1000], timer[1000], scratch[2000];
	struct hearth_hawkes h;

	(void)state;
	simulate(&reference, t, 1000, 77);
	/* 1.63 / sqrt(n): the 1% point of the Kolmogorov distribution */
	assert_true(hearth_hawkes_ks(&reference, t, 1000, 0, scratch) < 1.63 / sqrt(1000));
	for (int i = 0; i < 1000; i++)
		timer[i] = 60 * i;
	hearth_hawkes_fit(timer, 1000, 0, timer[999], scratch, &h);
	assert_true(hearth_hawkes_ks(&h, timer, 1000, 0, scratch) > 0.3);
}

static void keep_alive_is_all_some_or_nothing(void **state)
{
	(void)state;
	assert_true(isinf(hearth_hawkes_tau(&reference, 1, 0.01)));
	assert_true(hearth_hawkes_tau(&reference, 1, 0.51) == 0);
	assert_true(fabs(hearth_hawkes_tau(&reference, 1, 0.1) - log(0.5 / 0.09)) < 1e-12);
	assert_true(hearth_hawkes_tau(&reference, 2, 0.1) > hearth_hawkes_tau(&reference, 1, 0.1));
}

static void mean_keep_alive_agrees_with_the_reference(void **state)
{
	static const struct {
		double cold_s, tau;
	} rows[] = {{1, 0.061},  {2.5, 0.572}, {5, 1.291}, {10, 2.037},
		    {20, 2.848}, {50, 4.235},  {90, 6.433}};
	uint64_t rng = 8;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		double tau = 0;

		for (int day = 0; day < 10; day++)
			tau += hearth_hawkes_tau_mean(&reference, 1 / rows[i].cold_s, &rng) / 10;
		assert_true(fabs(tau - rows[i].tau) < 0.03 * (0.2 + rows[i].tau));
	}
	assert_true(isinf(hearth_hawkes_tau_mean(&reference, 1 / 120.0, &rng)));
}

/* Theorem 7: against the optimum on the same arrivals, over many processes and costs. */
static void approximation_stays_within_its_bound(void **state)
{
	uint64_t rng = 31;

	(void)state;
	srand(5);
	for (int round = 0; round < 60; round++) {
		double b = exp(rand() % 9 - 4.0);
		struct hearth_hawkes h = {b * (1 + rand() % 100) / 500, b * (rand() % 95) / 100, b};
		double cold = exp(rand() % 9 - 4.0) / b, theta = 1 / cold;
		double keep = hearth_hawkes_tau_approx(&h, theta), S = 1, spent = 0, least = 0;
		double bound = 1 + 1 / sqrt(1 + hearth_hawkes_tau(&h, 1, theta) / cold);

		for (int i = 0; i < 20000; i++) {
			double x = hearth_hawkes_next(&h, S, INFINITY, &rng);

			spent += cost(x, keep, cold);
			least += cost(x, hearth_hawkes_tau(&h, S, theta), cold);
			S = hearth_hawkes_excite(&h, S, x);
		}
		assert_true(bound <= 2);
		assert_true(spent <= bound * least * 1.03); /* sampling */
	}
}

struct subject {
	struct hearth_policy *p;
	void *state;
};

static struct subject subject(const char *spec, double cold_s)
{
	struct subject s;
	char err[512] = "";

	if (hearth_policy_parse(spec, cold_s, &s.p, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	s.state = calloc(1, hearth_policy_state_size(s.p));
	return s;
}

static void discard(struct subject *s)
{
	free(s->state);
	hearth_policy_free(s->p);
}

static struct hearth_decision arrive(struct subject *s, double t, double gap)
{
	struct hearth_decision d;

	hearth_policy_observe(s->p, s->state, &(struct hearth_arrival){t, gap, gap});
	hearth_policy_decide(s->p, s->state, NULL, &d);
	return d;
}

static void policies_rent_skis_until_the_tenth_arrival(void **state)
{
	static const char *const specs[] = {"poisson", "hawkes", "hawkes-ttl", "hawkes-approx"};
	double t[10];

	(void)state;
	simulate(&reference, t, 10, 1);
	for (size_t k = 0; k < 4; k++) {
		struct subject s = subject(specs[k], 5);

		for (int i = 0; i < 9; i++) {
			struct hearth_decision d = arrive(&s, t[i], i ? t[i] - t[i - 1] : -1);

			assert_int_equal(d.n, 1);
			assert_true(d.w[0].close_s == 5);
		}
		arrive(&s, t[9], t[9] - t[8]);
		assert_false(arrive(&s, t[9] + 1, 1).w[0].close_s == 5);
		discard(&s);
	}
}

/* The policy knows only the past, so it needs many arrivals to come close to the truth. */
static void live_policy_approaches_the_optimum(void **state)
{
	struct subject s = subject("hawkes", 5);
	uint64_t rng = 12;
	double S = 1, t = 0, spent = 0, least = 0;
	struct hearth_decision d = arrive(&s, 0, -1);

	(void)state;
	for (int i = 0; i < 20000; i++) {
		double x = hearth_hawkes_next(&reference, S, INFINITY, &rng);

		if (i > 500) {
			spent += cost(x, d.n ? d.w[0].close_s : 0, 5);
			least += cost(x, hearth_hawkes_tau(&reference, S, 0.2), 5);
		}
		t += x;
		d = arrive(&s, t, x);
		S = hearth_hawkes_excite(&reference, S, x);
	}
	assert_true(spent < 1.02 * least);
	discard(&s);
}

static void training_fixes_the_parameters(void **state)
{
	static double t[2000], scratch[4000];
	struct subject s = subject("hawkes-insample", 5);
	struct hearth_hawkes h;
	struct hearth_decision d;

	(void)state;
	assert_int_equal(hearth_policy_needs(s.p), HEARTH_NEEDS_TRAINING);
	simulate(&reference, t, 2000, 3);
	hearth_policy_train(s.p, s.state, t, 2000, 0, t[1999], scratch);
	hearth_hawkes_fit(t, 2000, 0, t[1999], scratch, &h);
	d = arrive(&s, 0, -1);
	assert_true(fabs(d.w[0].close_s - hearth_hawkes_tau(&h, 1, 0.2)) < 1e-12);
	for (int i = 0; i < 100; i++)
		d = arrive(&s, i * 1000, 1000);
	assert_true(fabs(d.w[0].close_s - hearth_hawkes_tau(&h, 1, 0.2)) < 1e-12);
	discard(&s);
}

static void poisson_stays_or_goes_by_the_mean_rate(void **state)
{
	struct subject rich = subject("poisson", 61), poor = subject("poisson", 59);
	struct hearth_decision d;

	(void)state;
	for (int i = 0; i < 20; i++) {
		d = arrive(&rich, 60 * i, i ? 60 : -1);
		arrive(&poor, 60 * i, i ? 60 : -1);
	}
	assert_true(isinf(d.w[0].close_s));
	d = arrive(&poor, 1200, 60);
	assert_int_equal(d.n, 0);
	discard(&rich);
	discard(&poor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(costs_agree_with_the_reference_table),
	    cmocka_unit_test(gradient_is_the_slope_of_the_likelihood),
	    cmocka_unit_test(fit_is_where_the_likelihood_is_flat),
	    cmocka_unit_test(fit_recovers_the_parameters),
	    cmocka_unit_test(arrivals_without_excitation_fit_as_poisson),
	    cmocka_unit_test(silence_after_the_last_arrival_lowers_the_rate),
	    cmocka_unit_test(regular_and_simultaneous_arrivals_give_a_usable_fit),
	    cmocka_unit_test(residuals_tell_hawkes_from_timers),
	    cmocka_unit_test(keep_alive_is_all_some_or_nothing),
	    cmocka_unit_test(mean_keep_alive_agrees_with_the_reference),
	    cmocka_unit_test(approximation_stays_within_its_bound),
	    cmocka_unit_test(policies_rent_skis_until_the_tenth_arrival),
	    cmocka_unit_test(live_policy_approaches_the_optimum),
	    cmocka_unit_test(training_fixes_the_parameters),
	    cmocka_unit_test(poisson_stays_or_goes_by_the_mean_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
