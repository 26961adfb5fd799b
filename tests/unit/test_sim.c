/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The simulator's rules, one by one: windows, waste, jitter, timers, hosts. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/progress.h"
#include "lib/util.h"
#include "sim/capacity.h"
#include "sim/fit.h"
#include "sim/replay.h"
#include "sim/summary.h"
#include "sim/timers.h"

static char err[512];

static struct hearth_policy *policy(const char *spec)
{
	struct hearth_policy *p;

	if (hearth_policy_parse(spec, 600, &p, err, sizeof(err)))
		fail_msg("%s", err);
	return p;
}

/* What the arrivals cost under a policy; each runs for busy_s; the trace ends at end_s. */
static struct sim_tally tally(const char *spec, const double *t_s, size_t n, double busy_s,
			      double end_s)
{
	struct hearth_policy *p = policy(spec);
	struct lane *l = lane_new(p);
	struct sim_tally y;

	for (size_t i = 0; i < n; i++)
		lane_arrive(l, p, t_s[i], busy_s);
	lane_finish(l, p, end_s);
	y = l->tally;
	lane_free(l);
	hearth_policy_free(p);
	return y;
}

static void a_window_is_closed_on_the_left_and_open_on_the_right(void **state)
{
	const double t_s[] = {0, 600, 1199};
	struct sim_tally y = tally("fixed:10", t_s, 3, 0, 1199);

	(void)state;
	assert_int_equal(y.arrivals, 3);
	assert_int_equal(y.cold, 2); /* the first one, and the one at 600 s sharp */
	assert_true(y.waste_s == 600 + 599);
}

static void the_tail_is_charged_up_to_the_end_of_the_trace(void **state)
{
	const double t_s[] = {0};

	(void)state;
	assert_true(tally("fixed:10", t_s, 1, 0, 60).waste_s == 60);
	assert_true(tally("fixed:10", t_s, 1, 0, 6000).waste_s == 600);
	assert_true(tally("always", t_s, 1, 0, 6000).waste_s == 6000);
	assert_true(tally("none", t_s, 1, 0, 6000).waste_s == 0);
	assert_true(tally("offline", t_s, 1, 0, 6000).waste_s == 0);
}

static void executions_are_no_idle_time(void **state)
{
	const double t_s[] = {0, 100, 150, 800};
	struct sim_tally y = tally("fixed:10", t_s, 4, 80, 880);

	(void)state;
	/* 80..100 and 230..800 are idle; the third joins the second */
	assert_int_equal(y.cold, 1);
	assert_true(y.waste_s == 20 + 570);
}

static void a_window_ahead_counts_as_a_load(void **state)
{
	double t_s[40];
	struct sim_tally y;

	(void)state;
	for (int i = 0; i < 40; i++)
		t_s[i] = i * 3600.0 + 30;
	y = tally("hybrid:240,arima=off,min_its=3", t_s, 40, 0, t_s[39]);
	assert_true(y.prewarms > 30);
	assert_int_equal(y.cold, 1);
	assert_true(y.waste_s < 0.3 * 39 * 3600);
	assert_int_equal(tally("fixed:120", t_s, 40, 0, t_s[39]).prewarms, 0);
}

static void offline_pays_the_smaller_price_of_each_idle_time(void **state)
{
	const double t_s[] = {0, 500, 2000};
	struct sim_tally y = tally("offline", t_s, 3, 0, 9000);

	(void)state;
	assert_int_equal(y.cold, 2);
	assert_true(fabs(y.waste_s - 500) < 1e-6);
}

