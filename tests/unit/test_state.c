/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The state file: what is saved comes back, what is damaged never does. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <cmocka.h>

#include "agent/state.h"
#include "lib/util.h"

static char folder[64];
static char path[96];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/hearth-state.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", folder, STATE_FILE);
	return 0;
}

static size_t files(const char *pattern, glob_t *g)
{
	char full[128];

	snprintf(full, sizeof(full), "%s/%s", folder, pattern);
	return glob(full, 0, NULL, g) == 0 ? g->gl_pathc : 0;
}

static int remove_folder(void **state)
{
	glob_t g = {0};

	(void)state;
	if (files("*", &g))
		for (size_t i = 0; i < g.gl_pathc; i++)
			unlink(g.gl_pathv[i]);
	globfree(&g);
	return rmdir(folder);
}

/* A function with everything set, different for every n. */
static void add_full(struct state *s, unsigned int n)
{
	uint32_t bins[240] = {0};
	uint8_t blob[100];
	char name[STATE_NAME];
	struct state_function f = {.bin_ns = 60000000000u + n,
				   .nbins = 240,
				   .bins = bins,
				   .oob = 3 + n,
				   .unbinned = 1,
				   .invocations = 1000 * n + 7,
				   .busy_spans = 900,
				   .cold_starts = 11,
				   .lukewarm_starts = 12,
				   .freezes = 13,
				   .wakes = INT64_MAX,
				   .frozen_s = 0.1 + n,
				   .instance_s = 1e300,
				   .first_seen_s = 1769000000.123456789,
				   .last_seen_s = 1769000000.0 + n,
				   .policy = n % 2 ? "fixed:2s" : NULL,
				   .pinned = n % 3 == 0,
				   .blob_spec = "hybrid:240",
				   .blob = blob,
				   .blob_bytes = sizeof(blob)};

	for (unsigned int w = 0; w < MEASURES; w++)
		for (unsigned int i = 0; i < n * w; i++)
			measure_add(&f.measures, w,
				    i % 5 * (measure_is_bytes(w) ? 123456789.0 : 1e-3) + w * 1e-9);
	for (unsigned int i = 0; i < 10 * n; i++) /* the ring goes round */
		hearth_gaps_arrive(&f.gaps, 60.0 * i * i);
	for (unsigned int i = 0; i < 240; i++)
		bins[i] = i % (n + 2) ? 0 : i * n + 1;
	for (size_t i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i * 37 + n);
	snprintf(name, sizeof(name), "ns/\"fn\"-\xc3\xa9\n-%u", n);
	strcpy(f.name, name);
	assert_int_equal(state_add(s, &f), 0);
}

static void assert_same(const struct state_function *a, const struct state_function *b)
{
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->bin_ns, b->bin_ns);
	assert_int_equal(a->nbins, b->nbins);
	assert_int_equal(!a->bins, !b->bins);
	if (a->bins)
		assert_memory_equal(a->bins, b->bins, a->nbins * sizeof(*a->bins));
	assert_memory_equal(&a->s1, &b->s1,
			    offsetof(struct state_function, policy) -
				offsetof(struct state_function, s1));
	assert_int_equal(!a->policy, !b->policy);
	if (a->policy)
		assert_string_equal(a->policy, b->policy);
	assert_int_equal(a->pinned, b->pinned);
	assert_int_equal(hearth_gaps_held(&a->gaps), hearth_gaps_held(&b->gaps));
	for (unsigned int i = 0; i < hearth_gaps_held(&a->gaps); i++)
		assert_int_equal(hearth_gaps_at(&a->gaps, i), hearth_gaps_at(&b->gaps, i));
	assert_memory_equal(&a->measures, &b->measures, sizeof(a->measures));
	assert_int_equal(a->blob_bytes, b->blob_bytes);
	if (a->blob) {
		assert_string_equal(a->blob_spec, b->blob_spec);
		assert_memory_equal(a->blob, b->blob, a->blob_bytes);
	}
}

static struct state decode(const char *text, size_t len)
{
	struct state s = {0};
	char err[128] = "";

	if (state_decode(text, len, &s, err, sizeof(err)) != 0)
		fail_msg("%s", err);
	return s;
}

