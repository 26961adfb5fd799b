/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Shadow policies: charged as the simulator charges the same arrivals, open idle
 * times up to now and nothing while busy, rows always comparable; from what was
 * learned before, with the memory of the time.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/shadow.h"
#include "trace/prior.h"

#define COLD_COST_S 60

static struct hearth_gaps gaps;
static struct hearth_hist hist;
static double idle_since_s = NAN;
static bool may_go;

static void configure(struct shadow **s, const char *acting, const char *specs, double now_s)
{
	struct prior prior = {};
	struct hearth_policy *policy;
	char err[256];
	void *state;

	assert_int_equal(hearth_policy_parse(acting, COLD_COST_S, &policy, err, sizeof(err)), 0);
	memcpy(prior.cells, hearth_policy_prior(&prior.n), prior.n * sizeof(*prior.cells));
	state = calloc(1, hearth_policy_state_size(policy) + 1);
	hearth_gaps_teach(&gaps, policy, state);
	assert_int_equal(shadow_configure(s, &(struct shadow_start){.acting = policy,
								    .acting_state = state,
								    .specs = specs,
								    .prior = &prior,
								    .cold_cost_s = COLD_COST_S,
								    .now_s = now_s,
								    .hist = &hist,
								    .gaps = &gaps,
								    .idle_since_s = idle_since_s,
								    .may_go = may_go}),
			 0);
	free(state);
	hearth_policy_free(policy);
}

static struct shadow *make(const char *acting, const char *specs)
{
	struct shadow *s = NULL;

	configure(&s, acting, specs, 5);
	return s;
}

/* Busy at 0, 100, 130; each for 10 s. */
static void feed(struct shadow *s)
{
	static const double begins[] = {0, 100, 130};

	for (size_t i = 0; i < 3; i++) {
		shadow_busy(s, begins[i], false);
		shadow_idle(s, begins[i] + 10);
	}
}

/* The first start is the cold one. */
static void expect(const struct snapshot_shadow *row, const char *policy, uint64_t missed,
		   uint64_t warm, double waste_s)
{
	assert_string_equal(row->policy, policy);
	assert_int_equal(row->cold_starts + row->lukewarm_starts, missed);
	assert_int_equal(row->cold_starts, missed > 0);
	assert_int_equal(row->warm_starts, warm);
	if (fabs(row->waste_s - waste_s) > 1e-9)
		fail_msg("%s: waste %g, not %g", policy, row->waste_s, waste_s);
	assert_true(row->cost_s == row->waste_s + COLD_COST_S * (double)missed);
	assert_true(isnan(row->waste_gb_s) && isnan(row->cost_gb_s));
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
	shadow_busy(s, 100, false);
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
	configure(&s, "always", "none", 200);
	assert_int_equal(shadow_view(s, 140, rows, &since_s), 2);
	assert_true(since_s == 5);
	expect(&rows[0], "always", 1, 2, 110);
	expect(&rows[1], "none", 3, 0, 0);
	configure(&s, "always", "none fixed:1m", 200);
	assert_int_equal(shadow_view(s, 140, rows, &since_s), 3);
	assert_true(since_s == 200);
	expect(&rows[0], "always", 0, 0, 0);
	configure(&s, "always", " ", 200);
	assert_null(s);
	assert_int_equal(shadow_view(s, 140, rows, &since_s), 0);
	shadow_busy(s, 1, false);
	shadow_idle(s, 2);
	shadow_memory(s, 3, 1e9);
}

static void a_shadow_learns_from_what_it_sees(void **state)
{
	struct shadow *s = make("none", "hybrid:240,arima=off");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s, t_s = 0;

	(void)state;
	for (int i = 0; i < 100; i++, t_s += 3601) { /* one hour to the minute */
		shadow_busy(s, t_s, false);
		shadow_idle(s, t_s + 1);
	}
	shadow_view(s, t_s, rows, &since_s);
	assert_true(rows[1].loads > 50); /* it unloads, and loads ahead of time */
	assert_int_equal(rows[1].cold_starts, 1);
	assert_int_equal(rows[1].lukewarm_starts, 0);
	shadow_free(s);
}

