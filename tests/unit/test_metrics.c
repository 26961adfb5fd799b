/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The page of metrics: one place per family, escaped labels, bounded, nothing of what is unknown.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/idle_shown.h"
#include "agent/metrics_families.h"
#include "agent/metrics_text.h"
#include "hearth/event.h"
#include "lib/util.h"

static char *page_of(const struct snapshot_function *functions, size_t n)
{
	struct metrics_page *p = metrics_page_new();
	size_t len;
	char *text;

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		metrics_page_function(p, &functions[i]);
	text = metrics_page_end(p, &len);
	assert_non_null(text);
	assert_int_equal(strlen(text), len);
	return text;
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void has(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no %sin\n%s", line, text);
}

static void samples_of_a_family_stand_together(void **state)
{
	const struct snapshot_function f[] = {{.name = "a", .most_invocations = 3, .idle_s = 0.5},
					      {.name = "b", .most_invocations = 4, .idle_s = NAN}};
	char *text = page_of(f, 2);

	(void)state;
	has(text, "# TYPE hearth_function_invocations_total counter\n"
		  "hearth_function_invocations_total{function=\"a\"} 3\n"
		  "hearth_function_invocations_total{function=\"b\"} 4\n#");
	assert_int_equal(count(text, "# TYPE hearth_function_invocations_total "), 1);
	has(text, "hearth_function_idle_age_seconds{function=\"a\"} 0.5\n");
	assert_null(strstr(text, "hearth_function_idle_age_seconds{function=\"b\"}"));
	assert_null(strstr(text, "nan"));
	free(text);
}

static void labels_are_escaped(void **state)
{
	const struct snapshot_function f[] = {
	    {.name = "a\"b\\c\nd"}, {.name = "\xc3\xa4"}, {.name = "\xff"}};
	char *text = page_of(f, 3);

	(void)state;
	has(text, "hearth_function_inflight{function=\"a\\\"b\\\\c\\nd\"} 0\n");
	has(text, "hearth_function_inflight{function=\"\xc3\xa4\"} 0\n");
	has(text, "hearth_function_inflight{function=\"?\"} 0\n");
	free(text);
}

static void idle_times_are_cumulative_up_to_infinity(void **state)
{
	const uint32_t bins[] = {2, 0, 1, 0, 4};
	const struct hearth_hist hist = {bins, 5, 7, 21, 3, 60};
	struct idle_shown shown = {0};
	const struct snapshot_function f = {.name = "f", .idle_shown = &shown};
	char *text;

	(void)state;
	idle_shown_raise(&shown, &hist);
	text = page_of(&f, 1);
	has(text, "hearth_function_idle_seconds_bucket{function=\"f\",le=\"60\"} 2\n"
		  "hearth_function_idle_seconds_bucket{function=\"f\",le=\"120\"} 2\n"
		  "hearth_function_idle_seconds_bucket{function=\"f\",le=\"240\"} 3\n"
		  "hearth_function_idle_seconds_bucket{function=\"f\",le=\"300\"} 7\n"
		  "hearth_function_idle_seconds_bucket{function=\"f\",le=\"+Inf\"} 10\n"
		  "hearth_function_idle_seconds_sum{function=\"f\"} 2190\n"
		  "hearth_function_idle_seconds_count{function=\"f\"} 10\n");
	free(text);
}

static void idle_times_taken_back_stay_counted(void **state)
{
	uint32_t bins[] = {1, 1};
	struct hearth_hist hist = {.bins = bins, .nbins = 2, .oob = 1, .bin_s = 60};
	struct idle_shown shown = {0};

	(void)state;
	idle_shown_raise(&shown, &hist);
	bins[0]--;
	hist.oob--;
	idle_shown_raise(&shown, &hist);
	assert_true(shown.within[0] == 1 && shown.within[1] == 2);
	assert_true(shown.count == 3 && shown.sum_s == 30 + 90 + 120);
	bins[1] += 3; /* more than before in all but the first bound */
	idle_shown_raise(&shown, &hist);
	assert_true(shown.within[0] == 1 && shown.within[1] == 4);
	assert_true(shown.count == 4 && shown.sum_s == 4 * 90);
}

static void under_other_bins_idle_times_are_counted_on(void **state)
{
	uint32_t bins[HEARTH_BINS] = {5};
	struct hearth_hist hist = {.bins = bins, .nbins = 2, .bin_s = 60};
	struct idle_shown shown = {0};

	(void)state;
	idle_shown_raise(&shown, &hist);
	bins[0] = 2;
	hist.bin_s = 1;
	hist.nbins = HEARTH_BINS - 1;
	idle_shown_raise(&shown, &hist);
	assert_int_equal(shown.n, 10);
	assert_true(shown.bound_s[0] == 1 && shown.bound_s[9] == HEARTH_BINS - 1);
	assert_true(shown.within[0] == 2 && shown.within[9] == 2);
	assert_true(shown.count == 5 && shown.sum_s == 150);
}

static void instances_are_counted_by_tier(void **state)
{
	const struct snapshot_instance instances[] = {{.tier = "frozen", .memory_bytes = 10},
						      {.tier = "frozen", .memory_bytes = 5},
						      {.tier = "freezing", .memory_bytes = NAN}};
	const struct snapshot_function f = {.name = "f", .instances = instances, .n_instances = 3};
	char *text = page_of(&f, 1);

	(void)state;
	has(text, "hearth_function_instances{function=\"f\",tier=\"frozen\"} 2\n");
	has(text, "hearth_function_instances{function=\"f\",tier=\"changing\"} 1\n");
	has(text, "hearth_function_memory_bytes{function=\"f\",tier=\"frozen\"} 15\n");
	free(text);
}

static void functions_beyond_the_bound_are_counted(void **state)
{
	struct snapshot_function *f = calloc(METRICS_FUNCTIONS + 5, sizeof(*f));
	char *text;

	(void)state;
	assert_non_null(f);
	for (size_t i = 0; i < METRICS_FUNCTIONS + 5; i++)
		f[i].name = "x";
	text = page_of(f, METRICS_FUNCTIONS + 5);
	assert_int_equal(count(text, "hearth_function_inflight{"), METRICS_FUNCTIONS);
	has(text, "\nhearth_functions_left_out 5\n");
	free(text);
	free(f);
}

static void names_follow_their_type(void **state)
{
	(void)state;
	for (int i = 0; i < METRICS_FAMILIES; i++) {
		const struct metrics_family_info *info = &metrics_families[i];
		size_t len = strlen(info->name);

		assert_int_equal(strncmp(info->name, "hearth_", 7), 0);
		assert_true(*info->help && !strchr(info->help, '\n') && !strchr(info->help, '\\'));
		assert_int_equal(info->type == METRIC_COUNTER,
				 len > 6 && !strcmp(info->name + len - 6, "_total"));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(info->name, metrics_families[j].name);
	}
}

static void images_tell_their_state(void **state)
{
	const struct snapshot_image image = {
	    .name = "py", .state = "frozen", .hits = 3, .users = NAN, .seconds_saved = 1.25};
	const struct snapshot_images images = {.images = &image, .n_images = 1};
	struct metrics_page *p = metrics_page_new();
	size_t len;
	char *text;

	(void)state;
	assert_non_null(p);
	metrics_page_images(p, &images);
	text = metrics_page_end(p, &len);
	assert_non_null(text);
	has(text, "hearth_image_manager_up 1\n");
	has(text, "hearth_image_state{image=\"py\",state=\"frozen\"} 1\n");
	has(text, "hearth_image_state{image=\"py\",state=\"resident\"} 0\n");
	has(text, "hearth_image_hits_total{image=\"py\"} 3\n");
	has(text, "hearth_image_saved_seconds_total{image=\"py\"} 1.25\n");
	assert_null(strstr(text, "hearth_image_users{"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(samples_of_a_family_stand_together),
	    cmocka_unit_test(labels_are_escaped),
	    cmocka_unit_test(idle_times_are_cumulative_up_to_infinity),
	    cmocka_unit_test(idle_times_taken_back_stay_counted),
	    cmocka_unit_test(under_other_bins_idle_times_are_counted_on),
	    cmocka_unit_test(instances_are_counted_by_tier),
	    cmocka_unit_test(functions_beyond_the_bound_are_counted),
	    cmocka_unit_test(names_follow_their_type),
	    cmocka_unit_test(images_tell_their_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