static void what_is_encoded_is_decoded(void **arg)
{
	struct state s = {0}, back;
	struct state_function bare = {.name = "bare \xff\xfe"};
	char *text, *again;
	size_t len, len_again;

	(void)arg;
	for (unsigned int n = 0; n < 20; n++)
		add_full(&s, n);
	assert_int_equal(state_add(&s, &bare), 0);
	assert_int_equal(state_encode(&s, &text, &len), 0);
	back = decode(text, len);
	assert_int_equal(back.n, s.n);
	for (size_t i = 0; i < s.n; i++) {
		assert_same(&s.functions[i], &back.functions[i]);
		/* What came while nobody looked ends no gap. */
		assert_false(back.functions[i].gaps.waiting);
		assert_true(back.functions[i].gaps.last_s == s.functions[i].last_seen_s);
	}
	assert_int_equal(state_encode(&back, &again, &len_again), 0);
	assert_int_equal(len, len_again);
	assert_memory_equal(text, again, len);
	free(text);
	free(again);
	state_done(&s);
	state_done(&back);
}

static void sums_are_those_of_the_bins(void **arg)
{
	uint32_t bins[3] = {4, 0, 5};
	struct state_function f = {.name = "f", .bin_ns = 1, .nbins = 3, .bins = bins, .s1 = 99};
	struct state s = {0};

	(void)arg;
	assert_int_equal(state_add(&s, &f), 0);
	assert_int_equal(s.functions[0].s1, 9);
	assert_int_equal(s.functions[0].s2, 41);
	state_done(&s);
}

static void an_empty_state_survives(void **arg)
{
	struct state s = {0}, back;
	char *text;
	size_t len;

	(void)arg;
	assert_int_equal(state_encode(&s, &text, &len), 0);
	back = decode(text, len);
	assert_int_equal(back.n, 0);
	free(text);
}

static void refused(const struct state_function *f)
{
	struct state s = {0};

	assert_int_equal(state_add(&s, f), -EINVAL);
	assert_int_equal(s.n, 0);
	state_done(&s);
}

static void what_could_not_be_read_back_is_not_taken(void **arg)
{
	uint32_t bins[3] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
	uint8_t byte = 0;

	(void)arg;
	refused(&(struct state_function){.name = ""});
	refused(&(struct state_function){.name = "f", .frozen_s = NAN});
	refused(&(struct state_function){.name = "f", .last_seen_s = INFINITY});
	refused(&(struct state_function){.name = "f", .instance_s = -1});
	refused(&(struct state_function){.name = "f", .oob = UINT64_MAX});
	refused(&(struct state_function){.name = "f", .nbins = 3});
	refused(&(struct state_function){.name = "f", .nbins = 3, .bins = bins});
	refused(&(struct state_function){.name = "f", .nbins = 3, .bins = bins, .bin_ns = 1});
	refused(&(struct state_function){.name = "f", .policy = "fix\ned"});
	refused(&(struct state_function){.name = "f", .gaps = {.n = 1, .minutes = {1441}}});
	refused(&(struct state_function){.name = "f", .measures.of[2] = {1, {NAN}}});
	refused(&(struct state_function){.name = "f", .measures.of[2] = {1, {-1}}});
	refused(&(struct state_function){.name = "f", .measures.of[2] = {1, {0.5}}});
	refused(&(struct state_function){.name = "f", .measures.of[2] = {1, {1e19f}}});
	refused(&(struct state_function){.name = "f", .measures.of[2].count = UINT64_MAX});
	refused(&(struct state_function){.name = "f", .blob = &byte, .blob_bytes = 1});
	refused(&(struct state_function){
	    .name = "f", .blob_spec = "none", .blob = &byte, .blob_bytes = STATE_BLOB + 1});
}

static char *sample(size_t *len)
{
	struct state s = {0};
	char *text;

	add_full(&s, 1);
	add_full(&s, 2);
	assert_int_equal(state_encode(&s, &text, len), 0);
	state_done(&s);
	return text;
}

static void assert_damaged(const char *text, size_t len)
{
	_cleanup_free_ char *exact = malloc(len ? len : 1); /* ASan sees a read beyond */
	struct state s = {.n = 77};
	char err[128] = "";

	memcpy(exact, text, len);
	assert_int_equal(state_decode(exact, len, &s, err, sizeof(err)), -EBADMSG);
	assert_int_equal(s.n, 77);
	assert_true(strlen(err) > 0);
}