static void even_and_random_arrivals_stay_in_their_minute_and_order(void **state)
{
	struct trace_run run = {.t_s = 120, .n = 1000};
	struct spread_options even = {0}, random = {.jitter = true, .seed = 5};
	double sum = 0, t_s, last = 0;
	struct spread a, b;

	(void)state;
	spread_start(&a, &even, "u", &run, 60);
	for (int i = 0; spread_next(&a, &t_s); i++)
		assert_true(t_s == 120 + i * 60.0 / 1000);
	spread_start(&a, &random, "u", &run, 60);
	spread_start(&b, &random, "u", &run, 60);
	while (spread_next(&a, &t_s)) {
		double again;

		assert_true(spread_next(&b, &again) && again == t_s);
		assert_true(t_s >= last && t_s >= 120 && t_s < 180);
		last = t_s;
		sum += t_s - 120;
	}
	assert_true(fabs(sum / 1000 - 30) < 4 * 60 / sqrt(12 * 1000));
	spread_start(&b, &random, "v", &run, 60);
	spread_start(&a, &random, "u", &run, 60);
	assert_true(spread_next(&a, &t_s) && spread_next(&b, &last) && t_s != last);
}

static void percentiles_are_interpolated(void **state)
{
	double v[] = {40, 10, 20, 30};

	(void)state;
	assert_true(summary_percentile(v, 4, 75) == 32.5);
	assert_true(summary_percentile(v, 4, 0) == 10);
	assert_true(summary_percentile(v, 4, 100) == 40);
	assert_true(summary_percentile(v, 1, 75) == 10);
}

static void timers_fire_in_order_also_after_moves_and_cancels(void **state)
{
	enum { N = 500 };
	struct timer t[N] = {0};
	struct timers ts = {0};
	double last = 0;
	int fired = 0;

	(void)state;
	srand(3);
	for (int i = 0; i < N; i++)
		assert_int_equal(timers_set(&ts, &t[i], rand() % 1000), 0);
	for (int i = 0; i < N; i += 3)
		timers_cancel(&ts, &t[i]);
	timers_cancel(&ts, &t[0]);
	for (int i = 1; i < N; i += 3)
		assert_int_equal(timers_set(&ts, &t[i], rand() % 1000), 0);
	for (struct timer *f; (f = timers_first(&ts)); fired++) {
		assert_true(f->due_s >= last);
		last = f->due_s;
		timers_cancel(&ts, f);
	}
	assert_int_equal(fired, N - (N + 2) / 3);
	timers_done(&ts);
}

/* Cold starts and waste of every policy on the sample in the project. */
static void replay_sample(unsigned int threads, bool jitter, const char *const specs[], size_t n,
			  uint64_t cold[], double waste_s[])
{
	struct replay_options o = {.threads = threads, .spread = {.jitter = jitter, .seed = 9}};
	char *path = "tests/data/azure2019-small";
	struct hearth_policy *p[8];
	struct replay *r;
	struct trace *t;
	size_t units;

	for (size_t i = 0; i < n; i++)
		p[i] = policy(specs[i]);
	if (trace_open(&path, 1, &(struct trace_options){0}, &t, err, sizeof(err)))
		fail_msg("%s (tests run at the top of the tree)", err);
	assert_int_equal(replay_new((const struct hearth_policy *const *)p, n, &o, &r), 0);
	assert_int_equal(replay_run(r, t), 0);
	trace_units(t, &units);
	for (size_t i = 0; i < n; i++) {
		cold[i] = 0;
		waste_s[i] = 0;
		for (size_t u = 0; u < units; u++) {
			cold[i] += replay_tally(r, i, u)->cold;
			waste_s[i] += replay_tally(r, i, u)->waste_s;
		}
	}
	replay_free(r);
	trace_close(t);
	for (size_t i = 0; i < n; i++)
		hearth_policy_free(p[i]);
}

static void neither_threads_nor_other_policies_change_a_result(void **state)
{
	static const char *const specs[] = {"fixed:10", "hybrid:240,arima=off", "hawkes",
					    "hawkes-insample"};
	uint64_t one[4], many[4], alone;
	double one_s[4], many_s[4], alone_s;

	(void)state;
	replay_sample(1, true, specs, 4, one, one_s);
	replay_sample(8, true, specs, 4, many, many_s);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(one[i], many[i]);
		assert_true(one_s[i] == many_s[i]);
		replay_sample(3, true, specs + i, 1, &alone, &alone_s);
		assert_true(alone == one[i] && alone_s == one_s[i]);
	}
	replay_sample(1, false, specs, 1, &alone, &alone_s);
	assert_true(alone_s != one_s[0]);
}

