/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Durations: what is accepted, what is refused and how, and that every printed
 * duration parses back to the same number of nanoseconds.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/util.h"

static void accepted_durations_have_their_exact_value(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
	    {"0", 0},
	    {"0s", 0},
	    {"0.0d", 0},
	    {"1ns", 1},
	    {"7us", 7 * NSEC_PER_USEC},
	    {"500ms", 500 * NSEC_PER_MSEC},
	    {"30s", 30 * NSEC_PER_SEC},
	    {"10m", 10 * NSEC_PER_MIN},
	    {"4h", 4 * NSEC_PER_HOUR},
	    {"1d", NSEC_PER_DAY},
	    {"1.5h", 90 * NSEC_PER_MIN},
	    {"0.1s", 100 * NSEC_PER_MSEC},
	    {"0.000000001s", 1},
	    {"1.0000000000000000009d", NSEC_PER_DAY},
	    {"240", 240 * NSEC_PER_MIN},
	    {"0.5", 30 * NSEC_PER_SEC},
	    {"007s", 7 * NSEC_PER_SEC},
	    {"18446744073709551615ns", UINT64_MAX},
	    {"213503d", 213503 * NSEC_PER_DAY},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ns = 42;

		if (duration_parse(cases[i].text, &ns) != 0 || ns != cases[i].ns)
			fail_msg("%s gives %llu", cases[i].text, (unsigned long long)ns);
	}
}

static void junk_is_refused_and_leaves_the_output_alone(void **state)
{
	static const char *const cases[] = {
	    "",    " ",    "s",     "-1s",  "+1s", "-0",  " 1s", "1s ",  "1 s",      "1.s",
	    ".5s", "1..2", "1.2.3", "nan",  "inf", "1e3", "0x1", "1S",   "1min",     "1sec",
	    "1hm", "1h30", "1h30m", "1,5h", "1y",  "1w",  "s1",  "1ms2", "infinity", "1\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ns = 42;

		if (duration_parse(cases[i], &ns) != -EINVAL || ns != 42)
			fail_msg("\"%s\" is accepted", cases[i]);
	}
}

static void overflow_is_out_of_range_not_wrapped(void **state)
{
	static const char *const cases[] = {
	    "18446744073709551616ns", "213504d",
	    "99999999999999999999d",  "999999999999999999999999999ns",
	    "18446744073709551615",   "18446744073709551615.9ns",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ns = 42;

		assert_int_equal(duration_parse(cases[i], &ns), -ERANGE);
		assert_int_equal(ns, 42);
	}
}

static void the_shortest_form_is_printed(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
	    {0, "0s"},
	    {1, "1ns"},
	    {1500 * NSEC_PER_MSEC, "1.5s"},
	    {500 * NSEC_PER_MSEC, "0.5s"},
	    {NSEC_PER_MSEC, "1ms"},
	    {60 * NSEC_PER_SEC, "1m"},
	    {90 * NSEC_PER_MIN, "90m"},
	    {240 * NSEC_PER_MIN, "4h"},
	    {NSEC_PER_DAY, "1d"},
	    {36 * NSEC_PER_HOUR, "36h"},
	};
	char text[DURATION_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(duration_format(cases[i].ns, text, sizeof(text)),
				    cases[i].text);
}

/* Powers of two and of ten, their neighbours, and a walk of a generator. */
static void printed_durations_parse_back(void **state)
{
	uint64_t x = 88172645463325252u;
	char text[DURATION_TEXT];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint64_t ns, back = 42;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		ns = i < 64    ? UINT64_C(1) << i
		     : i < 128 ? (UINT64_C(1) << (i - 64)) - 1
			       : x >> (i % 64);
		if (i % 3 == 0)
			ns -= ns % NSEC_PER_MSEC;
		duration_format(ns, text, sizeof(text));
		assert_true(strlen(text) < DURATION_TEXT - 1);
		if (duration_parse(text, &back) != 0 || back != ns)
			fail_msg("%llu is printed as %s, read as %llu", (unsigned long long)ns,
				 text, (unsigned long long)back);
	}
}

static void seconds_convert_without_surprises(void **state)
{
	(void)state;
	assert_int_equal(s_to_ns(1.5), 1500 * NSEC_PER_MSEC);
	assert_int_equal(s_to_ns(-1), 0);
	assert_int_equal(s_to_ns((double)NAN), 0);
	assert_int_equal(s_to_ns((double)INFINITY), UINT64_MAX);
	assert_int_equal(s_to_ns(1e30), UINT64_MAX);
	assert_true(ns_to_s(2500 * NSEC_PER_MSEC) == 2.5);
}

static void the_clock_never_runs_backwards(void **state)
{
	uint64_t last = now_ns();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t now = now_ns();

		assert_true(now >= last);
		last = now;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted_durations_have_their_exact_value),
	    cmocka_unit_test(junk_is_refused_and_leaves_the_output_alone),
	    cmocka_unit_test(overflow_is_out_of_range_not_wrapped),
	    cmocka_unit_test(the_shortest_form_is_printed),
	    cmocka_unit_test(printed_durations_parse_back),
	    cmocka_unit_test(seconds_convert_without_surprises),
	    cmocka_unit_test(the_clock_never_runs_backwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
