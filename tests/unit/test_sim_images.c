/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Dependency images in the simulator: sets, costs, and who starts how. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/util.h"
#include "sim/capacity.h"

static char err[512];

/* Numbers that add up in the head. */
static const struct image_costs round_costs = {.alone_mb = 100,
					       .private_mb = 10,
					       .image_mb = 90,
					       .paged_mb = 20,
					       .cold_s = 4,
					       .fork_s = 0.5,
					       .paged_fork_s = 1,
					       .page_after_s = 50};

struct run {
	const char *rows, *policy, *ranker;
	double memory_mb;
	size_t sets; /* 0: no images, the default model */
	enum image_mode mode;
};

static void write_trace(char *path, const char *rows)
{
	FILE *f = fdopen(mkstemp(path), "w");
	int function, start;

	fprintf(f, "function,start_ms,warm_ms,cold_ms,mem_mb\n");
	for (int n; sscanf(rows, "f%d@%d %n", &function, &start, &n) == 2; rows += n)
		fprintf(f, "f%d,%d,1000,5000,100\n", function, start * 1000);
	fclose(f);
}

/* Functions that take 1 s, with these starts. */
static struct capacity_total host(const struct run *run)
{
	char path[] = "/tmp/hearth-images-XXXXXX";
	struct capacity_setting s = {
	    .memory_mb = run->memory_mb, .costs = round_costs, .mode = run->mode};
	struct images *images = run->sets ? images_draw(run->sets, 1) : NULL;
	struct capacity_total total;
	struct hearth_policy *p;
	struct hearth_ranker *r;
	struct capacity *c;
	struct trace *t;

	write_trace(path, run->rows);
	assert_int_equal(hearth_policy_parse(run->policy, 600, &p, err, sizeof(err)), 0);
	assert_int_equal(hearth_ranker_parse(run->ranker, &r, err, sizeof(err)), 0);
	s.policy = s.image_policy = s.forked_policy = p;
	s.ranker = r;
	s.images = images;
	assert_int_equal(
	    trace_open(&(char *){path}, 1, &(struct trace_options){0}, &t, err, sizeof(err)), 0);
	assert_int_equal(capacity_new(&s, 1, &(struct spread_options){0}, &c), 0);
	assert_int_equal(capacity_run(c, t), 0);
	total = *capacity_total(c, 0);
	assert_int_equal(total.arrivals,
			 total.cold + total.warm + total.starts.forks + total.dropped);
	capacity_free(c);
	trace_close(t);
	hearth_ranker_free(r);
	hearth_policy_free(p);
	images_free(images);
	unlink(path);
	return total;
}

static void without_images_it_is_the_default_model_without_a_queue(void **state)
{
	static const char *const policies[] = {"fixed:1", "always", "none", "hybrid:60"};
	static const char *const rankers[] = {"lru", "gdsf", "landlord", "lru,min-residency=60"};
	static char rows[1 << 16];
	size_t at = 0;

	(void)state;
	srand(3);
	for (int t = 0; t < 4000; t += rand() % 9)
		at += snprintf(rows + at, sizeof(rows) - at, "f%d@%d ", rand() % 7, t);
	for (size_t i = 0; i < ARRAY_SIZE(policies) * ARRAY_SIZE(rankers); i++) {
		struct run run = {.rows = rows,
				  .policy = policies[i % 4],
				  .ranker = rankers[i / 4],
				  .memory_mb = 400};
		struct capacity_total node = host(&run), y;

		run.sets = 3;
		y = host(&run);
		assert_true(y.arrivals > 500 && y.starts.forks == 0 && y.starts.image_loads == 0);
		assert_int_equal(y.cold, node.cold);
		assert_int_equal(y.warm, node.warm);
		assert_int_equal(y.dropped, node.dropped);
		assert_int_equal(y.evictions, node.evictions);
	}
}