/* Functions of 100 MB that take 1 s warm and 4 s cold, with these starts. */
static struct capacity_total host(const char *rows, const char *spec, const char *ranker,
				  double memory_mb, double queue_s)
{
	char path[] = "/tmp/hearth-sim-XXXXXX";
	FILE *f = fdopen(mkstemp(path), "w");
	struct capacity_setting s = {
	    .policy = policy(spec), .memory_mb = memory_mb, .queue_s = queue_s};
	struct capacity_total total;
	struct hearth_ranker *r;
	struct capacity *c;
	struct trace *t;
	int function, start;

	fprintf(f, "function,start_ms,warm_ms,cold_ms,mem_mb\n");
	for (int n; sscanf(rows, "f%d@%d %n", &function, &start, &n) == 2; rows += n)
		fprintf(f, "f%d,%d,1000,4000,100\n", function, start * 1000);
	fclose(f);
	assert_int_equal(hearth_ranker_parse(ranker, &r, err, sizeof(err)), 0);
	s.ranker = r;
	assert_int_equal(
	    trace_open(&(char *){path}, 1, &(struct trace_options){0}, &t, err, sizeof(err)), 0);
	assert_int_equal(capacity_new(&s, 1, &(struct spread_options){0}, &c), 0);
	assert_int_equal(capacity_run(c, t), 0);
	total = *capacity_total(c, 0);
	assert_int_equal(total.arrivals, total.cold + total.warm + total.dropped);
	capacity_free(c);
	trace_close(t);
	hearth_ranker_free(r);
	hearth_policy_free((struct hearth_policy *)s.policy);
	unlink(path);
	return total;
}

static void progress_goes_from_step_to_step_by_pieces(void **state)
{
	struct progress p = {0};

	(void)state;
	progress_stage(&p, "replaying");
	assert_true(progress_share(&p) == 0);
	progress_step(&p, 0.5);
	assert_true(progress_share(&p) == 0);
	progress_pieces(&p, 4);
	progress_piece(&p);
	assert_true(progress_share(&p) == 0.125);
	progress_step(&p, 1);
	assert_true(progress_share(&p) == 0.5);
	progress_stage(&p, "again");
	assert_true(progress_share(&p) == 0);
	progress_stage(NULL, "nobody looks");
	progress_step(NULL, 1);
	progress_pieces(NULL, 1);
	progress_piece(NULL);
}

static void reading_a_trace_ends_at_its_end(void **state)
{
	struct trace_options o = {.max_invocations = 1000000};
	char *path = "tests/data/azure2019-small";
	const struct trace_block *b;
	struct progress p = {0};
	struct trace *t;

	(void)state;
	o.progress = &p;
	assert_int_equal(trace_open(&path, 1, &o, &t, err, sizeof(err)), 0);
	assert_string_equal(p.stage, "counting");
	assert_true(trace_progress(t) == &p);
	progress_stage(&p, "reading");
	while (trace_next(t, &b) > 0)
		assert_true(progress_share(&p) < 1);
	progress_step(&p, 1);
	assert_true(progress_share(&p) == 1);
	trace_close(t);
}

static void an_idle_instance_serves_the_next_call_warm(void **state)
{
	struct capacity_total y = host("f1@0 f1@10 f1@20 ", "always", "lru", 100, 0);

	(void)state;
	assert_int_equal(y.cold, 1);
	assert_int_equal(y.warm, 2);
	y = host("f1@0 f1@700 f1@2000 ", "fixed:15", "lru", 100, 0);
	assert_int_equal(y.cold, 2); /* unloaded at 1601 s */
	assert_int_equal(y.evictions, 0);
}

static void running_instances_are_never_evicted(void **state)
{
	struct capacity_total y = host("f1@0 f2@1 f2@10 ", "always", "lru", 100, 0);

	(void)state;
	assert_int_equal(y.dropped, 1); /* at 1 s: f1 runs until 4 s */
	assert_int_equal(y.evictions, 1);
	assert_int_equal(y.cold, 2);
}

