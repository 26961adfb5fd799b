/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth explain NAME: why the function is in its tier, what comes next and
 * when, and the last decisions. With --json: {"function":..., "events":[...]}.
 */
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/show.h"

#define DECISIONS 12 /* fit a screen below the rest */

const struct cli_option cmd_explain_options[] = {
    {'n', "limit", "N", "so many of the last decisions (default 12)"},
    {0},
};

int cmd_explain(struct cli *cli)
{
	int c, status, limit = DECISIONS;
	json_t *function, *events;
	struct file_pen pen;

	while ((c = cli_option(cli)) >= 0)
		if (cli_number(cli, 0, 100000, &limit))
			return CLI_USAGE;
	if (c == CLI_STOP)
		return CLI_USAGE;
	status = agent_get_function(cli, cli->argv[0], &function);
	if (status)
		return status;
	status = agent_get_events(cli, cli->argv[0], limit, &events);
	if (status) {
		json_decref(function);
		return status;
	}
	pen = pen_open(cli);
	if (cli->json) {
		json_t *both = json_pack("{s:O, s:O}", "function", function, "events", events);

		agent_print_json(cli, both);
		json_decref(both);
	} else {
		show_why(&pen.pen, function, events);
	}
	json_decref(function);
	json_decref(events);
	return CLI_OK;
}
