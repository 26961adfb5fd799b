/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Policy specs: what is accepted, how it is written back, what a refusal says. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <hearth/policy.h>

static struct hearth_policy *parse(const char *spec)
{
	struct hearth_policy *p = NULL;
	char err[512] = "";

	if (hearth_policy_parse(spec, 600, &p, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	return p;
}

static void good_specs_have_one_canonical_form(void **state)
{
	static const struct {
		const char *spec, *canonical;
	} table[] = {
	    {"none", "none"},
	    {"always", "always"},
	    {"fixed:10", "fixed:10m"},
	    {"fixed:10m", "fixed:10m"},
	    {"fixed:600s", "fixed:10m"},
	    {"fixed:90s", "fixed:90s"},
	    {"fixed:500ms", "fixed:0.5s"},
	    {"fixed:0.5", "fixed:30s"},
	    {"skirental", "skirental"},
	    {"skirental,cost=10m", "skirental"},
	    {"skirental,cost=1h", "skirental,cost=1h"},
	    {"offline,cost=60", "offline,cost=1h"},
	    {"hybrid", "hybrid:4h"},
	    {"hybrid:240,cv=2,head=5,tail=99,bin=1m,min_its=10,oob=0.5,margin=10,margin_of=edges",
	     "hybrid:4h"},
	    {"hybrid:240,arima=off", "hybrid:4h,arima=off"},
	    {"hybrid:240,arima=on,arima_margin=15", "hybrid:4h"},
	    {"hybrid:60,tail=100,head=0", "hybrid:1h,head=0,tail=100"},
	    {"hybrid:1h,cv=2.25,oob=0.05,margin=12.5,margin_of=window,bin=30s",
	     "hybrid:1h,cv=2.25,bin=30s,oob=0.05,margin=12.5,margin_of=window"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct hearth_policy *p = parse(table[i].spec);
		struct hearth_policy *again = parse(hearth_policy_spec(p));

		assert_string_equal(hearth_policy_spec(p), table[i].canonical);
		assert_string_equal(hearth_policy_spec(again), table[i].canonical);
		hearth_policy_free(again);
		hearth_policy_free(p);
	}
}

static void bad_specs_say_what_is_wrong_and_what_is_accepted(void **state)
{
	static const struct {
		const char *spec, *wrong, *accepted;
	} table[] = {
	    {"", "unknown policy \"\"", "accepted: none, always"},
	    {"hybird", "did you mean \"hybrid\"?", "accepted: none, always"},
	    {"Fixed:10", "did you mean \"fixed\"?", "accepted: none"},
	    {"xylophone", "unknown policy \"xylophone\"", "accepted: none"},
	    {"fixed", "fixed: needs TIME", "a duration"},
	    {"fixed:", "TIME \"\" is not accepted", "a duration"},
	    {"fixed:ten", "TIME \"ten\" is not accepted", "a duration"},
	    {"fixed:-1", "TIME \"-1\" is not accepted", "a duration"},
	    {"fixed:nan", "TIME \"nan\" is not accepted", "a duration"},
	    {"fixed:31d", "TIME \"31d\" is not accepted", "to 30d"},
	    {"fixed:10,", "unknown key \"\"", "accepted: none"},
	    {"fixed:10,T=3", "unknown key \"T\"", "accepted: none"},
	    {"none:1", "takes no argument", "none"},
	    {"skirental,cost=0", "cost \"0\" is not accepted", "from 1ms to 30d"},
	    {"skirental,cost", "cost needs a value", "cost="},
	    {"hybrid,cv", "cv needs a value", "cv="},
	    {"hybrid,cv=1,cv=1", "cv is given twice", "cv"},
	    {"hybrid,cv=1.234", "cv \"1.234\" is not accepted", "two decimals"},
	    {"hybrid,cv=1e3", "cv \"1e3\" is not accepted", "two decimals"},
	    {"hybrid,cv=1.", "cv \"1.\" is not accepted", "two decimals"},
	    {"hybrid,head=5.5", "head \"5.5\" is not accepted", "whole number from 0 to 100"},
	    {"hybrid,head=101", "head \"101\" is not accepted", "whole number from 0 to 100"},
	    {"hybrid,head=60,tail=50", "head=60 is above tail=50", "head"},
	    {"hybrid,margin_of=both", "margin_of \"both\" is not accepted", "edges, window"},
	    {"hybrid:4h,rang=3", "unknown key \"rang\"", "cv, head, tail"},
	    {"hybrid:1h,bin=1s", "RANGE / bin is 3600", "from 1 to 512"},
	    {"hybrid:45,bin=7", "RANGE / bin is", "a whole number of bins"},
	    {"hybrid:1m,bin=1h", "RANGE / bin is", "from 1 to 512"},
	    {"hybrid:4h:5", "RANGE \"4h:5\" is not accepted", "a duration"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct hearth_policy *p = (void *)1;
		char err[512] = "";

		assert_int_equal(hearth_policy_parse(table[i].spec, 600, &p, err, sizeof(err)),
				 -EINVAL);
		if (!strstr(err, table[i].wrong) || !strstr(err, table[i].accepted))
			fail_msg("\"%s\" says: %s", table[i].spec, err);
		assert_null(strchr(err, '\n'));
		assert_ptr_equal(p, (void *)1);
	}
}

static void a_cold_start_must_cost_something(void **state)
{
	static const double bad[] = {0, -1, NAN, INFINITY};
	struct hearth_policy *p;
	char err[512];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(hearth_policy_parse("skirental", bad[i], &p, err, sizeof(err)),
				 -EINVAL);
		assert_non_null(strstr(err, "more than 0"));
	}
}

static void long_and_cut_texts_are_safe(void **state)
{
	struct hearth_policy *p;
	char spec[1024], err[8];

	(void)state;
	memset(spec, 'x', sizeof(spec) - 1);
	spec[sizeof(spec) - 1] = '\0';
	assert_int_equal(hearth_policy_parse(spec, 600, &p, err, sizeof(err)), -EINVAL);
	memcpy(spec, "hybrid:", 7);
	assert_int_equal(hearth_policy_parse(spec, 600, &p, err, sizeof(err)), -EINVAL);
	assert_int_equal(hearth_policy_parse(spec, 600, &p, err, 1), -EINVAL);
	assert_string_equal(err, "");
}

static void numbers_do_not_depend_on_the_locale(void **state)
{
	struct hearth_policy *p;

	(void)state;
	if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "de_DE")) {
		print_message("skipped: no locale with a decimal comma here\n");
		skip();
	}
	p = parse("hybrid:1h,cv=2.5");
	assert_string_equal(hearth_policy_spec(p), "hybrid:1h,cv=2.5");
	hearth_policy_free(p);
	setlocale(LC_ALL, "C");
}

static void every_policy_is_listed_with_its_use(void **state)
{
	size_t n;
	const struct hearth_policy_info *list = hearth_policy_list(&n);

	(void)state;
	assert_true(n >= 6);
	for (size_t i = 0; i < n; i++) {
		struct hearth_policy *p;

		assert_int_equal(strncmp(list[i].usage, list[i].name, strlen(list[i].name)), 0);
		assert_true(strlen(list[i].summary) > 10);
		p = parse(strcmp(list[i].name, "fixed") ? list[i].name : "fixed:1");
		hearth_policy_free(p);
	}
}

static void geometry_is_the_range_in_bins(void **state)
{
	struct hearth_policy *p = parse("hybrid:1h,bin=10s");
	double bin_s;
	uint32_t nbins;

	(void)state;
	hearth_policy_geometry(p, &bin_s, &nbins);
	assert_true(bin_s == 10);
	assert_int_equal(nbins, 360);
	hearth_policy_free(p);
	p = parse("none");
	hearth_policy_geometry(p, &bin_s, &nbins);
	assert_true(bin_s == 60);
	assert_int_equal(nbins, 240);
	hearth_policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good_specs_have_one_canonical_form),
	    cmocka_unit_test(bad_specs_say_what_is_wrong_and_what_is_accepted),
	    cmocka_unit_test(a_cold_start_must_cost_something),
	    cmocka_unit_test(long_and_cut_texts_are_safe),
	    cmocka_unit_test(numbers_do_not_depend_on_the_locale),
	    cmocka_unit_test(every_policy_is_listed_with_its_use),
	    cmocka_unit_test(geometry_is_the_range_in_bins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
