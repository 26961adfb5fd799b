/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From windows to tiers: what is resident when, and what decides outside the windows. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/ladder.h>

#define BIT(r) (1u << (r))
#define ALL    (BIT(HEARTH_WARM) | BIT(HEARTH_FROZEN) | BIT(HEARTH_RECLAIMED))

static uint32_t bins[240];

/* 100 MB; 0.1 ms, 140 ms, 2 s; a cold start is worth ten minutes. */
static struct hearth_ladder ladder(unsigned int allowed)
{
	return (struct hearth_ladder){
	    .allowed = allowed,
	    .bytes = {100e6, 100e6, 20e6, 0},
	    .latency_s = {0, 1e-4, 0.14, 2},
	    .restore_s = 0.15,
	    .reclaim_s = 0.1,
	    .cold_cost_s = 600,
	};
}

static struct hearth_hist nothing(void)
{
	memset(bins, 0, sizeof(bins));
	return (struct hearth_hist){.bins = bins, .nbins = 240, .bin_s = 60};
}

static struct hearth_hist always(unsigned int minute)
{
	struct hearth_hist h = nothing();

	bins[minute] = 1000;
	h.s1 = 1000;
	h.s2 = 1000000;
	return h;
}

static enum hearth_rung at(const struct hearth_rung_step *s, int n, double age)
{
	double until;

	return hearth_ladder_at(s, (size_t)n, age, &until);
}

static void two_tiers_are_the_windows_themselves(void **state)
{
	const struct hearth_decision d = {2, {{0, 60}, {600, 900}}, ""};
	struct hearth_ladder l = ladder(BIT(HEARTH_WARM) | BIT(HEARTH_FROZEN));
	struct hearth_rung_step s[HEARTH_LADDER_STEPS];
	struct hearth_hist h = always(11);
	int n = hearth_ladder_plan(&d, &h, &l, s);

	(void)state;
	assert_int_equal(n, 4);
	assert_int_equal(s[0].rung, HEARTH_WARM);
	assert_int_equal(s[1].rung, HEARTH_FROZEN);
	assert_true(s[1].at_s == 60);
	assert_int_equal(s[2].rung, HEARTH_WARM);
	assert_true(s[2].at_s == 600);
	assert_int_equal(s[3].rung, HEARTH_FROZEN);
	assert_true(s[3].at_s == 900);
}

static void long_gap_is_spent_reclaimed_and_left_ahead_of_the_window(void **state)
{
	const struct hearth_decision d = {1, {{3600, 3660}}, ""};
	struct hearth_ladder l = ladder(ALL);
	struct hearth_rung_step s[HEARTH_LADDER_STEPS];
	struct hearth_hist h = always(60);
	int n = hearth_ladder_plan(&d, &h, &l, s);

	(void)state;
	assert_int_equal(at(s, n, 0), HEARTH_RECLAIMED); /* nothing is expected for an hour */
	assert_int_equal(at(s, n, 3599.8), HEARTH_RECLAIMED);
	assert_int_equal(at(s, n, 3599.9), HEARTH_FROZEN); /* restored, and frozen until then */
	assert_int_equal(at(s, n, 3630), HEARTH_FROZEN);
	assert_int_equal(at(s, n, 7200), HEARTH_RECLAIMED);
}

static void gap_too_short_to_earn_the_moves_stays_resident(void **state)
{
	const struct hearth_decision d = {2, {{0, 60}, {65, 600}}, ""};
	struct hearth_ladder l = ladder(ALL);
	struct hearth_rung_step s[HEARTH_LADDER_STEPS];
	struct hearth_hist h = always(5);
	int n = hearth_ladder_plan(&d, &h, &l, s);

	(void)state;
	assert_int_equal(at(s, n, 61), HEARTH_FROZEN);
	assert_int_equal(at(s, n, 64.9), HEARTH_FROZEN);
	assert_int_equal(at(s, n, 66), HEARTH_WARM);
}

static void unknown_function_is_reclaimed_once_its_hazard_is_low(void **state)
{
	const struct hearth_decision d = {0};
	struct hearth_ladder l = ladder(ALL);
	struct hearth_rung_step s[HEARTH_LADDER_STEPS];
	struct hearth_hist h = nothing();
	int n = hearth_ladder_plan(&d, &h, &l, s);

	(void)state;
	/* hazard 1 / (60 + age) is below 0.8 / 42 at once, but the work of it has to pay */
	assert_int_equal(n, 2);
	assert_int_equal(s[0].rung, HEARTH_FROZEN);
	assert_int_equal(s[1].rung, HEARTH_RECLAIMED);
	assert_true(s[1].at_s < 60);
	l.latency_s[HEARTH_RECLAIMED] = 1; /* penalty 300: threshold 0.8 / 300 = 1 / 375 */
	n = hearth_ladder_plan(&d, &h, &l, s);
	assert_int_equal(n, 2);
	assert_int_equal(s[0].rung, HEARTH_FROZEN);
	assert_int_equal(s[1].rung, HEARTH_RECLAIMED);
	assert_true(s[1].at_s > 250 && s[1].at_s < 500);
}

