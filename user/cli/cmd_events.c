/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth events: the journal of decisions, as it was or as it grows. */
#include <limits.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/show.h"

const struct cli_option cmd_events_options[] = {
    {'f', "follow", NULL, "go on with what happens next, until interrupted"},
    {'n', "limit", "N", "start with the newest N (default 100)"},
    {'s', "since", "SEQ", "start after this decision instead"},
    {0},
};

struct printer {
	struct cli *cli;
	struct file_pen pen;
	bool one_function;
};

static bool print_event(json_t *event, void *arg)
{
	struct printer *p = arg;

	if (p->cli->json) {
		json_dumpf(event, p->cli->out, JSON_COMPACT);
		fputc('\n', p->cli->out);
	} else {
		show_event(&p->pen.pen, event, !p->one_function);
	}
	return !fflush(p->cli->out);
}

int cmd_events(struct cli *cli)
{
	struct printer p = {.cli = cli, .pen = pen_open(cli)};
	struct client_query query = {.limit = 100, .since = -1};
	int c, since = -1;

	while ((c = cli_option(cli)) >= 0) {
		if (c == 'n' && cli_number(cli, 0, INT_MAX, &query.limit))
			return CLI_USAGE;
		if (c == 's' && cli_number(cli, 0, INT_MAX, &since))
			return CLI_USAGE;
		query.follow |= c == 'f';
	}
	if (c == CLI_STOP)
		return CLI_USAGE;
	query.since = since;
	query.function = cli->argc ? cli->argv[0] : NULL;
	p.one_function = cli->argc > 0;
	return agent_stream(cli, &query, print_event, &p);
}
