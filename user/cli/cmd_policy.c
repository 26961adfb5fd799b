/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth policy NAME SPEC: checked here by the agent's own parser, then sent.
 * SPEC `default` goes back to the configured policy. Without arguments: what
 * policies there are.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/pen.h"
#include "hearth/policy.h"

/* Only the agent knows the real one; any that is not 0 serves to check a spec. */
#define COLD_COST_S 600

static int list_policies(struct cli *cli)
{
	struct file_pen pen = pen_open(cli);
	json_t *list = json_array(), *all;
	size_t n;
	const struct hearth_policy_info *p = hearth_policy_list(&n);

	for (size_t i = 0; i < n; i++) {
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", p[i].name, "usage",
						      p[i].usage, "summary", p[i].summary));
		if (cli->json)
			continue;
		pen_print(&pen.pen, STYLE_BOLD, "%s\n", p[i].usage);
		pen_print(&pen.pen, STYLE_PLAIN, "    %s\n", p[i].summary);
	}
	all = json_pack("{s:o}", "policies", list);
	if (cli->json)
		agent_print_json(cli, all);
	json_decref(all);
	return CLI_OK;
}

/* A bad spec never leaves this process. */
static int check_spec(struct cli *cli, const char *spec)
{
	struct hearth_policy *policy;
	char err[512];

	if (hearth_policy_parse(spec, COLD_COST_S, &policy, err, sizeof(err))) {
		cli_error(cli, "%s", err);
		cli_hint(cli, "all policies: hearth policy; their meaning: man 7 hearth-policy");
		return CLI_USAGE;
	}
	hearth_policy_free(policy);
	return CLI_OK;
}

int cmd_policy(struct cli *cli)
{
	bool back;
	json_t *body;
	int status;

	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	if (!cli->argc)
		return list_policies(cli);
	if (cli->argc < 2)
		return cli_usage(cli, "which policy should '%s' have?", cli->argv[0]);
	back = !strcmp(cli->argv[1], "default");
	status = back ? CLI_OK : check_spec(cli, cli->argv[1]);
	if (status)
		return status;
	body = json_pack("{s:s?}", "policy", back ? NULL : cli->argv[1]);
	if (!body)
		return cli_usage(cli, "the policy spec is not UTF-8");
	status = agent_change(cli, "PUT", cli->argv[0], "/policy", body);
	json_decref(body);
	return status;
}