static void a_call_without_room_waits_its_turn(void **state)
{
	struct capacity_total y = host("f1@0 f2@1 f1@2 ", "always", "lru", 100, 60);

	(void)state;
	assert_int_equal(y.queued, 2);
	assert_int_equal(y.dropped, 0);
	assert_int_equal(y.warm, 1); /* f1 takes over its instance at 4 s, f2 starts at 5 s */
	assert_true(y.wait_s == 2 + 4);
	y = host("f1@0 f2@1 f1@9 ", "always", "lru", 100, 2);
	assert_int_equal(y.dropped, 1); /* gave up at 3 s */
	assert_int_equal(y.warm, 1);
}

static void young_instances_stay_and_waiting_calls_see_them_age(void **state)
{
	struct capacity_total y =
	    host("f1@0 f2@10 f1@11 f1@40 ", "always", "lru,min-residency=30", 100, 60);

	(void)state;
	assert_int_equal(y.dropped, 0);
	assert_int_equal(y.warm, 1); /* at 11 s; f2 displaces f1 at 40 s, f1 waits for f2 */
	assert_int_equal(y.queued, 2);
}

static void the_oldest_goes_first_under_lru(void **state)
{
	struct capacity_total y = host("f1@0 f2@10 f1@20 f3@30 f1@40 ", "always", "lru", 200, 0);

	(void)state;
	assert_int_equal(y.evictions, 1); /* f2 */
	assert_int_equal(y.cold, 3);
	assert_int_equal(y.warm, 2);
}

static void fits_tell_timers_from_chance_and_test_on_the_rest(void **state)
{
	enum { N = 2000 };
	static double timer[N], chance[N];
	struct gathered units[] = {{timer, N, N}, {chance, N, N}, {timer, 2, 2}};
	struct gather g = {units, 3};
	struct fit_row rows[3];

	(void)state;
	srand(2);
	for (int i = 0; i < N; i++) {
		timer[i] = 30 + i * 60.0;
		chance[i] = (i ? chance[i - 1] : 0) - 60 * log((rand() + 1.0) / (RAND_MAX + 2.0));
	}
	assert_int_equal(fit_units(&g, 0, N * 60.0, 0.5, rows), 0);
	assert_string_equal(rows[0].kind, "timer");
	assert_string_equal(rows[1].kind, "poisson");
	assert_string_equal(rows[2].kind, "rare");
	assert_int_equal(rows[0].fitted, N / 2);
	assert_true(rows[0].ks > 0.4 && rows[1].ks < 0.1 && isnan(rows[2].ks));
	assert_int_not_equal(rows[2].error, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_window_is_closed_on_the_left_and_open_on_the_right),
	    cmocka_unit_test(the_tail_is_charged_up_to_the_end_of_the_trace),
	    cmocka_unit_test(executions_are_no_idle_time),
	    cmocka_unit_test(a_window_ahead_counts_as_a_load),
	    cmocka_unit_test(offline_pays_the_smaller_price_of_each_idle_time),
	    cmocka_unit_test(even_and_random_arrivals_stay_in_their_minute_and_order),
	    cmocka_unit_test(percentiles_are_interpolated),
	    cmocka_unit_test(timers_fire_in_order_also_after_moves_and_cancels),
	    cmocka_unit_test(neither_threads_nor_other_policies_change_a_result),
	    cmocka_unit_test(progress_goes_from_step_to_step_by_pieces),
	    cmocka_unit_test(reading_a_trace_ends_at_its_end),
	    cmocka_unit_test(an_idle_instance_serves_the_next_call_warm),
	    cmocka_unit_test(running_instances_are_never_evicted),
	    cmocka_unit_test(a_call_without_room_waits_its_turn),
	    cmocka_unit_test(young_instances_stay_and_waiting_calls_see_them_age),
	    cmocka_unit_test(the_oldest_goes_first_under_lru),
	    cmocka_unit_test(fits_tell_timers_from_chance_and_test_on_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
