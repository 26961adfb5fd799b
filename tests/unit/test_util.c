/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whole-file reads and writes, the log's form, and the distance of words.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/text.h"
#include "lib/util.h"

static char base[64];
static int dir;

static int make_base(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/hearth-test-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : 0;
}

static int remove_base(void **state)
{
	char command[128];

	(void)state;
	close(dir);
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command);
}

static void path_of(char path[PATH_MAX], const char *name)
{
	snprintf(path, PATH_MAX, "%s/%s", base, name);
}

static void a_file_that_does_not_fit_is_refused_not_cut(void **state)
{
	char path[PATH_MAX], buf[6];

	(void)state;
	path_of(path, "f");
	assert_int_equal(write_atomic(path, "hello", 5, 0600), 0);
	assert_int_equal(read_file_at(dir, "f", buf, 6), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(read_file_at(dir, "f", buf, 5), -EFBIG);
	assert_int_equal(read_file_at(dir, "g", buf, 6), -ENOENT);
	assert_int_equal(write_file_at(dir, "g", "x"), -ENOENT);
}

static void a_replaced_file_has_the_new_content_and_mode(void **state)
{
	char path[PATH_MAX], buf[16];
	struct stat st;

	(void)state;
	path_of(path, "f");
	assert_int_equal(write_atomic(path, "a longer text", 13, 0644), 0);
	assert_int_equal(write_atomic(path, "b", 1, 0600), 0);
	assert_int_equal(read_file_at(dir, "f", buf, sizeof(buf)), 1);
	assert_string_equal(buf, "b");
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(faccessat(dir, "f.tmp", F_OK, 0), -1);
}

static void a_replacement_that_fails_leaves_the_old_file(void **state)
{
	char path[PATH_MAX], buf[16];

	(void)state;
	path_of(path, "f");
	assert_int_equal(write_atomic(path, "old", 3, 0600), 0);
	assert_int_equal(mkdirat(dir, "f.tmp", 0700), 0);
	assert_int_equal(write_atomic(path, "new", 3, 0600), -EISDIR);
	assert_int_equal(read_file_at(dir, "f", buf, sizeof(buf)), 3);
	assert_string_equal(buf, "old");

	path_of(path, "no/such/folder");
	assert_int_equal(write_atomic(path, "x", 1, 0600), -ENOENT);
	/* The target cannot be replaced: the temporary file goes away again. */
	assert_int_equal(mkdirat(dir, "d", 0700), 0);
	path_of(path, "d");
	assert_true(write_atomic(path, "x", 1, 0600) < 0);
	assert_int_equal(faccessat(dir, "d.tmp", F_OK, 0), -1);
}

/* Runs fn with stderr in a file and returns what it wrote. */
static void capture(void (*fn)(void), char *out, size_t size)
{
	int fd = openat(dir, "log", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int status;
	pid_t child = fork();

	if (child == 0) {
		dup2(fd, STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(read_file_at(dir, "log", out, size) >= 0);
	close(fd);
}

static void log_all_levels(void)
{
	errno = ENOENT;
	log_error("e %d: %m", 1);
	log_warn("w");
	log_info("i");
	log_debug("hidden");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("shown");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("hidden");
	if (errno != ENOENT)
		_exit(1);
}

static void log_to_the_journal(void)
{
	struct stat st;
	char env[64];

	fstat(STDERR_FILENO, &st);
	snprintf(env, sizeof(env), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", env, 1);
	log_error("e");
	log_info("i");
}

static void log_a_long_line(void)
{
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	log_info("next");
}

static void log_lines_carry_their_level(void **state)
{
	char out[8192];

	(void)state;
	setenv("JOURNAL_STREAM", "1:2", 1); /* another process's: stderr was redirected */
	capture(log_all_levels, out, sizeof(out));
	assert_string_equal(out, "error: e 1: No such file or directory\n"
				 "warning: w\ni\ndebug: shown\n");
	capture(log_to_the_journal, out, sizeof(out));
	assert_string_equal(out, "<3>e\n<6>i\n");
	capture(log_a_long_line, out, sizeof(out));
	assert_non_null(strstr(out, "x\nnext\n"));
	assert_true(strlen(out) < 3000);
}

static void words_have_their_distance(void **state)
{
	(void)state;
	assert_int_equal(text_distance("", ""), 0);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("policy", "policy"), 0);
	assert_int_equal(text_distance("polcy", "policy"), 1);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	assert_int_equal(text_distance("sitting", "kitten"), 3);
}

static void text_that_can_be_shown_stays_and_the_rest_is_marked(void **state)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
	    {"", ""},
	    {"plain", "plain"},
	    {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa7", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa7"},
	    {"a\nb\tc\x1b[1m\x7f", "a?b?c?[1m?"},
	    {"\xff\xfe", "??"},
	    {"\xc3", "?"}, /* cut */
	    {"\xe2\x82", "??"},
	    {"\xc3(", "?("},
	    {"\xc0\xaf\xe0\x80\xaf", "?????"}, /* too long for what they mean */
	    {"\xed\xa0\x80", "???"},           /* half of a pair */
	    {"\xf4\x90\x80\x80", "????"},
	    {"\xc2\x9b"
	     "1m",
	     "??1m"}, /* a control character of two bytes */
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		strcpy(text, cases[i].from);
		text_make_plain(text);
		assert_string_equal(text, cases[i].to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_file_that_does_not_fit_is_refused_not_cut, make_base,
					    remove_base),
	    cmocka_unit_test_setup_teardown(a_replaced_file_has_the_new_content_and_mode, make_base,
					    remove_base),
	    cmocka_unit_test_setup_teardown(a_replacement_that_fails_leaves_the_old_file, make_base,
					    remove_base),
	    cmocka_unit_test_setup_teardown(log_lines_carry_their_level, make_base, remove_base),
	    cmocka_unit_test(words_have_their_distance),
	    cmocka_unit_test(text_that_can_be_shown_stays_and_the_rest_is_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