static void outside_the_windows_is_lukewarm_unless_the_instance_is_new(void **state)
{
	static const struct {
		double t_s;
		bool cold;
		uint64_t colds[2], lukewarm[2], warm[2]; /* after it: of none, of always */
	} starts[] = {
	    {100, true, {1, 1}, {0, 0}, {0, 0}},
	    {200, false, {1, 1}, {1, 0}, {0, 1}},
	    {300, true, {2, 2}, {1, 0}, {0, 1}}, /* none could have kept it */
	    {400, false, {2, 2}, {2, 0}, {0, 2}},
	};
	struct shadow *s = make("none", "always");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s;

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		shadow_busy(s, starts[i].t_s, starts[i].cold);
		shadow_idle(s, starts[i].t_s + 1);
		shadow_view(s, starts[i].t_s + 2, rows, &since_s);
		for (size_t r = 0; r < 2; r++) {
			assert_int_equal(rows[r].cold_starts, starts[i].colds[r]);
			assert_int_equal(rows[r].lukewarm_starts, starts[i].lukewarm[r]);
			assert_int_equal(rows[r].warm_starts, starts[i].warm[r]);
			assert_true(rows[r].cost_s ==
				    rows[r].waste_s +
					COLD_COST_S *
					    (double)(starts[i].colds[r] + starts[i].lukewarm[r]));
		}
	}
	shadow_free(s);
}

static void where_instances_may_go_the_windows_alone_decide(void **state)
{
	struct snapshot_shadow rows[SHADOW_ROWS];
	struct shadow *s;
	double since_s;

	(void)state;
	may_go = true;
	s = make("none", "always fixed:30s");
	may_go = false;
	shadow_busy(s, 10, true);
	shadow_idle(s, 20);
	shadow_busy(s, 100, true); /* what acts let it go */
	shadow_view(s, 100, rows, &since_s);
	for (size_t r = 0; r < 3; r++)
		assert_int_equal(rows[r].lukewarm_starts, 0);
	assert_int_equal(rows[0].cold_starts, 2);
	assert_int_equal(rows[1].cold_starts, 1); /* always would have kept it */
	assert_int_equal(rows[1].warm_starts, 1);
	assert_int_equal(rows[2].cold_starts, 2);
	shadow_free(s);
}

static bool near(double x, double wanted)
{
	return fabs(x - wanted) < 1e-9 * fmax(1, fabs(wanted));
}

static void memory_is_charged_as_it_was_at_the_time(void **state)
{
	struct shadow *s = make("always", "fixed:30s none");
	struct snapshot_shadow rows[SHADOW_ROWS];
	double since_s;

	(void)state;
	shadow_memory(s, 10, NAN);
	shadow_busy(s, 10, true);
	shadow_memory(s, 20, 1e9);
	shadow_idle(s, 20);
	shadow_memory(s, 40, 1e9); /* 20 s at 1 GB */
	shadow_memory(s, 60, 3e9); /* 20 s that rise to 3: 2 on average */
	shadow_memory(s, 80, NAN); /* 20 s: still 3 as far as one knows */
	shadow_memory(s, 70, 9e9); /* late: told already */
	shadow_view(s, 80, rows, &since_s);
	assert_true(near(rows[0].waste_gb_s, 20 + 40 + 60));
	assert_true(near(rows[1].waste_gb_s, 20 + 20)); /* 20 s at 1, 10 at 2 */
	assert_true(near(rows[2].waste_gb_s, 0));
	shadow_memory(s, 80, 2e9);
	shadow_busy(s, 80, false);
	shadow_memory(s, 200, 2e9); /* busy: nobody's waste */
	shadow_view(s, 200, rows, &since_s);
	assert_true(near(rows[0].waste_gb_s, 120));
	assert_true(near(rows[0].cost_gb_s, 120)); /* memory at the cold start is not known */
	assert_true(near(rows[1].cost_gb_s, 40 + COLD_COST_S * 2.0));
	assert_true(near(rows[2].cost_gb_s, COLD_COST_S * 2.0));
	shadow_free(s);
}

