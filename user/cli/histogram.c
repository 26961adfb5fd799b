/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Layout: a gutter with the scale, then one column per bin or group of bins.
 * Everything is counted in columns once `scale` says how many bins a column has.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/histogram.h"
#include "lib/util.h"

#define GUTTER      8   /* "  12345 " and the axis follow */
#define COLUMNS     79  /* where the width is not known */
#define MAX_COLUMNS 160 /* wider says no more */
#define MAX_BAR     4   /* columns of one bin when there is room */

/* How bins map to columns: either `group` bins a column, or `bar` columns a bin. */
struct scale {
	unsigned int bins; /* shown */
	unsigned int group;
	unsigned int bar;
	unsigned int columns;
	double column_s;
};

struct glyphs {
	const char *levels[9]; /* from empty to full */
	const char *axis, *corner, *base, *warm, *cold;
};

static const struct glyphs blocks = {
    {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}, "│", "└", "─", "━", "·"};
static const struct glyphs ascii = {
    {" ", ".", ".", ":", ":", "|", "|", "#", "#"}, "|", "+", "-", "=", "."};

/* Bins up to the last one in use, and up to the end of the last finite window in range. */
static unsigned int bins_shown(const struct histogram *h)
{
	unsigned int shown = 0;

	for (unsigned int i = 0; i < h->hist.nbins; i++)
		if (h->hist.bins[i])
			shown = i + 1;
	for (size_t i = 0; i < h->n_windows; i++) {
		double close = h->windows[i].close_s / h->hist.bin_s;

		if (close > shown && close <= h->hist.nbins)
			shown = (unsigned int)ceil(close);
	}
	return MAX(shown, 1u);
}

static struct scale fit(const struct histogram *h, int columns)
{
	int room = MIN((columns ? columns : COLUMNS) - GUTTER - 1, MAX_COLUMNS);
	struct scale s = {.bins = bins_shown(h), .group = 1, .bar = 1};
	unsigned int width = MAX(room, 10);

	if (s.bins > width)
		s.group = (s.bins + width - 1) / width;
	else
		s.bar = MIN(width / s.bins, (unsigned int)MAX_BAR);
	s.columns = (s.bins + s.group - 1) / s.group * s.bar;
	s.column_s = h->hist.bin_s * s.group / s.bar;
	return s;
}

static uint64_t column_value(const struct histogram *h, const struct scale *s, unsigned int column)
{
	unsigned int from = column / s->bar * s->group, to = MIN(from + s->group, h->hist.nbins);
	uint64_t sum = 0;

	for (unsigned int i = from; i < to; i++)
		sum += h->hist.bins[i];
	return sum;
}

static uint64_t peak_of(const struct histogram *h, const struct scale *s)
{
	uint64_t peak = 0;

	for (unsigned int c = 0; c < s->columns; c++)
		peak = MAX(peak, column_value(h, s, c));
	return peak;
}

/* Eighths of a line that are filled in line `row` (0 = bottom). */
static unsigned int level(uint64_t value, uint64_t peak, int rows, int row)
{
	uint64_t eighths = value ? MAX(value * 8 * rows / peak, UINT64_C(1)) : 0;
	uint64_t below = 8 * (uint64_t)row;

	return eighths <= below ? 0 : (unsigned int)MIN(eighths - below, UINT64_C(8));
}

static void draw_bars(struct pen *pen, const struct glyphs *g, const struct histogram *h,
		      const struct scale *s, int rows)
{
	uint64_t peak = peak_of(h, s);

	for (int row = rows - 1; row >= 0; row--) {
		char label[FORMAT_TEXT] = "";

		if (row == rows - 1)
			format_count((double)peak, label);
		pen_print(pen, STYLE_DIM, "%*s %s", GUTTER - 1, label, g->axis);
		for (unsigned int c = 0; c < s->columns; c++)
			pen_print(pen, STYLE_GOOD, "%s",
				  g->levels[level(column_value(h, s, c), peak, rows, row)]);
		pen_line(pen);
	}
}

/* A line of text under the axis, into which labels are placed by column. */
struct label_line {
	char text[MAX_COLUMNS + FORMAT_TEXT + 1];
	unsigned int columns;
};

/* Put a label at a column, moved left so that it stays inside; false if it would touch another. */
static bool place(struct label_line *line, unsigned int column, const char *label)
{
	size_t length = strlen(label), from;

	if (length > line->columns)
		return false;
	from = MIN((size_t)column, line->columns - length);
	for (size_t i = from ? from - 1 : 0; i <= from + length; i++)
		if (line->text[i] && line->text[i] != ' ')
			return false;
	memcpy(line->text + from, label, length);
	return true;
}

static void start_line(struct label_line *line, const struct scale *s)
{
	memset(line->text, ' ', sizeof(line->text));
	line->columns = s->columns + FORMAT_TEXT / 2; /* the last label may stand out */
	line->text[line->columns] = '\0';
}

