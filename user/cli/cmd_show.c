/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth show NAME: everything known about one function, its histogram drawn. */
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/show.h"

int cmd_show(struct cli *cli)
{
	struct file_pen pen;
	json_t *function;
	int status;

	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	status = agent_get_function(cli, cli->argv[0], &function);
	if (status)
		return status;
	pen = pen_open(cli);
	if (cli->json)
		agent_print_json(cli, function);
	else
		show_function(&pen.pen, function);
	json_decref(function);
	return CLI_OK;
}
