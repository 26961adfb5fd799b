/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth ls: one line per function, or its name alone for scripts. */
#include "cli/agent.h"
#include "cli/commands.h"

const struct cli_option cmd_ls_options[] = {
    {'n', "names", NULL, "only the names, one a line"},
    {0},
};

static void print_names(struct cli *cli, const json_t *functions)
{
	json_t *function;
	size_t i;

	json_array_foreach (functions, i, function)
		fprintf(cli->out, "%s\n", json_string_value(json_object_get(function, "name")));
}

int cmd_ls(struct cli *cli)
{
	json_t *answer;
	int c, status;

	while ((c = cli_option(cli)) >= 0)
		; /* --names is the only one, and for now the only form */
	if (c == CLI_STOP)
		return CLI_USAGE;
	status = agent_get(cli, "/v1/functions", &answer);
	if (status)
		return status;
	if (cli->json)
		agent_print_json(cli, answer);
	else
		print_names(cli, json_object_get(answer, "functions"));
	json_decref(answer);
	return CLI_OK;
}