static void end_line(struct pen *pen, enum style style, struct label_line *line)
{
	size_t n = line->columns;

	while (n && line->text[n - 1] == ' ')
		n--;
	pen_print(pen, style, "%*s%.*s\n", GUTTER + 1, "", (int)n, line->text);
}

static void draw_axis(struct pen *pen, const struct glyphs *g, const struct scale *s)
{
	struct label_line line;
	char label[FORMAT_TEXT];

	pen_print(pen, STYLE_DIM, "%*s%s", GUTTER, "", g->corner);
	for (unsigned int c = 0; c < s->columns; c++)
		pen_print(pen, STYLE_DIM, "%s", g->base);
	pen_line(pen);
	start_line(&line, s);
	place(&line, 0, "0");
	place(&line, s->columns, format_duration(s->columns * s->column_s, label));
	for (unsigned int quarter = 2; quarter; quarter = quarter == 2 ? 1 : quarter == 1 ? 3 : 0)
		place(&line, s->columns * quarter / 4,
		      format_duration(s->columns * quarter / 4 * s->column_s, label));
	end_line(pen, STYLE_DIM, &line);
}

/* Column of the lower (head) or upper (tail) edge of a percentile's bin; -1: none. */
static int mark_column(const struct histogram *h, const struct scale *s, unsigned int q)
{
	int bin = hearth_hist_percentile(&h->hist, q);

	return bin < 0 ? -1 : (int)((unsigned int)bin / s->group * s->bar);
}

static void draw_marks(struct pen *pen, const struct histogram *h, const struct scale *s)
{
	const struct {
		char letter;
		unsigned int q;
	} marks[] = {{'H', h->head_q}, {'T', h->tail_q}, {'M', 50}};
	struct label_line line;

	start_line(&line, s);
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		int column = mark_column(h, s, marks[i].q);

		if (column >= 0 && line.text[column] == ' ')
			line.text[column] = marks[i].letter;
	}
	end_line(pen, STYLE_BOLD, &line);
}

static bool in_window(const struct histogram *h, double from_s, double to_s)
{
	for (size_t i = 0; i < h->n_windows; i++)
		if (h->windows[i].open_s < to_s && h->windows[i].close_s > from_s)
			return true;
	return false;
}

static void draw_windows(struct pen *pen, const struct glyphs *g, const struct histogram *h,
			 const struct scale *s)
{
	pen_print(pen, STYLE_DIM, "%*s ", GUTTER, "warm");
	for (unsigned int c = 0; c < s->columns; c++) {
		bool warm = in_window(h, c * s->column_s, (c + 1) * s->column_s);

		pen_print(pen, warm ? STYLE_WARN : STYLE_COLD, "%s", warm ? g->warm : g->cold);
	}
	pen_line(pen);
}

static void draw_legend(struct pen *pen, const struct glyphs *g, const struct histogram *h)
{
	const struct hearth_hist *hist = &h->hist;
	char head[FORMAT_TEXT], median[FORMAT_TEXT], tail[FORMAT_TEXT], bin[FORMAT_TEXT];

	pen_print(
	    pen, STYLE_DIM,
	    "%*s H head (%u%%) %s   M median %s   T tail (%u%%) %s   one bin is %s\n", GUTTER, "",
	    h->head_q, format_duration(hearth_hist_percentile(hist, h->head_q) * hist->bin_s, head),
	    format_duration((hearth_hist_percentile(hist, 50) + 1) * hist->bin_s, median),
	    h->tail_q,
	    format_duration((hearth_hist_percentile(hist, h->tail_q) + 1) * hist->bin_s, tail),
	    format_duration(hist->bin_s, bin));
	pen_print(pen, STYLE_DIM, "%*s %s kept warm   %s frozen\n", GUTTER, "", g->warm, g->cold);
}

void histogram_draw(struct pen *pen, const struct histogram *h, int rows)
{
	const struct glyphs *g = pen->utf8 ? &blocks : &ascii;
	char range[FORMAT_TEXT];

	if (h->hist.s1) {
		struct scale s = fit(h, pen->columns);

		draw_bars(pen, g, h, &s, rows);
		draw_axis(pen, g, &s);
		draw_marks(pen, h, &s);
		draw_windows(pen, g, h, &s);
		draw_legend(pen, g, h);
	} else {
		pen_print(pen, STYLE_DIM, "%*s no idle time within the range yet\n", GUTTER, "");
	}
	if (h->hist.oob)
		pen_print(pen, STYLE_WARN, "%*s %llu idle times beyond %s\n", GUTTER, "",
			  (unsigned long long)h->hist.oob,
			  format_duration(h->hist.nbins * h->hist.bin_s, range));
}
