/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Shadow policies: charged as the simulator charges the same arrivals, open idle
 * times up to now and nothing while busy, rows always comparable.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/shadow.h"

#define COLD_COST_S 60

static struct shadow *make(const char *acting, const char *specs)
{
	struct shadow *s = NULL;

	assert_int_equal(shadow_configure(&s, acting, specs, COLD_COST_S, 5), 0);
	return s;
}

/* Busy at 0, 100, 130; each for 10 s. */
static void feed(struct shadow *s)
{
	static const double begins[] = {0, 100, 130};

	for (size_t i = 0; i < 3; i++) {
		shadow_busy(s, begins[i]);
		shadow_idle(s, begins[i] + 10);
	}
}

static void expect(const struct snapshot_shadow *row, const char *policy, uint64_t cold,
		   uint64_t warm, double waste_s)
{
	assert_string_equal(row->policy, policy);
	assert_int_equal(row->cold_starts, cold);
	assert_int_equal(row->warm_starts, warm);
	if (fabs(row->waste_s - waste_s) > 1e-9)
		fail_msg("%s: waste %g, not %g", policy, row->waste_s, waste_s);
	assert_true(row->cost_s == row->waste_s + COLD_COST_S * (double)cold);
}

static void every_policy_is_charged_for_the_same_arrivals(void **state)
{
	struct shadow *s = make("fixed:30s", "none always fixed:1m");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s;

	(void)state;
	feed(s); /* idle times of 90 s and 20 s, then an open one */
	assert_int_equal(shadow_view(s, 150, rows, &since_s), 4);
	assert_true(since_s == 5);
	expect(&rows[0], "fixed:30s", 2, 1, 30 + 20 + 10);
	expect(&rows[1], "none", 3, 0, 0);
	expect(&rows[2], "always", 1, 2, 90 + 20 + 10);
	expect(&rows[3], "fixed:1m", 2, 1, 60 + 20 + 10);
	assert_true(rows[0].acting);
	assert_false(rows[1].acting);
	/* Looking charges nothing twice. */
	shadow_view(s, 150, rows, &since_s);
	expect(&rows[2], "always", 1, 2, 90 + 20 + 10);
	shadow_free(s);
}

static void nothing_is_charged_while_busy_or_before_the_first_arrival(void **state)
{
	struct shadow *s = make("always", "none");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s;

	(void)state;
	shadow_idle(s, 10); /* of a request that began before anybody looked */
	shadow_view(s, 50, rows, &since_s);
	expect(&rows[0], "always", 0, 0, 0);
	shadow_busy(s, 100);
	shadow_view(s, 1000, rows, &since_s);
	expect(&rows[0], "always", 1, 0, 0);
	shadow_free(s);
}

static void a_policy_has_one_row_however_often_it_is_named(void **state)
{
	struct shadow *s = make("fixed:1m", "fixed:60s none \t fixed:1 none");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s;

	(void)state;
	assert_int_equal(shadow_view(s, 0, rows, &since_s), 2);
	assert_string_equal(rows[1].policy, "none");
	shadow_free(s);
}

static void counts_go_on_unless_a_policy_joins(void **state)
{
	struct shadow *s = make("fixed:30s", "none always");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s;

	(void)state;
	feed(s);
	/* One of them acts now, one leaves. */
	assert_int_equal(shadow_configure(&s, "always", "none", COLD_COST_S, 200), 0);
	assert_int_equal(shadow_view(s, 140, rows, &since_s), 2);
	assert_true(since_s == 5);
	expect(&rows[0], "always", 1, 2, 110);
	expect(&rows[1], "none", 3, 0, 0);
	assert_int_equal(shadow_configure(&s, "always", "none fixed:1m", COLD_COST_S, 200), 0);
	assert_int_equal(shadow_view(s, 140, rows, &since_s), 3);
	assert_true(since_s == 200);
	expect(&rows[0], "always", 0, 0, 0);
	assert_int_equal(shadow_configure(&s, "always", " ", COLD_COST_S, 200), 0);
	assert_null(s);
	assert_int_equal(shadow_view(s, 140, rows, &since_s), 0);
	shadow_busy(s, 1);
	shadow_idle(s, 2);
}

static void a_shadow_learns_from_what_it_sees(void **state)
{
	struct shadow *s = make("none", "hybrid:240,arima=off");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s, t_s = 0;

	(void)state;
	for (int i = 0; i < 100; i++, t_s += 3601) { /* one hour to the minute */
		shadow_busy(s, t_s);
		shadow_idle(s, t_s + 1);
	}
	shadow_view(s, t_s, rows, &since_s);
	assert_true(rows[1].loads > 50); /* it unloads, and loads ahead of time */
	assert_int_equal(rows[1].cold_starts, 1);
	shadow_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_policy_is_charged_for_the_same_arrivals),
	    cmocka_unit_test(nothing_is_charged_while_busy_or_before_the_first_arrival),
	    cmocka_unit_test(a_policy_has_one_row_however_often_it_is_named),
	    cmocka_unit_test(counts_go_on_unless_a_policy_joins),
	    cmocka_unit_test(a_shadow_learns_from_what_it_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