static void truncation_at_every_byte_is_noticed(void **arg)
{
	size_t len;
	_cleanup_free_ char *text = sample(&len);

	(void)arg;
	for (size_t n = 0; n < len; n++)
		assert_damaged(text, n);
}

static void any_changed_byte_is_noticed(void **arg)
{
	size_t len;
	_cleanup_free_ char *text = sample(&len);

	(void)arg;
	for (size_t i = 0; i < len; i++)
		for (unsigned int bit = 0; bit < 8; bit++) {
			text[i] ^= (char)(1u << bit);
			assert_damaged(text, len);
			text[i] ^= (char)(1u << bit);
		}
}

static void trailing_bytes_are_noticed(void **arg)
{
	size_t len;
	_cleanup_free_ char *text = sample(&len);
	_cleanup_free_ char *longer = malloc(len + 1);

	(void)arg;
	memcpy(longer, text, len);
	longer[len] = '\n';
	assert_damaged(longer, len + 1);
}

static void another_version_is_named(void **arg)
{
	size_t len;
	_cleanup_free_ char *text = sample(&len);
	struct state s;
	char err[128] = "";

	(void)arg;
	assert_memory_equal(text, "{\"hearth_state\":1,", 18);
	text[16] = '7';
	assert_int_equal(state_decode(text, len, &s, err, sizeof(err)), -EBADMSG);
	assert_non_null(strstr(err, "version 7"));
	assert_non_null(strstr(err, "version 1"));
}

/* A file with one function, right but for what the function's line says. */
static int decode_line(const char *line)
{
	char text[1024], body[512];
	struct state s = {0};
	char err[128] = "";
	int rc;

	snprintf(body, sizeof(body), "\n%s\n]}\n", line);
	snprintf(text, sizeof(text), "{\"hearth_state\":1,\"crc32\":\"%08lx\",\"functions\":[%s",
		 crc32_z(0, (const unsigned char *)body, strlen(body)), body);
	rc = state_decode(text, strlen(text), &s, err, sizeof(err));
	state_done(&s);
	return rc;
}