static void a_set_that_recurs_gets_an_image_and_the_rest_is_forked(void **state)
{
	struct run run = {"f1@0 f2@100 f3@120 f1@200 ", "always", "lru", 1000, 1, IMAGE_ONLY};
	struct capacity_total y = host(&run);

	(void)state;
	assert_int_equal(y.cold, 2); /* alone, and with the image */
	assert_int_equal(y.starts.forks, 2);
	assert_int_equal(y.starts.image_loads, 1);
	assert_true(y.starts.mean_s == (4 + 4.5 + 0.5 + 1) / 4); /* paged out at 150 s */
	assert_true(y.starts.p99_s == 4.5);
	/* 0..5 s alone; the image from 100 s on; forks for 5.5, 1.5 and 2 s; end of trace 200 s */
	assert_true(fabs(y.starts.mb_s - (5 * 100 + 50 * 90 + 50 * 20 + (5.5 + 1.5) * 10)) < 1e-6);
}

static void instances_stay_beside_images_if_both_are_kept(void **state)
{
	struct run run = {
	    "f1@0 f2@100 f1@200 f1@300 f2@400 ", "always", "lru", 1000, 1, IMAGE_BOTH};
	struct capacity_total y = host(&run);

	(void)state;
	assert_int_equal(y.warm, 3);
	assert_int_equal(y.cold, 2);
	assert_int_equal(y.starts.image_loads, 1);
}

static void an_image_is_kept_by_the_calls_of_all_its_functions(void **state)
{
	struct run run = {"f1@0 f2@40 f1@90 f2@140 f1@190 ", "fixed:1", "lru", 1000, 1, IMAGE_ONLY};

	(void)state;
	assert_int_equal(host(&run).starts.forks, 3); /* none of them comes within a minute */
	run.sets = 5000;                              /* each its own */
	assert_int_equal(host(&run).starts.forks, 0);
	run.rows = "f1@0 f1@40 f1@80 f1@200 ";
	assert_int_equal(host(&run).starts.forks, 1); /* unloaded in between */
	assert_int_equal(host(&run).starts.image_loads, 2);
}

static void an_image_never_goes_before_its_children(void **state)
{
	/* Room for the image and two children: a third takes the place of one. */
	struct run run = {"f1@0 f2@10 f3@20 f4@22 f5@24 ", "always", "lru", 110, 1, IMAGE_BOTH};
	struct capacity_total y = host(&run);

	(void)state;
	assert_int_equal(y.dropped, 0);
	assert_int_equal(y.starts.image_loads, 1);
	assert_int_equal(y.starts.forks, 3);
	assert_int_equal(y.cold, 2);
	assert_int_equal(y.evictions, 3); /* f1 for the image, f2 and f3 */
}

static void a_short_policy_takes_the_image_with_the_last_child(void **state)
{
	struct run run = {"f1@0 f2@10 f2@100 f2@200 ", "fixed:1", "lru", 1000, 1, IMAGE_BOTH};
	struct capacity_total y = host(&run);

	(void)state;
	assert_int_equal(y.starts.image_loads, 3); /* gone after a minute each time */
	assert_int_equal(y.cold, 4);
}

static void calls_without_room_are_dropped(void **state)
{
	struct run run = {"f1@0 f2@1 f3@10 ", "always", "lru", 100, 1, IMAGE_BOTH};
	struct capacity_total y = host(&run);

	(void)state;
	assert_int_equal(y.dropped, 1); /* f1 runs until 5 s */
	assert_int_equal(y.cold, 2);
}

static void sets_at_random_fall_in_popularity_and_hang_on_name_and_seed(void **state)
{
	enum { SETS = 10, FUNCTIONS = 20000 };
	struct images *a = images_draw(SETS, 1), *b = images_draw(SETS, 2);
	unsigned int count[SETS] = {0}, other = 0;
	char name[32];

	(void)state;
	for (int i = 0; i < FUNCTIONS; i++) {
		long k;

		snprintf(name, sizeof(name), "app%d/f", i);
		k = images_of(a, name);
		assert_true(k >= 0 && k < SETS && k == images_of(a, name));
		other += k != images_of(b, name);
		count[k]++;
	}
	assert_int_equal(images_count(a), SETS);
	assert_true(other > FUNCTIONS / 2);
	for (int k = 0; k < SETS; k++) /* the harmonic number of 10 is 2.93 */
		assert_true(fabs(count[k] * 2.929 * (k + 1) / FUNCTIONS - 1) < 0.1);
	images_free(a);
	images_free(b);
}

