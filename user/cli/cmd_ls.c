/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth ls: one line per function, or its name alone for scripts. */
#include <errno.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/view.h"

const struct cli_option cmd_ls_options[] = {
    {'n', "names", NULL, "only the names, one a line"},
    {'s', "sort", "COLUMN", "sort by this column (default name)"},
    {'r', "reverse", NULL, "the other way round"},
    {'f', "filter", "TEXT", "only functions whose name, tier, mode or policy contains TEXT"},
    {0},
};

static void print_rows(struct cli *cli, struct view *view, bool names)
{
	struct file_pen pen = pen_open(cli);

	for (size_t i = 0; names && i < view->n; i++)
		pen_print(&pen.pen, STYLE_PLAIN, "%s\n", view->rows[i].name);
	if (names)
		return;
	view_draw_head(&pen.pen, view);
	for (size_t i = 0; i < view->n; i++)
		view_draw_row(&pen.pen, view, i, false);
	if (!view->n)
		pen_print(&pen.pen, STYLE_DIM,
			  "no functions: does a rule of the config match their cgroups?\n");
}

static int list(struct cli *cli, const struct view_choice *choice, bool names)
{
	struct view view = {0};
	json_t *answer;
	int status = agent_get(cli, "/v1/functions", &answer);

	if (status)
		return status;
	if (cli->json) {
		agent_print_json(cli, answer);
		json_decref(answer);
		return CLI_OK;
	}
	if (view_load(&view, answer))
		return agent_failed(cli, -EPROTO, NULL);
	view_filter(&view, choice->filter);
	view_sort(&view, choice->sort, choice->reverse);
	print_rows(cli, &view, names);
	view_done(&view);
	return CLI_OK;
}

int cmd_ls_print(struct cli *cli, const struct view_choice *choice)
{
	return list(cli, choice, false);
}

int cmd_ls(struct cli *cli)
{
	struct view_choice choice = {.filter = ""};
	bool names = false;
	int c;

	while ((c = cli_option(cli)) >= 0) {
		names |= c == 'n';
		choice.reverse |= c == 'r';
		if (c == 'f')
			choice.filter = cli->arg;
		if (c == 's' && (choice.sort = view_sort_option(cli)) < 0)
			return CLI_USAGE;
	}
	if (c == CLI_STOP)
		return CLI_USAGE;
	return list(cli, &choice, names);
}