static void window_about_being_alive_is_left_when_memory_is_worth_more(void **state)
{
	const struct hearth_decision d = {2, {{0, 14400}, {20000, 21000}}, ""};
	const struct hearth_decision endless = {1, {{0, INFINITY}}, ""};
	struct hearth_ladder l = ladder(ALL);
	struct hearth_rung_step s[HEARTH_LADDER_STEPS];
	struct hearth_hist h = nothing();
	int n = hearth_ladder_plan(&d, &h, &l, s);

	(void)state;
	assert_int_equal(at(s, n, 14399), HEARTH_WARM);
	l.alive = true;
	n = hearth_ladder_plan(&d, &h, &l, s);
	assert_int_equal(at(s, n, 1), HEARTH_WARM); /* may still come back at once */
	assert_int_equal(at(s, n, 60), HEARTH_RECLAIMED);
	assert_int_equal(at(s, n, 14399), HEARTH_RECLAIMED);
	assert_int_equal(at(s, n, 20500),
			 HEARTH_FROZEN); /* a predicted arrival finds it resident */
	h = always(0);
	n = hearth_ladder_plan(&d, &h, &l, s);
	assert_int_equal(at(s, n, 20), HEARTH_WARM);
	assert_int_equal(at(s, n, 600), HEARTH_RECLAIMED);
	n = hearth_ladder_plan(&endless, &h, &l, s);
	assert_int_equal(n, 1);
	assert_int_equal(s[0].rung, HEARTH_WARM);
	l.allowed = BIT(HEARTH_WARM) | BIT(HEARTH_FROZEN) | BIT(HEARTH_GONE);
	n = hearth_ladder_plan(&d, &h, &l, s);
	assert_int_equal(at(s, n, 14399), HEARTH_WARM); /* a freeze saves no memory */
}

static void gone_is_for_those_who_hardly_come_back(void **state)
{
	const struct hearth_decision d = {1, {{0, 60}}, ""};
	struct hearth_ladder l = ladder(ALL | BIT(HEARTH_GONE));
	struct hearth_rung_step s[HEARTH_LADDER_STEPS];
	struct hearth_hist h = nothing();
	int n = hearth_ladder_plan(&d, &h, &l, s);

	(void)state;
	/* 0.2 / 558 is the hazard below which a tenth of memory is not worth it: 1 / 2790 */
	assert_int_equal(at(s, n, 1000), HEARTH_RECLAIMED);
	assert_int_equal(at(s, n, 86400), HEARTH_GONE);
	l = ladder(ALL);
	n = hearth_ladder_plan(&d, &h, &l, s);
	assert_int_equal(at(s, n, 86400), HEARTH_RECLAIMED); /* never, unless allowed */
}

static void highest_allowed_tier_is_that_of_the_windows(void **state)
{
	const struct hearth_decision d = {1, {{0, INFINITY}}, ""};
	struct hearth_ladder l = ladder(BIT(HEARTH_FROZEN) | BIT(HEARTH_RECLAIMED));
	struct hearth_rung_step s[HEARTH_LADDER_STEPS];
	struct hearth_hist h = nothing();

	(void)state;
	assert_int_equal(hearth_ladder_plan(&d, &h, &l, s), 1);
	assert_int_equal(s[0].rung, HEARTH_FROZEN);
	l.allowed = BIT(HEARTH_RECLAIMED);
	assert_int_equal(hearth_ladder_plan(&d, &h, &l, s), 1);
	assert_int_equal(s[0].rung, HEARTH_RECLAIMED);
	l.allowed = 0;
	assert_int_equal(hearth_ladder_plan(&d, &h, &l, s), -EINVAL);
	l = ladder(ALL);
	l.bytes[HEARTH_WARM] = NAN;
	assert_int_equal(hearth_ladder_plan(&(struct hearth_decision){0}, &h, &l, s), -EINVAL);
}

static void survival_falls_from_one_and_knows_what_was_seen(void **state)
{
	struct hearth_hist h = always(10);
	double last = 1, x;

	(void)state;
	assert_true(hearth_survival(&h, 0) == 1);
	for (x = 1; x < 1e6; x *= 1.3) {
		assert_true(hearth_survival(&h, x) <= last);
		last = hearth_survival(&h, x);
		assert_true(last > 0);
	}
	assert_true(hearth_survival(&h, 599) > 0.99);
	assert_true(hearth_survival(&h, 661) < 0.01);
	h.oob = 1000;
	assert_true(hearth_survival(&h, 14400) > 0.49);
	assert_true(hearth_survival(&h, 28800) < 0.26);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_tiers_are_the_windows_themselves),
	    cmocka_unit_test(long_gap_is_spent_reclaimed_and_left_ahead_of_the_window),
	    cmocka_unit_test(gap_too_short_to_earn_the_moves_stays_resident),
	    cmocka_unit_test(unknown_function_is_reclaimed_once_its_hazard_is_low),
	    cmocka_unit_test(window_about_being_alive_is_left_when_memory_is_worth_more),
	    cmocka_unit_test(gone_is_for_those_who_hardly_come_back),
	    cmocka_unit_test(highest_allowed_tier_is_that_of_the_windows),
	    cmocka_unit_test(survival_falls_from_one_and_knows_what_was_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