static int read_text(const char *text, struct images **out)
{
	char path[] = "/tmp/hearth-images-XXXXXX";
	FILE *f = fdopen(mkstemp(path), "w");
	int rc;

	fputs(text, f);
	fclose(f);
	rc = images_read(path, out, err, sizeof(err));
	unlink(path);
	return rc;
}

static void a_file_says_who_shares_what(void **state)
{
	struct images *m;

	(void)state;
	assert_int_equal(read_text("function,image\na/f,numpy\nb/g,flask\nc/h,numpy\n", &m), 0);
	assert_int_equal(images_count(m), 2);
	assert_int_equal(images_of(m, "a/f"), images_of(m, "c/h"));
	assert_int_not_equal(images_of(m, "a/f"), images_of(m, "b/g"));
	assert_int_equal(images_of(m, "d"), -1);
	images_free(m);
}

static void a_file_that_is_none_is_refused_by_line(void **state)
{
	struct images *m;

	(void)state;
	assert_int_equal(read_text("f,numpy\n", &m), -EINVAL);
	assert_non_null(strstr(err, ":1:1: accepted: a first line function,image"));
	assert_int_equal(read_text("function,image\nf,numpy\ng\n", &m), -EINVAL);
	assert_non_null(strstr(err, ":3:1: accepted: FUNCTION,IMAGE"));
	assert_int_equal(read_text("function,image\nf,numpy\nf,flask\n", &m), -EINVAL);
	assert_non_null(strstr(err, ":3:1: f is there already"));
	assert_int_equal(images_read("/nonexistent/x", &m, err, sizeof(err)), -ENOENT);
}

static void costs_are_changed_by_name_and_checked(void **state)
{
	struct image_costs c = images_costs;

	(void)state;
	assert_int_equal(images_costs_parse("image=200,cold=1500,seed=7", &c, err, sizeof(err)), 0);
	assert_true(c.image_mb == 200 && c.cold_s == 1.5 && c.seed == 7);
	assert_true(c.alone_mb == images_costs.alone_mb);
	static const char *const wrong[] = {"",          "image",    "image=",   "image=x",
					    "image=-1",  "imag=3",   "image=3,", "image=1e99",
					    "image=nan", "private=0"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(images_costs_parse(wrong[i], &c, err, sizeof(err)), -EINVAL);
		assert_non_null(strstr(err, "accepted: alone, private, image"));
	}
}

static void what_a_start_is_worth_goes_by_memory_and_by_what_is_saved(void **state)
{
	struct image_costs c = round_costs;

	(void)state;
	assert_true(images_worth_s(&c, 60, true) == 60 * (100 / 20.0) * (3 / 4.0));
	assert_true(images_worth_s(&c, 60, false) == 60 * (100 / 10.0) * (1 / 4.0));
	c.paged_fork_s = 9; /* images are good for nothing */
	assert_true(images_worth_s(&c, 60, true) > 0 && images_worth_s(&c, 60, true) < 1);
	c.cold_s = 0;
	assert_true(isfinite(images_worth_s(&c, 60, true)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_images_it_is_the_default_model_without_a_queue),
	    cmocka_unit_test(a_set_that_recurs_gets_an_image_and_the_rest_is_forked),
	    cmocka_unit_test(instances_stay_beside_images_if_both_are_kept),
	    cmocka_unit_test(an_image_is_kept_by_the_calls_of_all_its_functions),
	    cmocka_unit_test(an_image_never_goes_before_its_children),
	    cmocka_unit_test(a_short_policy_takes_the_image_with_the_last_child),
	    cmocka_unit_test(calls_without_room_are_dropped),
	    cmocka_unit_test(sets_at_random_fall_in_popularity_and_hang_on_name_and_seed),
	    cmocka_unit_test(a_file_says_who_shares_what),
	    cmocka_unit_test(a_file_that_is_none_is_refused_by_line),
	    cmocka_unit_test(costs_are_changed_by_name_and_checked),
	    cmocka_unit_test(what_a_start_is_worth_goes_by_memory_and_by_what_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
