/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Command lines: words as a person reads them, and nothing of a shell. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/command.h"
#include "lib/util.h"

static void words_are_split_at_blanks_outside_quotes(void **state)
{
	static const struct {
		const char *text;
		const char *words[5];
	} cases[] = {
	    {"/bin/x", {"/bin/x"}},
	    {"  /bin/x\t-a  b ", {"/bin/x", "-a", "b"}},
	    {"/bin/x 'a b' \"c 'd\"", {"/bin/x", "a b", "c 'd"}},
	    {"/bin/x a'b c'd ''", {"/bin/x", "ab cd", ""}},
	    {"'/opt/my hook' $HOME `id` \\n", {"/opt/my hook", "$HOME", "`id`", "\\n"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char **argv = NULL;
		char why[100];
		size_t n = 0;

		assert_int_equal(command_split(cases[i].text, &argv, why, sizeof(why)), 0);
		for (; cases[i].words[n]; n++)
			assert_string_equal(argv[n], cases[i].words[n]);
		assert_null(argv[n]);
	}
}

static void what_cannot_be_run_is_refused(void **state)
{
	static const char *const bad[] = {"", "  ", "x", "bin/x", "'' /bin/x", "/bin/x \"a"};
	char **argv = NULL, why[100], many[2 * COMMAND_WORDS + 4] = "/x";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		why[0] = '\0';
		assert_int_equal(command_split(bad[i], &argv, why, sizeof(why)), -EINVAL);
		assert_true(*why);
	}
	for (int i = 1; i <= COMMAND_WORDS; i++)
		strcat(many, " a");
	assert_int_equal(command_split(many, &argv, why, sizeof(why)), -EINVAL);
	many[strlen(many) - 2] = '\0';
	assert_int_equal(command_split(many, &argv, why, sizeof(why)), 0);
	free(argv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_are_split_at_blanks_outside_quotes),
	    cmocka_unit_test(what_cannot_be_run_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
