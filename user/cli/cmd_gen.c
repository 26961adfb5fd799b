/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth gen DIRECTORY: an invented workload in the layout of the Azure 2019
 * trace, and how close it came to the population that it imitates.
 */
#include <inttypes.h>
#include <jansson.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "trace/gen.h"

const struct cli_option cmd_gen_options[] = {
    {'n', "apps", "N", "so many apps (default 1000)"},
    {'D', "days", "N", "so many days, one file of each kind a day (default 1)"},
    {'s', "seed", "N", "another seed, other apps (default 1)"},
    {'x', "max-per-day", "N", "no app with more calls a day (default: as in the population)"},
    {0},
};

static double value(const struct gen_result *r, const struct gen_target *t)
{
	return *(const double *)((const char *)r + t->at);
}

static void print_table(struct cli *cli, const struct gen_result *r)
{
	fprintf(cli->out, "%u apps, %" PRIu64 " functions, %" PRIu64 " invocations\n\n", r->apps,
		r->functions, r->invocations);
	fprintf(cli->out, "%-36s %10s %10s  %s\n", "", "population", "this", "source");
	for (const struct gen_target *t = gen_targets; t->what; t++)
		fprintf(cli->out, "%-36s %10.3g %10.3g  %s\n", t->what, t->value, value(r, t),
			t->source);
}

static void print_json(struct cli *cli, const struct gen_result *r)
{
	json_t *checks = json_array();
	json_t *all;

	for (const struct gen_target *t = gen_targets; t->what; t++)
		json_array_append_new(checks, json_pack("{s:s, s:f, s:f, s:s}", "what", t->what,
							"population", t->value, "result",
							value(r, t), "source", t->source));
	all = json_pack("{s:i, s:I, s:I, s:o}", "apps", (int)r->apps, "functions",
			(json_int_t)r->functions, "invocations", (json_int_t)r->invocations,
			"checks", checks);
	agent_print_json(cli, all);
	json_decref(all);
}

int cmd_gen(struct cli *cli)
{
	int apps = 1000, days = 1, seed = 1, most = 0, c, status = CLI_OK;
	struct gen_result result;
	struct gen_options o;
	char err[512];

	while (!status && (c = cli_option(cli)) >= 0) {
		if (c == 'n')
			status = cli_number(cli, 1, GEN_APPS_MAX, &apps);
		else if (c == 'D')
			status = cli_number(cli, 1, GEN_DAYS_MAX, &days);
		else if (c == 's')
			status = cli_number(cli, 0, INT32_MAX, &seed);
		else
			status = cli_number(cli, 1, INT32_MAX, &most);
	}
	if (status || c == CLI_STOP)
		return CLI_USAGE;
	o = (struct gen_options){.apps = apps, .days = days, .seed = seed, .max_per_day = most};
	if (gen_write(cli->argv[0], &o, &result, err, sizeof(err)))
		return cli_error(cli, "%s: %s", cli->argv[0], err);
	if (cli->json)
		print_json(cli, &result);
	else
		print_table(cli, &result);
	return CLI_OK;
}
