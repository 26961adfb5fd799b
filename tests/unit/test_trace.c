/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Trace readers: every format, every complaint, and the blocks they become. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#include "lib/util.h"
#include "trace/trace.h"

#define INV "HashOwner,HashApp,HashFunction,Trigger,1,2,3\n"

static char dir[] = "/tmp/hearth-trace-XXXXXX";
static char err[1024];

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

/* A file of the test's directory; text and path live until the next call with this slot. */
static char *put(const char *name, const char *text)
{
	static char paths[8][128];
	static int slot;
	char *path = paths[slot++ % 8];
	FILE *f;

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static struct trace *opened(char *path, const struct trace_options *o)
{
	struct trace *t = NULL;
	int rc = trace_open(&path, 1, o, &t, err, sizeof(err));

	if (rc)
		fail_msg("%s", err);
	return t;
}

/* Read all of it: the total of the arrivals, or -errno. */
static int64_t drain(struct trace *t)
{
	const struct trace_block *b;
	int64_t n = 0;
	int rc;

	while ((rc = trace_next(t, &b)) > 0)
		for (size_t i = 0; i < b->nslices; i++)
			for (uint32_t k = 0; k < b->slices[i].n; k++)
				n += b->runs[b->slices[i].first + k].n;
	return rc < 0 ? rc : n;
}

/* The text is refused, and the message holds `at` and `what`. */
static void refused(const char *name, const char *text, const char *at, const char *what)
{
	struct trace_options o = {0};
	char *path = put(name, text);
	struct trace *t = NULL;
	int rc = trace_open(&path, 1, &o, &t, err, sizeof(err));

	if (!rc)
		rc = drain(t);
	trace_close(t);
	assert_true(rc < 0);
	if (!strstr(err, at) || !strstr(err, what))
		fail_msg("message \"%s\" lacks \"%s\" or \"%s\"", err, at, what);
	unlink(path);
}

static void minutes_of_functions_add_up_to_their_app(void **state)
{
	struct trace_options o = {.by = TRACE_BY_APP};
	struct trace *t = opened(put("a.csv", INV "o,app,f,http,0,2,1\n"
						  "o,other,h,timer,0,0,0\n"
						  "o,app,g,queue,0,3,0\n"),
				 &o);
	const struct trace_block *b;
	struct trace_info info;

	(void)state;
	assert_int_equal(trace_next(t, &b), 1);
	assert_int_equal(b->nslices, 1);
	assert_int_equal(b->slices[0].n, 2);
	assert_int_equal(b->runs[0].n, 5);
	assert_true(b->runs[0].t_s == 60 && b->runs[1].t_s == 120);
	assert_true(b->span_s == 60);
	assert_int_equal(trace_next(t, &b), 0);
	trace_info(t, &info);
	assert_int_equal(info.apps, 1); /* one without invocations is not there */
	assert_int_equal(info.functions, 2);
	assert_int_equal(info.invocations, 6);
	assert_true(info.start_s == 0 && info.end_s == 180 && info.binned);
	trace_close(t);
}

static void functions_can_be_the_units(void **state)
{
	struct trace_options o = {.by = TRACE_BY_FUNCTION};
	struct trace *t = opened(put("a.csv", INV "o,app,f,http,0,2,1\no,app,g,queue,0,3,0\n"), &o);
	size_t n;

	(void)state;
	assert_int_equal(drain(t), 6);
	assert_string_equal(trace_units(t, &n)[1].name, "app/g");
	assert_int_equal(n, 2);
	trace_close(t);
}

static void a_directory_brings_days_durations_and_memory_together(void **state)
{
	struct trace_options o = {.by = TRACE_BY_APP};
	char *day1 = put("invocations_per_function_md.anon.d01.csv", INV "o,app,f,http,1,0,0\n");
	char *day2 = put("invocations_per_function_md.anon.d02.csv", INV "o,app,f,http,0,0,1\n");
	char *durations = put("function_durations_percentiles.anon.d01.csv",
			      "HashOwner,HashApp,HashFunction,Average,Count\no,app,f,250,9\n");
	char *memory = put("app_memory_percentiles.anon.d01.csv",
			   "HashOwner,HashApp,SampleCount,AverageAllocatedMb\no,app,3,128\n");
	struct trace *t = opened(dir, &o);
	const struct trace_block *b;
	size_t n;

	(void)state;
	assert_int_equal(trace_next(t, &b), 1);
	assert_true(b->runs[0].busy_s == 0.25);
	assert_true(trace_units(t, &n)[0].mem_mb == 128);
	assert_int_equal(trace_next(t, &b), 1);
	assert_true(b->runs[0].t_s == 86400 + 120);
	assert_int_equal(trace_next(t, &b), 0);
	trace_close(t);
	unlink(day2);
	unlink(durations);
	unlink(memory);
	put("invocations_per_function_md.anon.d03.csv", INV "o,app,f,http,1,0,0\n");
	t = NULL;
	assert_int_equal(trace_open(&(char *){dir}, 1, &o, &t, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "day 2 is missing"));
	unlink(day1);
	unlink(put("invocations_per_function_md.anon.d03.csv", ""));
}

static void memory_split_over_functions_adds_up(void **state)
{
	struct trace_options o = {.by = TRACE_BY_APP};
	char *paths[] = {put("1_invocations.csv", INV "o,app,f,http,1,0,0\no,app,g,http,1,0,0\n"),
			 put("1_memory.csv", "HashFunction,HashOwner,HashApp,AverageAllocatedMb\n"
					     "f,o,app,10\ng,o,app,32\n")};
	struct trace *t;
	size_t n;

	(void)state;
	assert_int_equal(trace_open(paths, 2, &o, &t, err, sizeof(err)), 0);
	assert_int_equal(drain(t), 2);
	assert_true(trace_units(t, &n)[0].mem_mb == 42);
	trace_close(t);
	unlink(paths[0]);
	unlink(paths[1]);
}

static void a_cut_day_keeps_its_minutes(void **state)
{
	struct trace_options o = {0};
	struct trace *t = opened(put("a.csv", "HashOwner,HashApp,HashFunction,Trigger,480,481\n"
					      "o,app,f,http,0,1\n"),
				 &o);
	struct trace_info info;

	(void)state;
	assert_int_equal(drain(t), 1);
	trace_info(t, &info);
	assert_true(info.start_s == 479 * 60 && info.end_s == 481 * 60);
	trace_close(t);
}

static void azure2021_rows_start_before_they_end(void **state)
{
	struct trace_options o = {.by = TRACE_BY_APP};
	struct trace *t = opened(put("a.csv", "app,func,end_timestamp,duration\n"
					      "a,f,10,1\na,g,12,11.5\nb,f,13,0\n"),
				 &o);
	const struct trace_block *b;
	struct trace_info info;

	(void)state;
	assert_int_equal(trace_next(t, &b), 1);
	assert_int_equal(b->nslices, 2);
	assert_true(b->runs[0].t_s == 0.5 && b->runs[0].busy_s == 11.5); /* sorted by start */
	assert_true(b->runs[1].t_s == 9);
	trace_info(t, &info);
	assert_string_equal(info.format, "azure2021");
	assert_int_equal(info.functions, 3);
	assert_true(info.end_s == 13 && !info.binned);
	trace_close(t);
}

static void csv_columns_may_come_in_any_order(void **state)
{
	struct trace_options o = {0};
	struct trace *t = opened(put("a.csv", "\xef\xbb\xbfmem_mb,function,cold_ms,start_ms\r\n"
					      "64,f,900,1500\r\n\r\n64,f,1100,2500.5\r\n"),
				 &o);
	size_t n;

	(void)state;
	assert_int_equal(drain(t), 2);
	assert_true(trace_units(t, &n)[0].mem_mb == 64);
	assert_true(trace_units(t, &n)[0].cold_s == 1);
	assert_true(trace_units(t, &n)[0].warm_s == 0);
	trace_close(t);
}

static void recorded_starts_tell_cold_from_warm(void **state)
{
	struct trace_options o = {0};
	struct trace *t = opened(put("a.csv", "function,begin_ms,end_ms,start,mem_mb\n"
					      "f,1000,3000,cold,50\nf,5000,5100,warm,50\n"
					      "f,9000,9500,lukewarm,50\n"),
				 &o);
	size_t n;

	(void)state;
	assert_int_equal(drain(t), 3);
	assert_true(trace_units(t, &n)[0].cold_s == 1.25);
	assert_true(trace_units(t, &n)[0].warm_s == 0.1);
	trace_close(t);
}

static void gz_files_are_read_and_damage_is_reported(void **state)
{
	struct trace_options o = {0};
	char *path = put("a.csv.gz", "");
	gzFile gz = gzopen(path, "wb");
	struct trace *t;
	int64_t rc;

	(void)state;
	gzputs(gz, "function,start_ms\n");
	for (int i = 0; i < 100000; i++)
		gzprintf(gz, "f%d,%d\n", rand() % 1000, i);
	gzclose(gz);
	t = opened(path, &o);
	assert_int_equal(drain(t), 100000);
	trace_close(t);
	assert_int_equal(truncate(path, 100000), 0);
	t = opened(path, &o);
	rc = drain(t);
	trace_close(t);
	assert_int_equal(rc, -EIO);
	assert_non_null(strstr(err, "end too early"));
	unlink(path);
}

static void errors_name_file_line_column_and_what_is_accepted(void **state)
{
	(void)state;
	refused("e.csv", "", "e.csv", "empty");
	refused("e.csv", "a,b\n", "e.csv:1:1", "accepted: HashOwner");
	refused("e.csv", "\x80\x04\x95garbage\n", "e.csv:1:1", "pickle");
	refused("e.csv", "function,start_ms,function\nf,1,f\n", "e.csv:1:1", "unknown header");
	refused("e.csv", "function,start_ms\nf\n", "e.csv:2:2", "1 fields; the header has 2");
	refused("e.csv", "function,start_ms\nf,1,2\n", "e.csv:2:6", "3 fields");
	refused("e.csv", "function,start_ms\nf,1\nf,1x\n", "e.csv:3:3", "start_ms is \"1x\"");
	refused("e.csv", "function,start_ms\nf,-1\n", "e.csv:2:3", "accepted: a number from 0");
	refused("e.csv", "function,start_ms\nf,nan\n", "e.csv:2:3", "\"nan\"");
	refused("e.csv", "function,start_ms\nf,0x10\n", "e.csv:2:3", "\"0x10\"");
	refused("e.csv", "function,start_ms\nf,1e999\n", "e.csv:2:3", "\"1e999\"");
	refused("e.csv", "function,start_ms\n,1\n", "e.csv:2:1", "accepted: 1 to 250");
	refused("e.csv", "function,start_ms\n\"f\",1\n", "e.csv:2:1", "quoted");
	refused("e.csv", "function,start_ms\nf\x01,1\n", "e.csv:2:2", "control character");
	refused("e.csv", "app,func,end_timestamp,duration\na,,1,1\n", "e.csv:2:3", "func");
	refused("e.csv", "app,func,end_timestamp,duration\na,f,1,-1\n", "e.csv:2:7", "duration");
	refused("e.csv", "function,begin_ms,end_ms,start,mem_mb\nf,2,1,warm,5\n", "e.csv:2:5",
		"before begin_ms");
	refused("e.csv", "function,begin_ms,end_ms,start,mem_mb\nf,1,2,hot,5\n", "e.csv:2:7",
		"accepted: cold, warm, lukewarm");
	refused("e.csv", INV "o,a,f,http,0,1\n", "e.csv:2:15", "2 minutes; the header has 3");
	refused("e.csv", INV "o,a,f,http,0,1,2,3\n", "e.csv:2:18", "more fields");
	refused("e.csv", INV "o,a,f,http,0,1.5,2\n", "e.csv:2:14",
		"minute 2 is \"1.5\"; accepted: an integer");
	refused("e.csv", INV "o,a,f,http,0,4294967296,2\n", "e.csv:2:14", "accepted");
	refused("e.csv", INV "o,a,,http,0,1,2\n", "e.csv:2:5", "accepted: 1 to 250");
	refused("e.csv", "HashOwner,HashApp,HashFunction,Trigger,1,3\no,a,f,t,1,1\n", "e.csv:1:42",
		"minutes in order");
	refused("e.csv", "HashOwner,HashApp,HashFunction,Trigger\n",
		"e.csv:1:", "no minute columns");
	refused("e.csv", "HashOwner,HashApp,HashFunction,Average\no,a,f,5\n", "e.csv",
		"no file of invocations");
}

static void a_line_without_end_is_refused(void **state)
{
	char *text = malloc((2 << 20) + 64);

	(void)state;
	memset(text, 'x', (2 << 20) + 63);
	memcpy(text, "function,start_ms\n", 18);
	text[(2 << 20) + 63] = '\0';
	refused("e.csv", text, "e.csv:2:", "line longer than");
	free(text);
}

static void what_does_not_exist_or_fit_together_is_refused(void **state)
{
	struct trace_options o = {0};
	char *missing = "/nonexistent/trace.csv";
	char *mixed[] = {put("a.csv", "function,start_ms\nf,1\n"),
			 put("b.csv", "app,func,end_timestamp,duration\na,f,1,1\n")};
	struct trace *t;

	(void)state;
	assert_int_equal(trace_open(&missing, 1, &o, &t, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "/nonexistent/trace.csv: No such file"));
	assert_int_equal(trace_open(mixed, 2, &o, &t, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "b.csv: this is azure2021, the files before it are csv"));
	unlink(mixed[0]);
	unlink(mixed[1]);
	assert_int_equal(trace_open(&(char *){dir}, 1, &o, &t, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "no *.csv"));
}

static void lenient_reading_skips_and_counts(void **state)
{
	struct trace_options o = {.lenient = true};
	struct trace *t = opened(put("a.csv", "function,start_ms\nf,1\nf,x\ng\nf,7\n"), &o);
	struct trace_info info;

	(void)state;
	assert_int_equal(drain(t), 2);
	trace_info(t, &info);
	assert_int_equal(info.skipped, 2);
	trace_close(t);
	t = opened(put("a.csv", INV "o,a,f,http,1,x,1\no,a,f,http,0,1,0\n"), &o);
	assert_int_equal(drain(t), 1); /* no half of a bad row is kept */
	trace_close(t);
}

static void busy_units_can_be_left_out(void **state)
{
	struct trace_options o = {.max_invocations = 3};
	struct trace *t = opened(put("a.csv", INV "o,a,f,http,2,0,1\no,b,f,http,4,0,0\n"), &o);
	struct trace_info info;

	(void)state;
	assert_int_equal(drain(t), 3);
	trace_info(t, &info);
	assert_int_equal(info.apps, 1);
	assert_int_equal(info.invocations, 3);
	trace_close(t);
}

/* More rows than the reader holds, a little out of order. */
static void long_traces_come_in_blocks_in_order_of_time(void **state)
{
	enum { ROWS = 400000, DISORDER = 1000 };
	struct trace_options o = {0};
	char *path = put("long.csv", "function,start_ms\n");
	FILE *f = fopen(path, "a");
	const struct trace_block *b;
	double handed = -1;
	int blocks = 0;
	uint64_t n = 0;
	struct trace *t;

	(void)state;
	for (int i = 0; i < ROWS; i++)
		fprintf(f, "f%d,%d\n", i % 7, i + rand() % DISORDER);
	fclose(f);
	t = opened(path, &o);
	for (; trace_next(t, &b) > 0; blocks++) {
		double last = handed;

		for (size_t i = 0; i < b->nslices; i++) {
			double before = handed;

			for (uint32_t k = 0; k < b->slices[i].n; k++, n++) {
				double t_s = b->runs[b->slices[i].first + k].t_s;

				assert_true(t_s >= before);
				before = t_s;
			}
			last = before > last ? before : last;
		}
		handed = last;
	}
	assert_int_equal(n, ROWS);
	assert_true(blocks > 1);
	trace_close(t);
	f = fopen(path, "a");
	fputs("f0,0\n", f);
	fclose(f);
	t = opened(path, &o);
	assert_int_equal(drain(t), -EINVAL);
	assert_non_null(strstr(err, "long.csv:400002:4: starts before"));
	trace_close(t);
	unlink(path);
}

static void a_rewound_trace_says_the_same_again(void **state)
{
	struct trace_options o = {0};
	struct trace *t = opened(put("a.csv", "function,start_ms\nf,1\nf,7\ng,9\n"), &o);
	struct trace_info info;

	(void)state;
	assert_int_equal(drain(t), 3);
	assert_int_equal(trace_rewind(t), 0);
	assert_int_equal(drain(t), 3);
	trace_info(t, &info);
	assert_int_equal(info.invocations, 3);
	assert_int_equal(info.functions, 2);
	trace_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_directory_brings_days_durations_and_memory_together),
	    cmocka_unit_test(what_does_not_exist_or_fit_together_is_refused),
	    cmocka_unit_test(minutes_of_functions_add_up_to_their_app),
	    cmocka_unit_test(functions_can_be_the_units),
	    cmocka_unit_test(memory_split_over_functions_adds_up),
	    cmocka_unit_test(a_cut_day_keeps_its_minutes),
	    cmocka_unit_test(azure2021_rows_start_before_they_end),
	    cmocka_unit_test(csv_columns_may_come_in_any_order),
	    cmocka_unit_test(recorded_starts_tell_cold_from_warm),
	    cmocka_unit_test(gz_files_are_read_and_damage_is_reported),
	    cmocka_unit_test(errors_name_file_line_column_and_what_is_accepted),
	    cmocka_unit_test(a_line_without_end_is_refused),
	    cmocka_unit_test(lenient_reading_skips_and_counts),
	    cmocka_unit_test(busy_units_can_be_left_out),
	    cmocka_unit_test(long_traces_come_in_blocks_in_order_of_time),
	    cmocka_unit_test(a_rewound_trace_says_the_same_again),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
