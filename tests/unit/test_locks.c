/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who blocks whom, read from a /proc of the test's own making. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/locks.h"

static char root[] = "/tmp/hearth-locks-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void process(int pid, const char *cgroup)
{
	char name[64], text[128];

	snprintf(name, sizeof(name), "%s/%d", root, pid);
	mkdir(name, 0700);
	snprintf(name, sizeof(name), "%d/cgroup", pid);
	snprintf(text, sizeof(text), "0::/%s\n", cgroup);
	put(name, text);
}

static int make_root(void **state)
{
	(void)state;
	if (!mkdtemp(root))
		return -1;
	process(10, "fn/a/1");
	process(11, "fn/a/1/inner");
	process(20, "fn/b/1");
	process(30, "fn/a/10");
	return 0;
}

static int drop_root(void **state)
{
	static const char *const FILES[] = {"10/cgroup", "11/cgroup", "20/cgroup", "30/cgroup",
					    "locks",     "10",        "11",        "20",
					    "30",        ""};
	char path[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, FILES[i]);
		remove(path);
	}
	return 0;
}

static void a_lock_nobody_waits_for_blocks_nobody(void **state)
{
	(void)state;
	put("locks", "1: POSIX  ADVISORY  WRITE 10 fd:00:123 0 EOF\n");
	assert_int_equal(locks_blocking(root, "fn/a/1"), 0);
}

static void a_waiter_outside_names_the_holder(void **state)
{
	(void)state;
	put("locks", "1: FLOCK  ADVISORY  WRITE 20 fd:00:1 0 EOF\n"
		     "2: POSIX  ADVISORY  WRITE 11 fd:00:123 0 EOF\n"
		     "2: -> POSIX  ADVISORY  WRITE 20 fd:00:123 0 EOF\n");
	assert_int_equal(locks_blocking(root, "fn/a/1"), 11);
	assert_int_equal(locks_blocking(root, "fn/b/1"), 0);
}

static void its_own_processes_may_wait_for_each_other(void **state)
{
	(void)state;
	put("locks", "2: POSIX  ADVISORY  WRITE 10 fd:00:123 0 EOF\n"
		     "2: -> POSIX  ADVISORY  WRITE 11 fd:00:123 0 EOF\n");
	assert_int_equal(locks_blocking(root, "fn/a/1"), 0);
}

static void a_longer_name_is_another_cgroup(void **state)
{
	(void)state;
	put("locks", "2: POSIX  ADVISORY  WRITE 30 fd:00:123 0 EOF\n"
		     "2: -> POSIX  ADVISORY  WRITE 20 fd:00:123 0 EOF\n");
	assert_int_equal(locks_blocking(root, "fn/a/1"), 0);
	assert_int_equal(locks_blocking(root, "fn/a/10"), 30);
}

static void odd_lines_and_no_file_are_nothing(void **state)
{
	(void)state;
	put("locks", "\n:\n1:\n1: ->\n2: LEASE\n3: -> x y z 20\n");
	assert_int_equal(locks_blocking(root, "fn/a/1"), 0);
	assert_int_equal(locks_blocking("/nonexistent", "fn/a/1"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_lock_nobody_waits_for_blocks_nobody),
	    cmocka_unit_test(a_waiter_outside_names_the_holder),
	    cmocka_unit_test(its_own_processes_may_wait_for_each_other),
	    cmocka_unit_test(a_longer_name_is_another_cgroup),
	    cmocka_unit_test(odd_lines_and_no_file_are_nothing),
	};

	return cmocka_run_group_tests(tests, make_root, drop_root);
}
