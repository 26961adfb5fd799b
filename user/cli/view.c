/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Columns have a fixed width, except the function's name and the reason, which
 * share what is left. On a narrow terminal the columns with the highest `drop`
 * go first, so that name, tier and idle time stay.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/view.h"
#include "lib/util.h"

#define NAME_MIN  12
#define NAME_GOOD 40
#define WHY_MIN   16 /* a reason cut shorter says nothing */

struct column {
	const char *key;
	const char *title;
	int width; /* 0: flexible */
	bool right;
	int drop;     /* the highest goes first when there is no room; 0: never */
	bool falling; /* the natural order shows large values first */
	void (*text)(const struct view_row *row, char *buf);
	int (*compare)(const struct view_row *a, const struct view_row *b);
};

static int compare_numbers(double a, double b)
{
	/* Unknown counts as least: last where large values stand first. */
	if (isnan(a) || isnan(b))
		return !!isnan(b) - !!isnan(a);
	return (a > b) - (a < b);
}

#define NUMBER_COLUMN(field, format)                                                               \
	static void text_##field(const struct view_row *row, char *buf)                            \
	{                                                                                          \
		format(row->field, buf);                                                           \
	}                                                                                          \
	static int compare_##field(const struct view_row *a, const struct view_row *b)             \
	{                                                                                          \
		return compare_numbers(a->field, b->field);                                        \
	}

NUMBER_COLUMN(instances, format_count)
NUMBER_COLUMN(p50_s, format_duration)
NUMBER_COLUMN(p99_s, format_duration)
NUMBER_COLUMN(invocations, format_count)
NUMBER_COLUMN(cold_share, format_share)
NUMBER_COLUMN(memory_bytes, format_bytes)

static int compare_name(const struct view_row *a, const struct view_row *b)
{
	return strcmp(a->name, b->name);
}

static int compare_why(const struct view_row *a, const struct view_row *b)
{
	return strcmp(a->why, b->why);
}

static void text_tier(const struct view_row *row, char *buf)
{
	snprintf(buf, FORMAT_TEXT, "%.31s", row->tier);
}

static int compare_tier(const struct view_row *a, const struct view_row *b)
{
	return a->rank != b->rank ? a->rank - b->rank : compare_numbers(a->idle_s, b->idle_s);
}

static void text_idle(const struct view_row *row, char *buf)
{
	if (row->inflight > 0)
		snprintf(buf, FORMAT_TEXT, "%.0f busy", row->inflight);
	else
		format_duration(row->idle_s, buf);
}

static int compare_idle(const struct view_row *a, const struct view_row *b)
{
	return compare_numbers(a->inflight > 0 ? -a->inflight : a->idle_s,
			       b->inflight > 0 ? -b->inflight : b->idle_s);
}

static void text_next(const struct view_row *row, char *buf)
{
	char when[FORMAT_TEXT];

	if (!*row->action || !strcmp(row->action, "none"))
		strcpy(buf, "-");
	else if (isnan(row->next_in_s))
		snprintf(buf, FORMAT_TEXT, "%.16s", row->action);
	else
		snprintf(buf, FORMAT_TEXT, "%.16s %s", row->action,
			 format_duration(row->next_in_s, when));
}

static int compare_next(const struct view_row *a, const struct view_row *b)
{
	return compare_numbers(isnan(a->next_in_s) ? INFINITY : a->next_in_s,
			       isnan(b->next_in_s) ? INFINITY : b->next_in_s);
}

