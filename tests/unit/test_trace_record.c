/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The writer of recorded traces: whatever it is given, the reader takes it. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util.h"
#include "trace/record.h"
#include "trace/trace.h"

#define HEADER "function,begin_ms,end_ms,start,mem_mb\n"

static char folder[] = "/tmp/hearth-record-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return !mkdtemp(folder);
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static struct record *opened(const char *path)
{
	struct record *r;

	assert_int_equal(record_open(path, false, &r), 0);
	return r;
}

static void put(struct record *r, const char *function, double begin_s, const char *start)
{
	const struct record_row row = {.function = function,
				       .begin_s = begin_s,
				       .end_s = begin_s + 0.25,
				       .start = start,
				       .mem_mb = 50};

	assert_int_equal(record_row(r, &row), 0);
}

static void expect_text(const char *path, const char *wanted)
{
	char got[4096];

	assert_true(read_file_at(-1, path, got, sizeof(got)) >= 0);
	assert_string_equal(got, wanted);
}

/* Units and invocations as the reader sees them. */
static uint64_t read_back(const char *path, size_t *units, char name[512])
{
	char *paths[] = {(char *)path}, err[512] = "";
	const struct trace_options o = {0};
	const struct trace_block *b;
	const struct trace_unit *u;
	struct trace_info info;
	struct trace *t;
	int rc = trace_open(paths, 1, &o, &t, err, sizeof(err));

	if (rc)
		fail_msg("%s", err);
	while ((rc = trace_next(t, &b)) > 0)
		;
	if (rc)
		fail_msg("%s", err);
	trace_info(t, &info);
	assert_string_equal(info.format, "recorded");
	u = trace_units(t, units);
	if (*units)
		snprintf(name, 512, "%s", u[0].name);
	trace_close(t);
	return info.invocations;
}

static void every_row_is_in_the_file_at_once(void **state)
{
	const char *path = path_of("a.csv");
	struct record *r = opened(path);
	struct record_row unknown = {"g", 1.5, 1.5, "warm", NAN};

	(void)state;
	expect_text(path, HEADER);
	put(r, "f", 1769000000.123456, "cold");
	expect_text(path, HEADER "f,1769000000123.456,1769000000373.456,cold,50.000\n");
	assert_int_equal(record_row(r, &unknown), 0);
	expect_text(path, HEADER "f,1769000000123.456,1769000000373.456,cold,50.000\n"
				 "g,1500.000,1500.000,warm,0.000\n");
	assert_int_equal(record_close(r), 0);
	unlink(path);
}

static void what_is_written_is_read(void **state)
{
	const char *path = path_of("a.csv.gz");
	struct record *r = opened(path);
	char name[512];
	size_t units;

	(void)state;
	for (int i = 0; i < 1000; i++)
		put(r, i % 2 ? "f" : "g", 1769000000 + i, i % 3 ? "warm" : "lukewarm");
	assert_int_equal(record_flush(r), 0);
	assert_int_equal(record_close(r), 0);
	assert_int_equal(read_back(path, &units, name), 1000);
	assert_int_equal(units, 2);
	unlink(path);
}

static void an_empty_recording_is_a_trace(void **state)
{
	const char *path = path_of("a.csv");
	char name[512];
	size_t units;

	(void)state;
	assert_int_equal(record_close(opened(path)), 0);
	assert_int_equal(read_back(path, &units, name), 0);
	unlink(path);
}

static void names_that_csv_cannot_hold_are_encoded(void **state)
{
	const char *path = path_of("a.csv");
	struct record *r = opened(path);
	char name[512];
	size_t units;

	(void)state;
	put(r, "a,b\"c%d\ne\x7f \xc3\xa9", 1, "cold");
	record_close(r);
	assert_int_equal(read_back(path, &units, name), 1);
	assert_string_equal(name, "a%2Cb%22c%25d%0Ae%7F \xc3\xa9");
	unlink(path);
}

static void the_longest_names_are_read(void **state)
{
	const char *path = path_of("a.csv");
	struct record *r = opened(path);
	char name[512], longest[300];
	size_t units;

	(void)state;
	memset(longest, ',', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	put(r, longest, 1, "cold");
	record_close(r);
	assert_int_equal(read_back(path, &units, name), 1);
	assert_int_equal(strlen(name), 249);
	unlink(path);
}

static void a_file_that_is_there_is_replaced_only_if_asked(void **state)
{
	const char *path = path_of("a.csv");
	struct record *r;

	(void)state;
	assert_int_equal(write_atomic(path, "precious", 8, 0600), 0);
	assert_int_equal(record_open(path, false, &r), -EEXIST);
	expect_text(path, "precious");
	assert_int_equal(record_open(path, true, &r), 0);
	assert_int_equal(record_close(r), 0);
	expect_text(path, HEADER);
	unlink(path);
}

static void a_stream_stays_open(void **state)
{
	char *text;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	struct record *r;

	(void)state;
	assert_int_equal(record_open_stream(stream, &r), 0);
	put(r, "f", 1, "warm");
	assert_int_equal(record_close(r), 0);
	fputs("more", stream);
	fclose(stream);
	assert_string_equal(text, HEADER "f,1000.000,1250.000,warm,50.000\nmore");
	free(text);
}

static void failures_are_told(void **state)
{
	struct record *r;

	(void)state;
	assert_int_equal(record_open(path_of("none/a.csv"), false, &r), -ENOENT);
	if (access("/dev/full", W_OK) == 0)
		assert_int_equal(record_open("/dev/full", true, &r), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_row_is_in_the_file_at_once),
	    cmocka_unit_test(what_is_written_is_read),
	    cmocka_unit_test(an_empty_recording_is_a_trace),
	    cmocka_unit_test(names_that_csv_cannot_hold_are_encoded),
	    cmocka_unit_test(the_longest_names_are_read),
	    cmocka_unit_test(a_file_that_is_there_is_replaced_only_if_asked),
	    cmocka_unit_test(a_stream_stays_open),
	    cmocka_unit_test(failures_are_told),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
