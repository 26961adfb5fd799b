/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The workload generator: repeatable, readable, like the population it imitates. */
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

#include "trace/draw.h"
#include "trace/gen.h"
#include "trace/trace.h"

static char dir[] = "/tmp/hearth-gen-XXXXXX";
static char err[512];

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static struct gen_result generated(const char *name, const struct gen_options *o)
{
	struct gen_result r;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (gen_write(path, o, &r, err, sizeof(err)))
		fail_msg("%s", err);
	return r;
}

static void laws_have_their_means(void **state)
{
	struct draw d = {1};
	double gamma = 0, poisson = 0, small = 0;
	enum { N = 100000 };

	(void)state;
	for (int i = 0; i < N; i++) {
		gamma += draw_gamma(&d, 2.5);
		small += draw_gamma(&d, 0.2);
		poisson += draw_poisson(&d, 3);
	}
	assert_true(fabs(gamma / N - 2.5) < 4 * sqrt(2.5 / N));
	assert_true(fabs(small / N - 0.2) < 4 * sqrt(0.2 / N));
	assert_true(fabs(poisson / N - 3) < 4 * sqrt(3.0 / N));
}

static void the_population_is_hit(void **state)
{
	struct gen_options o = {.apps = 2000, .days = 1, .seed = 1, .max_per_day = 20000};
	struct gen_result r = generated("population", &o);

	(void)state;
	for (const struct gen_target *t = gen_targets; t->what; t++) {
		double got = *(const double *)((const char *)&r + t->at);
		double most = t->value <= 1 ? 0.07 : 0.15 * t->value;

		if (!strcmp(t->what, "apps with at most 1 call a minute"))
			most = 0.1; /* the busiest are left out here */
		if (strstr(t->source, "figure 7"))
			most = 0.3 * t->value; /* of 2000: a standard error of 7 to 9% */
		if (fabs(got - t->value) > most)
			fail_msg("%s: %g, expected about %g", t->what, got, t->value);
	}
}

static void what_it_writes_is_a_trace_of_all_days(void **state)
{
	struct gen_options o = {.apps = 30, .days = 3, .seed = 7, .max_per_day = 5000};
	struct gen_result r = generated("days", &o);
	struct trace_options by = {.by = TRACE_BY_FUNCTION};
	char path[128], *paths[] = {path};
	const struct trace_block *b;
	struct trace_info info;
	struct trace *t;
	int days = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/days", dir);
	assert_int_equal(trace_open(paths, 1, &by, &t, err, sizeof(err)), 0);
	while (trace_next(t, &b) > 0)
		days++;
	trace_info(t, &info);
	assert_int_equal(days, 3);
	assert_true(info.end_s == 3 * 86400);
	assert_int_equal(info.invocations, r.invocations);
	assert_int_equal(info.skipped, 0);
	trace_close(t);
}

static void a_seed_decides_everything(void **state)
{
	struct gen_options o = {.apps = 20, .days = 1, .seed = 3};
	char command[256];

	(void)state;
	generated("one", &o);
	generated("two", &o);
	o.seed = 4;
	generated("three", &o);
	snprintf(command, sizeof(command), "diff -r %s/one %s/two >/dev/null", dir, dir);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "diff -r %s/one %s/three >/dev/null", dir, dir);
	assert_int_not_equal(system(command), 0);
}

static void nothing_is_overwritten(void **state)
{
	struct gen_options o = {.apps = 2, .days = 1, .seed = 3};
	struct gen_result r;
	char path[128];

	(void)state;
	generated("once", &o);
	snprintf(path, sizeof(path), "%s/once", dir);
	assert_int_equal(gen_write(path, &o, &r, err, sizeof(err)), -EEXIST);
	assert_non_null(strstr(err, "invocations_per_function_md.anon.d01.csv: File exists"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(laws_have_their_means),
	    cmocka_unit_test(the_population_is_hit),
	    cmocka_unit_test(what_it_writes_is_a_trace_of_all_days),
	    cmocka_unit_test(a_seed_decides_everything),
	    cmocka_unit_test(nothing_is_overwritten),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