/* Name and reason are drawn by themselves: they have no text function. */
static const struct column columns[] = {
    {"name", "FUNCTION", 0, false, 0, false, NULL, compare_name},
    {"instances", "INST", 4, true, 3, true, text_instances, compare_instances},
    {"tier", "TIER", 11, false, 0, false, text_tier, compare_tier},
    {"idle", "IDLE", 7, true, 0, true, text_idle, compare_idle},
    {"next", "NEXT", 18, false, 2, false, text_next, compare_next},
    {"p50", "P50", 7, true, 4, true, text_p50_s, compare_p50_s},
    {"p99", "P99", 7, true, 5, true, text_p99_s, compare_p99_s},
    {"invocations", "INVOC", 6, true, 6, true, text_invocations, compare_invocations},
    {"cold", "COLD", 5, true, 7, true, text_cold_share, compare_cold_share},
    {"memory", "MEM", 6, true, 1, true, text_memory_bytes, compare_memory_bytes},
    {"reason", "REASON", 0, false, 8, false, NULL, compare_why},
};
#define COLUMN_NAME 0
#define COLUMN_WHY  ((int)ARRAY_SIZE(columns) - 1)

int view_columns(void)
{
	return ARRAY_SIZE(columns);
}

int view_sort_option(struct cli *cli)
{
	char accepted[256] = "";

	for (int i = 0; i < view_columns(); i++) {
		size_t used = strlen(accepted);

		if (!strcmp(columns[i].key, cli->arg))
			return i;
		snprintf(accepted + used, sizeof(accepted) - used, "%s%s", i ? ", " : "",
			 columns[i].key);
	}
	cli_usage(cli, "no column '%s'; accepted: %s", cli->arg, accepted);
	return -1;
}

/* ---- rows */

static int tier_rank(const char *tier)
{
	static const char *const order[] = {"running", "thawing",   "warm", "freezing",
					    "frozen",  "reclaimed", "gone", "foreign"};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (!strcmp(order[i], tier))
			return (int)i;
	return ARRAY_SIZE(order);
}

static void load_tier(struct view_row *row, const json_t *instances)
{
	const char *best = "gone";
	size_t i;
	int in_it = 0, n = (int)json_array_size(instances);
	json_t *instance;

	row->rank = tier_rank(best) + 1;
	json_array_foreach (instances, i, instance) {
		const char *tier = field_text(instance, "tier");
		int rank = tier_rank(tier);

		if (rank < row->rank) {
			row->rank = rank;
			best = tier;
			in_it = 0;
		}
		in_it += rank == row->rank;
	}
	if (in_it < n)
		snprintf(row->tier, sizeof(row->tier), "%.8s %d/%d", best, in_it, n);
	else
		snprintf(row->tier, sizeof(row->tier), "%.16s", best);
}

static void load_row(struct view_row *row, const json_t *f)
{
	const json_t *next = json_object_get(f, "next");
	double invocations = field_number(f, "invocations");

	*row = (struct view_row){
	    .name = field_text(f, "name"),
	    .policy = field_text(f, "policy"),
	    .mode = field_text(f, "mode"),
	    .action = field_text(next, "action"),
	    .why = field_text(f, "why"),
	    .instances = json_array_size(json_object_get(f, "instances")),
	    .inflight = field_number(f, "inflight"),
	    .idle_s = field_number(f, "idle_s"),
	    .next_in_s = field_number(next, "in_s"),
	    .p50_s = field_number(f, "it_p50_s"),
	    .p99_s = field_number(f, "it_p99_s"),
	    .invocations = invocations,
	    .cold_share = invocations > 0 ? field_number(f, "cold_starts") / invocations : NAN,
	    .memory_bytes = field_number(f, "memory_bytes"),
	};
	load_tier(row, json_object_get(f, "instances"));
}

int view_load(struct view *view, json_t *answer)
{
	const json_t *functions = json_object_get(answer, "functions");
	size_t n = json_array_size(functions);
	struct view_row *rows = calloc(n + 1, sizeof(*rows));

	if (!json_is_array(functions) || !rows) {
		json_decref(answer);
		free(rows);
		return rows ? -EPROTO : -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		load_row(&rows[i], json_array_get(functions, i));
	view_done(view);
	view->answer = answer;
	view->rows = rows;
	view->n = n;
	return 0;
}

void view_done(struct view *view)
{
	json_decref(view->answer);
	free(view->rows);
	view->answer = NULL;
	view->rows = NULL;
	view->n = 0;
}

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct view *view = arg;
	const struct column *c = &columns[view->sort];
	int order = c->compare(a, b);

	if (!order)
		return compare_name(a, b);
	return c->falling != view->reverse ? -order : order;
}

