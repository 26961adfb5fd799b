/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of functions that `ls` and `top` show: rows taken from the agent's
 * answer, one table of columns, sorting, filtering and fitting to a width. Rows
 * borrow their texts from the answer, which the view keeps.
 */
#ifndef HEARTH_VIEW_H
#define HEARTH_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/format.h"
#include "cli/pen.h"

struct view_row {
	const char *name;
	const char *policy;
	const char *mode;
	const char *action; /* next step */
	const char *why;
	char tier[40]; /* the most awake instance's; " 1/3": how many are in it */
	int rank;      /* order of tiers: running first */
	double instances;
	double inflight;
	double idle_s;
	double next_in_s;
	double p50_s, p99_s;
	double invocations;
	double cold_share;
	double memory_bytes;
};

struct view {
	json_t *answer;
	struct view_row *rows;
	size_t n;
	int sort; /* index of a column */
	bool reverse;
	/* Layout, made by view_draw_head. */
	unsigned int dropped; /* bits of columns that do not fit */
	int name_width;
	int why_width;
};

/* Takes the reference to answer ({"functions":[...]}). -EPROTO if it is something else. */
int view_load(struct view *view, json_t *answer);
void view_done(struct view *view);

void view_sort(struct view *view, int column, bool reverse);
/* Keep the rows whose name, tier, mode or policy contains text, in any case. */
void view_filter(struct view *view, const char *text);

/* What --sort, --reverse and --filter of a command ask for. */
struct view_choice {
	int sort;
	bool reverse;
	const char *filter; /* "" for all */
};

int view_columns(void);
/* The column that --sort names, or -1 after a message that lists them. */
struct cli;
int view_sort_option(struct cli *cli);

/* The titles; also fits the columns to the pen, for the rows that follow. */
void view_draw_head(struct pen *pen, struct view *view);
void view_draw_row(struct pen *pen, const struct view *view, size_t row, bool selected);

#endif
