/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How the CLI writes numbers, cuts texts, and draws the idle-time histogram. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/histogram.h"
#include "lib/util.h"

static void durations_take_two_units_at_most(void **state)
{
	static const struct {
		double s;
		const char *text;
	} cases[] = {
	    {NAN, "-"},
	    {INFINITY, "forever"},
	    {0, "0s"},
	    {0.000074, "74us"},
	    {0.0012, "1ms"},
	    {0.999, "999ms"},
	    {1, "1s"},
	    {9.34, "9.3s"},
	    {59.99, "59s"},
	    {60, "1m"},
	    {250, "4m10s"},
	    {3600, "1h"},
	    {3 * 3600 + 300, "3h05m"},
	    {86400 * 2 + 4 * 3600, "2d04h"},
	};
	char buf[FORMAT_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(format_duration(cases[i].s, buf), cases[i].text);
}

static void sizes_counts_and_shares_are_short(void **state)
{
	char buf[FORMAT_TEXT];

	(void)state;
	assert_string_equal(format_bytes(NAN, buf), "-");
	assert_string_equal(format_bytes(512, buf), "512B");
	assert_string_equal(format_bytes(52428800, buf), "50.0M");
	assert_string_equal(format_bytes(1.5 * (1 << 30), buf), "1.5G");
	assert_string_equal(format_count(99999, buf), "99999");
	assert_string_equal(format_count(123456, buf), "123k");
	assert_string_equal(format_count(1239999, buf), "1.23M");
	assert_string_equal(format_count(4.5e9, buf), "4.50G");
	assert_string_equal(format_share(0, buf), "0%");
	assert_string_equal(format_share(0.0001, buf), "<.1%");
	assert_string_equal(format_share(0.034, buf), "3.4%");
	assert_string_equal(format_share(1, buf), "100%");
	assert_string_equal(format_share(NAN, buf), "-");
}

static void widths_are_columns_not_bytes(void **state)
{
	(void)state;
	assert_int_equal(format_width("abc"), 3);
	assert_int_equal(format_width("grüße"), 5);
	assert_int_equal(format_width("日本"), 4);
	assert_int_equal(format_fit("日本", 3), strlen("日"));
	assert_int_equal(format_fit("abc", 0), 0);
	assert_int_equal(format_width("\xff\xfe"), 2); /* no text, yet something is drawn */
}

/* Everything drawn by a pen of so many columns, in memory. */
struct canvas {
	struct file_pen pen;
	char *text;
	size_t size;
};

static void canvas_open(struct canvas *c, int columns)
{
	struct cli cli = {.out = open_memstream(&c->text, &c->size), .columns = columns};

	cli.terminal = columns > 0;
	c->pen = pen_open(&cli);
	c->pen.pen.utf8 = true;
}

static void canvas_expect(struct canvas *c, const char *expected)
{
	fclose(c->pen.file);
	assert_string_equal(c->text, expected);
	free(c->text);
}

static void cells_are_padded_or_cut_to_their_width(void **state)
{
	struct canvas c;

	(void)state;
	canvas_open(&c, 40);
	pen_cell(&c.pen.pen, STYLE_PLAIN, "ab", 4, false);
	pen_cell(&c.pen.pen, STYLE_PLAIN, "ab", 4, true);
	pen_cell(&c.pen.pen, STYLE_PLAIN, "abcdef", 4, false);
	pen_cell(&c.pen.pen, STYLE_PLAIN, "日本語", 4, false);
	pen_cell(&c.pen.pen, STYLE_PLAIN, "whole", 0, false);
	canvas_expect(&c, "ab     ab abc… 日…  whole ");
}

static void control_characters_never_reach_the_terminal(void **state)
{
	struct canvas c;

	(void)state;
	canvas_open(&c, 40);
	pen_print(&c.pen.pen, STYLE_PLAIN, "%s\n", "a\033[31m\nb\x7f");
	canvas_expect(&c, "a?[31m?b?\n");
}

static struct histogram histogram_of(uint32_t *bins, uint32_t n, double bin_s)
{
	struct histogram h = {
	    .hist = {.bins = bins, .nbins = n, .bin_s = bin_s}, .head_q = 5, .tail_q = 99};

	for (uint32_t i = 0; i < n; i++)
		h.hist.s1 += bins[i];
	return h;
}

static void a_histogram_is_drawn_as_bars_marks_and_windows(void **state)
{
	uint32_t bins[240] = {[2] = 1, [5] = 40, [6] = 80, [7] = 40, [20] = 1};
	struct hearth_window window = {270, 530};
	struct histogram h = histogram_of(bins, 240, 60);
	struct canvas c;

	(void)state;
	h.windows = &window;
	h.n_windows = 1;
	h.hist.oob = 3;
	canvas_open(&c, 40);
	histogram_draw(&c.pen.pen, &h, 4);
	canvas_expect(&c,
		      "     80 │      █              \n"
		      "        │      █              \n"
		      "        │     ███             \n"
		      "        │  ▁  ███            ▁\n"
		      "        └─────────────────────\n"
		      "         0    5m   10m  15m   21m\n"
		      "              HMT\n"
		      "    warm ····━━━━━············\n"
		      "         H head (5%) 5m   M median 7m   T tail (99%) 8m   one bin is 1m\n"
		      "         ━ kept warm   · frozen\n"
		      "         3 idle times beyond 4h\n");
}

static void more_bins_than_columns_are_grouped_and_none_is_hidden(void **state)
{
	uint32_t bins[240] = {[0] = 100000, [239] = 1};
	struct histogram h = histogram_of(bins, 240, 60);
	struct canvas c;

	(void)state;
	canvas_open(&c, 29); /* 20 columns: 12 bins each */
	histogram_draw(&c.pen.pen, &h, 1);
	fclose(c.pen.file);
	assert_non_null(strstr(c.text, "│█                  ▁\n"));
	assert_non_null(strstr(c.text, "4h\n"));
	free(c.text);
}

static void an_empty_histogram_says_so(void **state)
{
	uint32_t bins[4] = {0};
	struct histogram h = histogram_of(bins, 4, 60);
	struct canvas c;

	(void)state;
	canvas_open(&c, 40);
	histogram_draw(&c.pen.pen, &h, 4);
	canvas_expect(&c, "         no idle time within the range yet\n");
}

static int use_utf8(void **state)
{
	(void)state;
	return !setlocale(LC_CTYPE, "C.UTF-8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations_take_two_units_at_most),
	    cmocka_unit_test(sizes_counts_and_shares_are_short),
	    cmocka_unit_test(widths_are_columns_not_bytes),
	    cmocka_unit_test(cells_are_padded_or_cut_to_their_width),
	    cmocka_unit_test(control_characters_never_reach_the_terminal),
	    cmocka_unit_test(a_histogram_is_drawn_as_bars_marks_and_windows),
	    cmocka_unit_test(more_bins_than_columns_are_grouped_and_none_is_hidden),
	    cmocka_unit_test(an_empty_histogram_says_so),
	};

	return cmocka_run_group_tests(tests, use_utf8, NULL);
}