static void measures_that_cannot_be_are_refused(void **arg)
{
	static const char *const good[] = {
	    "{\"name\":\"f\"}",
	    "{\"name\":\"f\",\"measures\":{}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[2,0,70000],\"later_s\":[]}}",
	};
	static const char *const bad[] = {
	    "{\"name\":\"f\",\"measures\":[]}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":7}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[0]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[-1,5]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[1]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[1,5,5]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[33,5]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[1,-5]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[1,0.5]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[1,9223372036854775807]}}",
	    "{\"name\":\"f\",\"measures\":{\"thaw_s\":[1,\"5\"]}}",
	};

	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(decode_line(good[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (decode_line(bad[i]) != -EBADMSG)
			fail_msg("%s is taken", bad[i]);
}

static struct state two(void)
{
	struct state s = {0};

	add_full(&s, 1);
	add_full(&s, 2);
	return s;
}

static void a_function_is_taken_once(void **arg)
{
	struct state s = two();
	struct state_function f;

	(void)arg;
	assert_true(state_take(&s, "ns/\"fn\"-\xc3\xa9\n-1", &f));
	assert_int_equal(f.invocations, 1007);
	assert_false(state_take(&s, "ns/\"fn\"-\xc3\xa9\n-1", &f));
	assert_int_equal(s.n, 1);
	state_function_done(&f);
	state_done(&s);
}

static void over_the_cap_the_longest_unseen_go(void **arg)
{
	struct state s = {0};
	struct state_function f;

	(void)arg;
	for (unsigned int n = 0; n < 10; n++)
		add_full(&s, n);
	assert_int_equal(state_trim(&s, 10), 0);
	assert_int_equal(state_trim(&s, 3), 7);
	assert_int_equal(s.n, 3);
	assert_false(state_take(&s, "ns/\"fn\"-\xc3\xa9\n-6", &f));
	assert_true(state_take(&s, "ns/\"fn\"-\xc3\xa9\n-7", &f));
	state_function_done(&f);
	state_done(&s);
}

static void saved(int rc, void *arg)
{
	*(int *)arg = rc;
}

static void save_on_worker(struct state *s)
{
	uv_loop_t loop;
	int rc = 1;
	struct state_writer *w;

	assert_int_equal(uv_loop_init(&loop), 0);
	w = state_writer_new(&loop, path, saved, &rc);
	assert_non_null(w);
	assert_int_equal(state_writer_save(w, s), 0);
	assert_int_equal(s->n, 0);
	assert_int_equal(state_writer_save(w, s), -EBUSY);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(rc, 0);
	state_writer_free(w);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void a_saved_file_is_loaded(void **arg)
{
	struct state s = two(), expected = two(), back;
	char err[256] = "";
	struct stat st;

	(void)arg;
	save_on_worker(&s);
	assert_int_equal(state_load(path, &back, err, sizeof(err)), 0);
	assert_int_equal(back.n, 2);
	assert_same(&back.functions[0], &expected.functions[0]);
	assert_same(&back.functions[1], &expected.functions[1]);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	state_done(&back);
	state_done(&expected);
}

static void no_file_is_an_empty_state(void **arg)
{
	struct state s;
	char err[256] = "";

	(void)arg;
	assert_int_equal(state_load(path, &s, err, sizeof(err)), 0);
	assert_int_equal(s.n, 0);
	assert_string_equal(err, "");
}

static void damage_is_set_aside_every_time(void **arg)
{
	char err[512];
	glob_t g = {0};

	(void)arg;
	for (int i = 0; i < 3; i++) {
		struct state s;

		assert_int_equal(write_atomic(path, "{\"hearth", 8, 0600), 0);
		assert_int_equal(state_load(path, &s, err, sizeof(err)), -EBADMSG);
		assert_int_equal(s.n, 0);
		assert_non_null(strstr(err, path));
		assert_non_null(strstr(err, ".damaged-"));
		assert_int_equal(access(path, F_OK), -1);
	}
	assert_int_equal(files("*.damaged-*", &g), 3);
	globfree(&g);
}

static void a_late_worker_never_replaces_a_newer_save(void **arg)
{
	uv_loop_t loop;
	struct state newer = {0}, back;
	struct state_writer *w;
	char err[256];
	int rc = 1;

	(void)arg;
	add_full(&newer, 5);
	assert_int_equal(uv_loop_init(&loop), 0);
	w = state_writer_new(&loop, path, saved, &rc);
	for (int i = 0; i < 200; i++) {
		struct state old = two();

		assert_int_equal(state_writer_save(w, &old), 0);
		assert_int_equal(state_writer_save_now(w, &newer), 0);
		uv_run(&loop, UV_RUN_DEFAULT);
		assert_int_equal(state_load(path, &back, err, sizeof(err)), 0);
		assert_int_equal(back.n, 1);
		state_done(&back);
	}
	state_writer_free(w);
	uv_loop_close(&loop);
	state_done(&newer);
}

static void a_failed_write_is_told_and_keeps_the_old_file(void **arg)
{
	uv_loop_t loop;
	struct state s = two();
	struct state_writer *w;
	char missing[128];
	int rc = 1;

	(void)arg;
	snprintf(missing, sizeof(missing), "%s/none/%s", folder, STATE_FILE);
	assert_int_equal(uv_loop_init(&loop), 0);
	w = state_writer_new(&loop, missing, saved, &rc);
	assert_int_equal(state_writer_save(w, &s), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(rc, -ENOENT);
	state_writer_free(w);
	uv_loop_close(&loop);
}

#define with_folder(t) cmocka_unit_test_setup_teardown(t, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_encoded_is_decoded),
	    cmocka_unit_test(sums_are_those_of_the_bins),
	    cmocka_unit_test(an_empty_state_survives),
	    cmocka_unit_test(what_could_not_be_read_back_is_not_taken),
	    cmocka_unit_test(truncation_at_every_byte_is_noticed),
	    cmocka_unit_test(any_changed_byte_is_noticed),
	    cmocka_unit_test(trailing_bytes_are_noticed),
	    cmocka_unit_test(another_version_is_named),
	    cmocka_unit_test(measures_that_cannot_be_are_refused),
	    cmocka_unit_test(a_function_is_taken_once),
	    cmocka_unit_test(over_the_cap_the_longest_unseen_go),
	    with_folder(a_saved_file_is_loaded),
	    with_folder(no_file_is_an_empty_state),
	    with_folder(damage_is_set_aside_every_time),
	    with_folder(a_late_worker_never_replaces_a_newer_save),
	    with_folder(a_failed_write_is_told_and_keeps_the_old_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
