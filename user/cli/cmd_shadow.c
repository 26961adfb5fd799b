/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth shadow: what each policy would have cost, summed over functions and
 * for each of them. The agent charges; here is only the table.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/pen.h"
#include "lib/util.h"

#define POLICY_WIDTH 28
#define NUMBER_WIDTH 9

struct row {
	const char *policy; /* the answer's */
	bool acting;
	double functions;
	double cold, lukewarm, warm, loads, waste_s, waste_gb_s, cost_s, cost_gb_s;
};

struct totals {
	struct row *rows;
	size_t n;
};

static struct row read_row(const json_t *o)
{
	return (struct row){
	    .policy = field_text(o, "policy"),
	    .acting = field_is_true(o, "acting"),
	    .functions = 1,
	    .cold = field_number(o, "cold_starts"),
	    .lukewarm = field_number(o, "lukewarm_starts"),
	    .warm = field_number(o, "warm_starts"),
	    .loads = field_number(o, "loads"),
	    .waste_s = field_number(o, "waste_s"),
	    .waste_gb_s = field_number(o, "waste_gb_s"),
	    .cost_s = field_number(o, "cost_s"),
	    .cost_gb_s = field_number(o, "cost_gb_s"),
	};
}

/* ---- sums */

static int add(struct totals *t, const char *policy, const struct row *row)
{
	struct row *sum = NULL, *more;

	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->rows[i].policy, policy))
			sum = &t->rows[i];
	if (!sum) {
		more = reallocarray(t->rows, t->n + 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		t->rows = more;
		sum = &t->rows[t->n++];
		*sum = (struct row){.policy = policy};
	}
	sum->functions++;
	sum->cold += row->cold;
	sum->lukewarm += row->lukewarm;
	sum->warm += row->warm;
	sum->loads += row->loads;
	sum->waste_s += row->waste_s;
	sum->waste_gb_s += row->waste_gb_s;
	sum->cost_s += row->cost_s;
	sum->cost_gb_s += row->cost_gb_s;
	return 0;
}

/* The policies that act, whichever they are, are summed first as one. */
static int sum_up(const json_t *functions, struct totals *t)
{
	const json_t *function, *policy;
	size_t i, j;
	int rc = 0;

	json_array_foreach (functions, i, function)
		json_array_foreach (json_object_get(function, "policies"), j, policy) {
			struct row row = read_row(policy);

			if (row.acting && !rc)
				rc = add(t, "what acts", &row);
			if (!rc)
				rc = add(t, row.policy, &row);
		}
	return rc;
}

/* ---- the tables */

static void cell(struct pen *pen, const char *text)
{
	pen_cell(pen, STYLE_PLAIN, text, NUMBER_WIDTH, true);
}

static const char *text_gb_s(double gb_s, char *buf)
{
	if (isnan(gb_s) || gb_s >= 1000)
		return format_count(gb_s, buf);
	snprintf(buf, FORMAT_TEXT, "%.2f", gb_s);
	return buf;
}

static void draw_head(struct pen *pen, bool totals)
{
	static const char *const TITLES[] = {"COLD",   "LUKEWARM", "WARM", "LOADS",
					     "LOADED", "GB-S",     "COST", "COST-GB"};

	pen_cell(pen, STYLE_HEAD, "", 1, false);
	pen_cell(pen, STYLE_HEAD, "POLICY", POLICY_WIDTH, false);
	if (totals)
		pen_cell(pen, STYLE_HEAD, "FUNCTIONS", NUMBER_WIDTH, true);
	for (size_t i = 0; i < ARRAY_SIZE(TITLES); i++)
		pen_cell(pen, STYLE_HEAD, TITLES[i], NUMBER_WIDTH, true);
	pen_line(pen);
}

static void draw_row(struct pen *pen, const struct row *row, bool totals)
{
	enum style style = row->acting ? STYLE_BOLD : STYLE_PLAIN;
	char buf[FORMAT_TEXT];

	pen_cell(pen, style, row->acting ? "*" : "", 1, false);
	pen_cell(pen, style, row->policy, POLICY_WIDTH, false);
	if (totals)
		cell(pen, format_count(row->functions, buf));
	cell(pen, format_count(row->cold, buf));
	cell(pen, format_count(row->lukewarm, buf));
	cell(pen, format_count(row->warm, buf));
	cell(pen, format_count(row->loads, buf));
	cell(pen, format_duration(row->waste_s, buf));
	cell(pen, text_gb_s(row->waste_gb_s, buf));
	cell(pen, format_duration(row->cost_s, buf));
	cell(pen, text_gb_s(row->cost_gb_s, buf));
	pen_line(pen);
}

static void draw_function(struct pen *pen, const json_t *function)
{
	char since[FORMAT_TEXT], cost[FORMAT_TEXT];
	const json_t *policy;
	size_t i;

	pen_print(pen, STYLE_BOLD, "%s", field_text(function, "function"));
	pen_print(pen, STYLE_DIM, "  since %s, a cold start is worth %s\n",
		  format_time(field_number(function, "since_at_s"), since),
		  format_duration(field_number(function, "cold_cost_s"), cost));
	draw_head(pen, false);
	json_array_foreach (json_object_get(function, "policies"), i, policy) {
		struct row row = read_row(policy);

		draw_row(pen, &row, false);
	}
}

static int draw(struct cli *cli, const json_t *functions, bool totals)
{
	struct file_pen pen = pen_open(cli);
	struct totals sums = {};
	const json_t *function;
	size_t i;
	int rc = totals ? sum_up(functions, &sums) : 0;

	for (i = 0; i < sums.n && !rc; i++) {
		if (!i)
			draw_head(&pen.pen, true);
		draw_row(&pen.pen, &sums.rows[i], true);
	}
	free(sums.rows);
	if (rc)
		return cli_error(cli, "%s", strerror(-rc));
	json_array_foreach (functions, i, function) {
		if (i || totals)
			pen_line(&pen.pen);
		draw_function(&pen.pen, function);
	}
	if (!json_array_size(functions))
		pen_print(&pen.pen, STYLE_DIM,
			  "no shadow policies: name some with shadow = in [policy], then reload\n");
	return CLI_OK;
}

/* One function's part of the answer, in the shape of all. */
static int get_one(struct cli *cli, const char *name, json_t **out)
{
	json_t *answer, *shadow;
	int status = agent_get_function(cli, name, &answer);

	if (status)
		return status;
	shadow = json_object_get(answer, "shadow");
	*out = json_is_object(shadow) ? json_pack("{s:[O]}", "functions", shadow)
				      : json_pack("{s:[]}", "functions");
	json_decref(answer);
	return *out ? CLI_OK : cli_error(cli, "%s", strerror(ENOMEM));
}

int cmd_shadow(struct cli *cli)
{
	json_t *answer;
	int status;

	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	status =
	    cli->argc ? get_one(cli, cli->argv[0], &answer) : agent_get(cli, "/v1/shadow", &answer);
	if (status)
		return status;
	if (cli->json)
		agent_print_json(cli, answer);
	else
		status = draw(cli, json_object_get(answer, "functions"), !cli->argc);
	json_decref(answer);
	return status;
}
