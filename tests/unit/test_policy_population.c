/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a population's gaps say: every function weighs the same, silence fades, no NaN ever. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/population.h>

#define MINUTE 60.0
#define DAY    86400.0

static struct hearth_population population;
static struct hearth_prior_cell cells[HEARTH_PRIOR_MINUTES];
static size_t n_cells;

static void begin(double weight)
{
	size_t n;
	const struct hearth_prior_cell *prior = hearth_policy_prior(&n);

	memset(&population, 0, sizeof(population));
	hearth_population_prior_add(&population, prior, n, weight);
}

/* Checked wherever it is used: probabilities in order, together at most 1. */
static void estimate(void)
{
	double sum = 0;

	n_cells = hearth_population_estimate(&population, cells);
	assert_true(n_cells > 0 && n_cells <= HEARTH_PRIOR_MINUTES && cells[0].minute == 0);
	for (size_t i = 0; i < n_cells; i++) {
		assert_true(isfinite(cells[i].p) && cells[i].p >= 0);
		assert_true(!i || cells[i].minute > cells[i - 1].minute);
		sum += cells[i].p;
	}
	assert_true(sum <= 1 + 1e-5);
}

static double probability(unsigned int minute)
{
	for (size_t i = 0; i < n_cells; i++)
		if (cells[i].minute == minute)
			return cells[i].p;
	fail_msg("no cell begins at minute %u", minute);
	return 0;
}

/* Called every `gap` minutes up to now. */
static struct hearth_gaps timer(double gap, int times, double now_s)
{
	struct hearth_gaps g = {};

	for (int i = times; i >= 0; i--)
		hearth_gaps_arrive(&g, now_s - i * gap * MINUTE);
	return g;
}

static void without_functions_it_is_the_prior_itself(void **state)
{
	size_t n;
	const struct hearth_prior_cell *prior = hearth_policy_prior(&n);

	(void)state;
	begin(20);
	estimate();
	assert_int_equal(n_cells, n);
	for (size_t i = 0; i < n; i++)
		assert_true(fabs(cells[i].p - prior[i].p) < 1e-5);
}

static void it_becomes_what_the_functions_of_the_node_do(void **state)
{
	struct hearth_gaps g = timer(25, 100, 100 * DAY);

	(void)state;
	begin(20);
	estimate();
	assert_true(probability(25) < 0.02);
	for (int i = 0; i < 20; i++)
		hearth_population_add(&population, &g, 100 * DAY);
	estimate();
	assert_true(probability(25) > 0.4 && probability(25) < 0.6);
	for (int i = 0; i < 2000; i++)
		hearth_population_add(&population, &g, 100 * DAY);
	estimate();
	assert_true(probability(25) > 0.97);
}

static void a_busy_function_weighs_no_more_than_a_rare_one(void **state)
{
	struct hearth_gaps busy = timer(1, 100000, 100 * DAY), rare = timer(25, 60, 100 * DAY);
	double before;

	(void)state;
	begin(0);
	hearth_population_add(&population, &busy, 100 * DAY);
	hearth_population_add(&population, &rare, 100 * DAY);
	estimate();
	assert_true(fabs(probability(1) - 0.5) < 0.02);
	assert_true(fabs(probability(25) - 0.5) < 0.02);
	begin(20);
	hearth_population_add(&population, &busy, 100 * DAY);
	estimate();
	before = probability(1);
	begin(20);
	estimate();
	assert_true(before - probability(1) < 1 / 21.0); /* one of 21 */
}

static void a_wait_without_end_counts_as_longer(void **state)
{
	struct hearth_gaps g = timer(5, 0, 0);

	(void)state;
	begin(1);
	for (int i = 0; i < 50; i++)
		hearth_population_add(&population, &g, 20 * 3600.0);
	estimate();
	assert_true(probability(5) < 0.01 && probability(0) < 0.02);
}

static void a_function_says_little_before_a_day_has_passed(void **state)
{
	struct hearth_gaps hours = timer(1, 3 * 60, DAY), days = timer(1, 3 * 1440, DAY);
	double before, after;

	(void)state;
	begin(20);
	estimate();
	before = probability(1);
	hearth_population_add(&population, &hours, DAY);
	estimate();
	after = probability(1);
	assert_true(after > before);
	begin(20);
	hearth_population_add(&population, &days, DAY);
	estimate();
	assert_true(probability(1) - before > 6 * (after - before));
}

static void silent_functions_fade(void **state)
{
	struct hearth_gaps g = timer(25, 100, 0);
	double fresh, old;

	(void)state;
	begin(20);
	for (int i = 0; i < 20; i++)
		hearth_population_add(&population, &g, 0);
	estimate();
	fresh = probability(25);
	begin(20);
	for (int i = 0; i < 20; i++)
		hearth_population_add(&population, &g, 28 * DAY);
	estimate();
	old = probability(25);
	assert_true(old < fresh / 5);
}

static void old_gaps_leave_the_ring(void **state)
{
	struct hearth_gaps g = timer(25, 1000, 0);

	(void)state;
	for (int i = 1; i <= HEARTH_GAPS; i++)
		hearth_gaps_arrive(&g, i * 7 * MINUTE);
	assert_int_equal(hearth_gaps_held(&g), HEARTH_GAPS);
	for (unsigned int i = 0; i < HEARTH_GAPS; i++)
		assert_int_equal(hearth_gaps_at(&g, i), 7);
	hearth_gaps_arrive(&g, 10 * DAY);
	assert_int_equal(hearth_gaps_at(&g, HEARTH_GAPS - 1), HEARTH_PRIOR_MINUTES);
}

static void a_clock_set_back_teaches_nothing(void **state)
{
	struct hearth_gaps g = timer(25, 3, DAY);

	(void)state;
	hearth_gaps_arrive(&g, 0);
	hearth_gaps_arrive(&g, NAN);
	assert_int_equal(hearth_gaps_held(&g), 3);
	hearth_gaps_arrive(&g, 5 * MINUTE);
	assert_int_equal(hearth_gaps_at(&g, 3), 5);
}

/* estimate() asserts the rest. */
static void nothing_makes_it_less_than_a_distribution(void **state)
{
	static const double odd[] = {0, -1e9, 1e18, -1e300, 1e300, INFINITY, NAN, 59.9999999};

	(void)state;
	begin(0);
	estimate(); /* of nobody */
	srand(3);
	for (int round = 0; round < 200; round++) {
		begin(rand() % 2 ? 20 : 0);
		for (int f = 0; f < 1 + rand() % 20; f++) {
			struct hearth_gaps g = {};
			double t_s = 0;

			for (int i = 0; i < rand() % 100; i++) {
				t_s += exp(rand() % 14);
				hearth_gaps_arrive(&g, rand() % 20 ? t_s : odd[rand() % 8]);
			}
			hearth_population_add(&population, &g, rand() % 5 ? t_s : odd[rand() % 8]);
		}
		estimate();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_functions_it_is_the_prior_itself),
	    cmocka_unit_test(it_becomes_what_the_functions_of_the_node_do),
	    cmocka_unit_test(a_busy_function_weighs_no_more_than_a_rare_one),
	    cmocka_unit_test(a_wait_without_end_counts_as_longer),
	    cmocka_unit_test(a_function_says_little_before_a_day_has_passed),
	    cmocka_unit_test(silent_functions_fade),
	    cmocka_unit_test(old_gaps_leave_the_ring),
	    cmocka_unit_test(a_clock_set_back_teaches_nothing),
	    cmocka_unit_test(nothing_makes_it_less_than_a_distribution),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
