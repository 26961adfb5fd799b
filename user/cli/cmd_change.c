/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth freeze, thaw, reclaim, prewarm, evict, pin, unpin NAME: the changes that
 * are one POST to the path of the command's own name.
 */
#include "cli/agent.h"
#include "cli/commands.h"

int cmd_change(struct cli *cli)
{
	char suffix[32];

	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	snprintf(suffix, sizeof(suffix), "/%s", cli->command->name);
	return agent_change(cli, "POST", cli->argv[0], suffix, NULL);
}
