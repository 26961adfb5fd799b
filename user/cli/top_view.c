/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One frame: two lines about the agent, one about what is wrong or how rows are
 * chosen, the titles, the rows, the images, a help line. A filter keeps the answer whole
 * and is applied to a copy of its rows, so that removing it needs no new answer.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/images_pane.h"
#include "cli/top_view.h"
#include "lib/util.h"

#define HEAD_LINES 4 /* above the rows */
#define FOOT_LINES 1

bool top_load(struct top *top, json_t *status, json_t *functions, json_t *images)
{
	json_decref(top->status);
	json_decref(top->images);
	top->status = status;
	top->images = images;
	if (view_load(&top->view, functions))
		return false;
	top_resort(top);
	return true;
}

void top_done(struct top *top)
{
	view_done(&top->view);
	json_decref(top->status);
	json_decref(top->images);
	free(top->selected);
}

/* Rows from the answer held, in the order and with the filter of now. */
void top_resort(struct top *top)
{
	if (top->view.answer)
		view_load(&top->view, json_incref(top->view.answer));
	view_filter(&top->view, top->filter);
	view_sort(&top->view, top->sort, top->reverse);
}

/* ---- cursor */

static size_t cursor(const struct top *top)
{
	for (size_t i = 0; top->selected && i < top->view.n; i++)
		if (!strcmp(top->view.rows[i].name, top->selected))
			return i;
	return 0;
}

void top_move(struct top *top, long rows)
{
	long at = (long)cursor(top) + rows, last = (long)top->view.n - 1;

	if (last < 0)
		return;
	at = MAX(MIN(at, last), 0L);
	free(top->selected);
	top->selected = strdup(top->view.rows[at].name);
}

/* Images get a quarter of the screen at most. */
static int pane_lines(const struct top *top)
{
	return images_pane_lines(top->images, top->rows ? MAX(top->rows / 4, 1) : 0);
}

static size_t rows_on_screen(const struct top *top)
{
	return (size_t)MAX(top->rows - HEAD_LINES - FOOT_LINES - pane_lines(top), 1);
}

/* Scroll so that the cursor is on the screen and no line stays empty needlessly. */
static void scroll_to_cursor(struct top *top)
{
	size_t at = cursor(top), shown = rows_on_screen(top);

	if (top->offset + shown > top->view.n)
		top->offset = top->view.n > shown ? top->view.n - shown : 0;
	if (at < top->offset)
		top->offset = at;
	if (at >= top->offset + shown)
		top->offset = at - shown + 1;
}

/* ---- drawing */

static double total(const struct top *top, const char *key)
{
	return field_number(json_object_get(top->status, "totals"), key);
}

static void draw_agent(const struct top *top, struct pen *pen)
{
	const json_t *s = top->status, *guard = json_object_get(s, "guard");
	double cpu_s = field_number(s, "cpu_s"), uptime_s = field_number(s, "uptime_s");
	char up[FORMAT_TEXT], cpu[FORMAT_TEXT], memory[FORMAT_TEXT];
	bool guarded = field_is_true(guard, "alive");

	pen_print(pen, STYLE_BOLD, "hearthd %s ", field_text(s, "version"));
	pen_print(pen, STYLE_WARN, "%s", field_text(s, "mode"));
	pen_print(pen, STYLE_PLAIN, "  up %s  cpu %s  mem %s  ", format_duration(uptime_s, up),
		  format_share(uptime_s > 0 ? cpu_s / uptime_s : NAN, cpu),
		  format_bytes(field_number(s, "memory_bytes"), memory));
	pen_print(pen, guarded ? STYLE_GOOD : STYLE_BAD, guarded ? "guard ok" : "NO GUARD");
	pen_line(pen);
}

static void draw_totals(const struct top *top, struct pen *pen)
{
	const json_t *wake = json_object_get(top->status, "wake");
	char a[FORMAT_TEXT], b[FORMAT_TEXT], c[FORMAT_TEXT];

	pen_print(pen, STYLE_PLAIN, "%.0f functions  %.0f instances  ", total(top, "functions"),
		  total(top, "instances"));
	pen_print(pen, STYLE_COLD, "%.0f frozen", total(top, "frozen"));
	pen_print(pen, STYLE_GOOD, "  %.0f in flight", total(top, "inflight"));
	pen_print(pen, STYLE_PLAIN, "  %s invocations  %s cold",
		  format_count(total(top, "invocations"), a),
		  format_count(total(top, "cold_starts"), b));
	pen_print(pen, STYLE_PLAIN, "  %s wakes p50 %s p99 %s\n",
		  format_count(total(top, "wakes"), a),
		  format_duration(field_number(wake, "p50_us") / 1e6, b),
		  format_duration(field_number(wake, "p99_us") / 1e6, c));
}

static double lost(const struct top *top)
{
	const json_t *drops = json_object_get(top->status, "drops");
	double sum = 0;
	json_t *drop;
	size_t i;

	json_array_foreach (drops, i, drop)
		sum += json_number_value(json_object_get(drop, "count"));
	return sum;
}

static void draw_state(const struct top *top, struct pen *pen)
{
	if (*top->problem)
		pen_print(pen, STYLE_BAD, "%s  ", top->problem);
	if (top->paused)
		pen_print(pen, STYLE_SELECTED, "paused");
	if (top->paused)
		pen_print(pen, STYLE_PLAIN, "  ");
	if (top->typing || *top->filter)
		pen_print(pen, STYLE_BOLD, "filter: %s%s  (%zu shown)  ", top->filter,
			  top->typing ? "_" : "", top->view.n);
	if (lost(top) > 0)
		pen_print(pen, STYLE_WARN, "%.0f kernel records dropped (hearth status)  ",
			  lost(top));
	pen_line(pen);
}

static void draw_empty(const struct top *top, struct pen *pen)
{
	if (*top->filter)
		pen_print(pen, STYLE_DIM, "no function matches the filter (Esc clears it)\n");
	else if (top->status)
		pen_print(pen, STYLE_DIM,
			  "no functions: does a rule of the config match their cgroups?\n");
}

static void draw_help(struct top *top, struct pen *pen)
{
	if (top->typing)
		pen_print(pen, STYLE_DIM,
			  "type to filter by name, tier, mode or policy"
			  "  Enter keep  Esc clear");
	else
		pen_print(
		    pen, STYLE_DIM,
		    "q quit  Enter explain  / filter  < > sort  r reverse  p %s  space refresh",
		    top->paused ? "resume" : "pause");
}

void top_draw(struct top *top, struct pen *pen)
{
	size_t last = top->view.n, at = cursor(top);

	if (top->rows) {
		scroll_to_cursor(top);
		last = MIN(last, top->offset + rows_on_screen(top));
	}
	draw_agent(top, pen);
	draw_totals(top, pen);
	draw_state(top, pen);
	view_draw_head(pen, &top->view);
	for (size_t i = top->offset; i < last; i++)
		view_draw_row(pen, &top->view, i, top->rows && i == at);
	if (!top->view.n)
		draw_empty(top, pen);
	if (!top->rows) {
		images_pane_draw(pen, top->images, pane_lines(top));
		return;
	}
	for (size_t line = MAX(last - top->offset, (size_t)!top->view.n);
	     line < rows_on_screen(top); line++)
		pen_line(pen);
	images_pane_draw(pen, top->images, pane_lines(top));
	draw_help(top, pen);
}