void view_sort(struct view *view, int column, bool reverse)
{
	view->sort = column;
	view->reverse = reverse;
	if (view->n)
		qsort_r(view->rows, view->n, sizeof(*view->rows), compare_rows, view);
}

void view_filter(struct view *view, const char *text)
{
	size_t kept = 0;

	for (size_t i = 0; i < view->n; i++) {
		const struct view_row *r = &view->rows[i];

		if (strcasestr(r->name, text) || strcasestr(r->tier, text) ||
		    strcasestr(r->mode, text) || strcasestr(r->policy, text))
			view->rows[kept++] = *r;
	}
	view->n = kept;
}

/* ---- drawing */

static bool is_shown(const struct view *view, int column)
{
	return !(view->dropped & (1u << column));
}

static int fixed_width(const struct view *view)
{
	int width = 0;

	for (int i = 0; i < view_columns(); i++)
		if (is_shown(view, i) && columns[i].width)
			width += columns[i].width + 1;
	return width;
}

static int longest_name(const struct view *view)
{
	int longest = strlen(columns[COLUMN_NAME].title);

	for (size_t i = 0; i < view->n; i++)
		longest = MAX(longest, format_width(view->rows[i].name));
	return longest;
}

/* Drop columns until name, fixed columns and a readable reason (or none) fit. */
static void drop_columns(struct view *view, int width)
{
	for (int drop = view_columns(); drop > 0; drop--) {
		int why = is_shown(view, COLUMN_WHY) ? WHY_MIN : 0;

		if (NAME_MIN + 1 + fixed_width(view) + why <= width)
			return;
		for (int i = 0; i < view_columns(); i++)
			if (columns[i].drop == drop)
				view->dropped |= 1u << i;
	}
}

static void lay_out(struct view *view, int width)
{
	int room, name;

	view->dropped = 0;
	view->name_width = longest_name(view);
	view->why_width = 0;
	if (!width)
		return;
	drop_columns(view, width);
	room = MAX(width - fixed_width(view), 2);
	if (!is_shown(view, COLUMN_WHY)) {
		view->name_width = MIN(view->name_width, room - 1);
		return;
	}
	name = MIN(view->name_width, NAME_GOOD);
	view->name_width = MAX(MIN(name, room / 2), MIN(name, NAME_MIN));
	view->why_width = room - view->name_width - 2;
}

static int column_width(const struct view *view, int column)
{
	if (column == COLUMN_NAME)
		return view->name_width;
	return column == COLUMN_WHY ? view->why_width : columns[column].width;
}

void view_draw_head(struct pen *pen, struct view *view)
{
	lay_out(view, pen->columns);
	for (int i = 0; i < view_columns(); i++)
		if (is_shown(view, i))
			pen_cell(pen, i == view->sort ? STYLE_SORTED : STYLE_HEAD, columns[i].title,
				 column_width(view, i), columns[i].right);
	pen_line(pen);
}

void view_draw_row(struct pen *pen, const struct view *view, size_t row, bool selected)
{
	const struct view_row *r = &view->rows[row];

	for (int i = 0; i < view_columns(); i++) {
		enum style style = columns[i].text == text_tier ? pen_tier(r->tier) : STYLE_PLAIN;
		char text[FORMAT_TEXT];
		const char *shown = i == COLUMN_NAME ? r->name : i == COLUMN_WHY ? r->why : text;

		if (!is_shown(view, i))
			continue;
		if (columns[i].text)
			columns[i].text(r, text);
		pen_cell(pen, selected ? STYLE_SELECTED : style, shown, column_width(view, i),
			 columns[i].right);
	}
	pen_line(pen);
}
