/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth config check FILE: the loader of hearthd itself, so what passes here
 * loads there. hearth config keys: its table of keys.
 */
#include <string.h>

#include "agent/config.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/pen.h"

static int check(struct cli *cli, const char *path)
{
	struct config *config;
	char err[1024];
	int status = config_load(path, &config, err, sizeof(err));

	if (cli->json) {
		json_t *result = json_pack("{s:b, s:s, s:s?}", "ok", !status, "file", path, "error",
					   status ? err : NULL);

		agent_print_json(cli, result);
		json_decref(result);
	}
	if (status)
		return cli_error(cli, "%s", err);
	config_free(config);
	if (!cli->json)
		fprintf(cli->out, "%s: ok\n", path);
	return CLI_OK;
}

static int list_keys(struct cli *cli)
{
	struct file_pen pen = pen_open(cli);
	json_t *list = json_array(), *all;
	const char *section = "";
	size_t n;
	const struct config_key *k = config_keys(&n);

	for (size_t i = 0; i < n; i++) {
		json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:s, s:b}", "section",
						      k[i].section, "key", k[i].key, "default",
						      k[i].fallback, "help", k[i].help, "restart",
						      k[i].restart));
		if (cli->json)
			continue;
		if (strcmp(section, k[i].section))
			pen_print(&pen.pen, STYLE_HEAD, "[%s]\n", k[i].section);
		section = k[i].section;
		pen_print(&pen.pen, STYLE_PLAIN, "  %s = %s\n", k[i].key,
			  k[i].fallback ? k[i].fallback : "");
		pen_print(&pen.pen, STYLE_DIM, "      %s\n", k[i].help);
	}
	all = json_pack("{s:o}", "keys", list);
	if (cli->json)
		agent_print_json(cli, all);
	json_decref(all);
	return CLI_OK;
}

int cmd_config(struct cli *cli)
{
	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	if (!strcmp(cli->argv[0], "keys") && cli->argc == 1)
		return list_keys(cli);
	if (strcmp(cli->argv[0], "check"))
		return cli_usage(cli, "unknown word '%s'; accepted: check FILE, keys",
				 cli->argv[0]);
	if (cli->argc != 2)
		return cli_usage(cli, "which file should be checked?");
	return check(cli, cli->argv[1]);
}