static void rows_begin_with_what_the_function_has_learned(void **state)
{
	static uint32_t bins[240];
	struct hearth_hist_buf learned = {bins, {.bins = bins, .nbins = 240, .bin_s = 60}};
	struct snapshot_shadow rows[SHADOW_ROWS];
	struct shadow *s;
	double since_s;

	(void)state;
	for (int i = 0; i <= 40; i++) {
		hearth_gaps_arrive(&gaps, 6000 + i * 1500);
		hearth_hist_add(&learned, 1500);
	}
	hist = learned.view;
	idle_since_s = 66000; /* with the last arrival */
	s = NULL;
	configure(&s, "predictive,cost=10m",
		  "hybrid:240,arima=off hazard:240,cost=10m fixed:10m fixed:1h", 66500);
	shadow_view(s, 66500, rows, &since_s);
	for (size_t r = 0; r < 5; r++)
		assert_true(rows[r].waste_s == 0 && rows[r].cost_s == 0 && rows[r].loads == 0);
	shadow_view(s, 66700, rows, &since_s);
	assert_true(near(rows[3].waste_s, 100)); /* its 10 minutes end at 66600 */
	assert_true(near(rows[4].waste_s, 200));
	shadow_busy(s, 67500, false);
	shadow_view(s, 67500, rows, &since_s);
	for (size_t r = 0; r < 3; r++) { /* loaded ahead of it, at the very first */
		assert_int_equal(rows[r].warm_starts, 1);
		assert_int_equal(rows[r].loads, 1);
		assert_true(rows[r].waste_s < 400);
	}
	assert_int_equal(rows[3].lukewarm_starts, 1);
	assert_int_equal(rows[4].warm_starts, 1);
	assert_true(near(rows[4].waste_s, 1000));
	shadow_free(s);
	gaps = (struct hearth_gaps){};
	hist = (struct hearth_hist){};
	idle_since_s = NAN;
}

static void a_busy_function_is_charged_from_its_next_idle_time(void **state)
{
	struct snapshot_shadow rows[SHADOW_ROWS];
	struct shadow *s = NULL;
	double since_s;

	(void)state;
	idle_since_s = INFINITY;
	configure(&s, "always", "none", 100);
	shadow_view(s, 150, rows, &since_s);
	assert_true(rows[0].waste_s == 0);
	shadow_idle(s, 200);
	shadow_busy(s, 230, false);
	shadow_view(s, 240, rows, &since_s);
	assert_true(near(rows[0].waste_s, 30));
	assert_int_equal(rows[0].cold_starts, 0);
	assert_int_equal(rows[0].warm_starts, 1);
	assert_int_equal(rows[1].lukewarm_starts, 1);
	shadow_free(s);
	idle_since_s = NAN;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_policy_is_charged_for_the_same_arrivals),
	    cmocka_unit_test(nothing_is_charged_while_busy_or_before_the_first_arrival),
	    cmocka_unit_test(a_policy_has_one_row_however_often_it_is_named),
	    cmocka_unit_test(counts_go_on_unless_a_policy_joins),
	    cmocka_unit_test(a_shadow_learns_from_what_it_sees),
	    cmocka_unit_test(outside_the_windows_is_lukewarm_unless_the_instance_is_new),
	    cmocka_unit_test(where_instances_may_go_the_windows_alone_decide),
	    cmocka_unit_test(memory_is_charged_as_it_was_at_the_time),
	    cmocka_unit_test(rows_begin_with_what_the_function_has_learned),
	    cmocka_unit_test(a_busy_function_is_charged_from_its_next_idle_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
