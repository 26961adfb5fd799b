/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sizes and percentages: exact, and what is none is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/size.h"
#include "lib/util.h"

static void sizes_are_exact(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
		const char *printed;
	} cases[] = {
	    {"0", 0, "0"},
	    {"0G", 0, "0"},
	    {"1", 1, "1"},
	    {"1023", 1023, "1023"},
	    {"1024", 1024, "1K"},
	    {"0.5K", 512, "512"},
	    {"1.5G", UINT64_C(3) << 29, "1536M"},
	    {"8388608T", 0, NULL}, /* 2^63: fits */
	    {"18446744073709551615", UINT64_MAX, "18446744073709551615"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[SIZE_TEXT];
		uint64_t bytes, again;

		assert_int_equal(size_parse(cases[i].text, &bytes), 0);
		if (!cases[i].printed) {
			assert_true(bytes == UINT64_C(1) << 63);
			continue;
		}
		assert_true(bytes == cases[i].bytes);
		assert_string_equal(size_format(bytes, buf, sizeof(buf)), cases[i].printed);
		assert_int_equal(size_parse(buf, &again), 0);
		assert_true(again == bytes);
	}
}

static void what_is_no_size_is_refused(void **state)
{
	static const char *const none[] = {"",    "M",   "-1",  "+1",           "1.",
					   ".5M", "1.5", "1k",  "1MB",          "1 M",
					   "0x1", "1e3", "nan", "1.0000000001G"};
	static const char *const large[] = {"18446744073709551616", "16777216T",
					    "99999999999999999999999K"};
	uint64_t bytes = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(size_parse(none[i], &bytes), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		assert_int_equal(size_parse(large[i], &bytes), -ERANGE);
	assert_int_equal(bytes, 7);
}

static void percentages_are_shares(void **state)
{
	double share = -1;

	(void)state;
	assert_int_equal(share_parse("10", &share), -EINVAL);
	assert_int_equal(share_parse("%", &share), -EINVAL);
	assert_int_equal(share_parse("-1%", &share), -EINVAL);
	assert_int_equal(share_parse("10%%", &share), -EINVAL);
	assert_int_equal(share_parse("100.1%", &share), -ERANGE);
	assert_int_equal(share_parse("99999999999999999999%", &share), -ERANGE);
	assert_true(share == -1);
	assert_int_equal(share_parse("0%", &share), 0);
	assert_true(share == 0);
	assert_int_equal(share_parse("12.5%", &share), 0);
	assert_true(share == 0.125);
	assert_int_equal(share_parse("100%", &share), 0);
	assert_true(share == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes_are_exact),
	    cmocka_unit_test(what_is_no_size_is_refused),
	    cmocka_unit_test(percentages_are_shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
