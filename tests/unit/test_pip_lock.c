/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Locks of pip: equal content gives equal text; what locks nothing for sure is refused by line. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pip_lock.h"
#include "lib/util.h"

static char err[256];

static void expect_lock(const char *text, const char *wanted)
{
	_cleanup_free_ char *lock = NULL;
	int rc = pip_lock_parse("x", text, &lock, err, sizeof(err));

	if (rc)
		fail_msg("%s", err);
	assert_string_equal(lock, wanted);
}

static void what_pip_writes_is_read(void **state)
{
	(void)state;
	expect_lock("numpy==1.26.4", "numpy==1.26.4\n");
	expect_lock("# a comment\n\n  numpy == 1.26.4   # why\r\n", "numpy==1.26.4\n");
	expect_lock("a==1 \\\n    --hash=sha256:00ff \\\n    --hash=sha512:AB\n    # via b\nb==2\n",
		    "a==1\nb==2\n");
	expect_lock("--index-url https://x/#frag\n-i x\n--require-hashes\na==1+cpu\n",
		    "a==1+cpu\n");
	expect_lock("a[x,y]==1!2.0rc1 ; python_version  <  \"3.8\" --hash=sha384:12",
		    "a==1!2.0rc1; python_version < \"3.8\"\n");
	expect_lock("a==1;os_name=='nt'\na==2;os_name!='nt'",
		    "a==1; os_name=='nt'\na==2; os_name!='nt'\n");
	expect_lock("a==1 \\", "a==1\n");
}

static void the_same_lock_gives_the_same_text(void **state)
{
	(void)state;
	expect_lock("Zope.Interface==5.0\nB__c==1.0RC1\nb-c==1.0rc1\na==1",
		    "a==1\nb-c==1.0rc1\nzope-interface==5.0\n");
	expect_lock("a==1\n# x\nb-C==1.0rc1 --hash=sha256:aa\nzope_interface==5.0\nA==1",
		    "a==1\nb-c==1.0rc1\nzope-interface==5.0\n");
}

static void what_locks_nothing_is_refused_by_line(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
	    {"", "locks nothing"},
	    {"# only\n-i x\n", "locks nothing"},
	    {"a==1\nb\n", "x:2: 'b'"},
	    {"a==1 \\\n --hash=sha256:aa\n\nb>=2\n", "x:4: 'b>=2'"},
	    {"a==1.*", "accepted: NAME==VERSION"},
	    {"a===1", "accepted: NAME==VERSION"},
	    {"a==", "accepted: NAME==VERSION"},
	    {"a==1;", "accepted: NAME==VERSION"},
	    {"a==1;--hash=sha256:00", "accepted: NAME==VERSION"},
	    {"a==1; os_name == '\\\\\n", "accepted: NAME==VERSION"},
	    {"a==1 b==2", "accepted: NAME==VERSION"},
	    {"a-==1", "accepted: NAME==VERSION"},
	    {"-a==1", "accepted: NAME==VERSION"},
	    {"a[x==1", "accepted: NAME==VERSION"},
	    {"-r other.txt", "accepted: NAME==VERSION"},
	    {"-e .", "accepted: NAME==VERSION"},
	    {"a @ https://x/a.whl", "accepted: NAME==VERSION"},
	    {"a==1 --hash=md5:00", "'--hash=md5:00'; accepted: --hash="},
	    {"a==1 --hash=sha256:", "accepted: --hash="},
	    {"a==1 --hash=sha256:0g", "accepted: --hash="},
	    {"a==1 --global-option=x", "accepted: --hash="},
	    {"\xff\xfe==1", "accepted: NAME==VERSION"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *lock = NULL;

		assert_int_equal(pip_lock_parse("x", cases[i].text, &lock, err, sizeof(err)),
				 -EINVAL);
		assert_null(lock);
		if (!strstr(err, cases[i].words) || strncmp(err, "x:", 2))
			fail_msg("'%s': %s", cases[i].text, err);
	}
}

static void a_lock_has_a_bound(void **state)
{
	size_t n = PIP_LOCK_MAX / 8 + 2;
	_cleanup_free_ char *text = malloc(8 * n + 1);
	char *lock = NULL, *end = text;

	(void)state;
	for (size_t i = 0; i < n; i++)
		end += sprintf(end, "a==%04zu\n", i % 10000);
	assert_int_equal(pip_lock_parse("x", text, &lock, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "accepted: up to"));
}

static void a_file_is_read_or_the_reason_told(void **state)
{
	char folder[] = "/tmp/hearth-lock-XXXXXX", path[64];
	char *lock = NULL;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/lock", folder);
	assert_int_equal(pip_lock_read(path, &lock, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, path));
	assert_int_equal(pip_lock_read(folder, &lock, err, sizeof(err)), -EISDIR);
	file = fopen(path, "w");
	fputs("b==2\na==1\n", file);
	fclose(file);
	assert_int_equal(pip_lock_read(path, &lock, err, sizeof(err)), 0);
	assert_string_equal(lock, "a==1\nb==2\n");
	assert_int_equal(pip_lock_count(lock), 2);
	free(lock);
	file = fopen(path, "w");
	fwrite("a==1\0b", 1, 6, file);
	fclose(file);
	assert_int_equal(pip_lock_read(path, &lock, err, sizeof(err)), -EILSEQ);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pip_lock_read(path, &lock, err, sizeof(err)), -EINVAL);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_pip_writes_is_read),
	    cmocka_unit_test(the_same_lock_gives_the_same_text),
	    cmocka_unit_test(what_locks_nothing_is_refused_by_line),
	    cmocka_unit_test(a_lock_has_a_bound),
	    cmocka_unit_test(a_file_is_read_or_the_reason_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
