/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The command line of hearth sim: its options, what goes together, and what is meant without them.
 */
#include <string.h>

#include "cli/cmd_sim.h"
#include "cli/list.h"
#include "lib/util.h"

#define COLD_COST_MIN 10.0 /* of keep-alive, when none is named */
#define QUEUE_S       60.0 /* no caller waits longer for room */

const struct cli_option cmd_sim_options[] = {
    {'p', "policy", "SPEC", "a policy, e.g. fixed:10; again for more (default: a few to compare)"},
    {'c', "cold-cost", "MINUTES",
     "keep-alive that one cold start is worth, or a list (default 10)"},
    {'u', "unit", "UNIT", "what is kept warm as one: app or function (default app)"},
    {'m', "memory", "MB", "memory of the host, or a list of sizes"},
    {'r', "ranker", "SPEC",
     "who is evicted when memory is short, or a list; again for more (default lru)"},
    {'M', "model", "NAME", "with --memory: default or faascache"},
    {'Q', "queue", "SECONDS", "with --memory: how long a call may wait for room (default 60)"},
    {'i', "images", "N|FILE",
     "with --memory: dependency images, for N sets of functions at random or as in FILE"},
    {'I', "image-costs", "KEY=VALUE,...",
     "with --images: megabytes and latencies, and the seed of the sets"},
    {'N', "max-invocations", "N", "leave out apps with more invocations"},
    {'j', "jitter", "SEED", "spread arrivals at random over their minute, not evenly"},
    {'d', "durations", NULL, "executions take their time (default: none)"},
    {'L', "load-cost", "SECONDS", "cost of each load ahead of an arrival (default 0)"},
    {'R', "prior", "FILE", "what predictive starts from, as written by hearth fit --prior"},
    {'A', "learn-prior", NULL, "learn that on from the apps of the trace, hour by hour"},
    {'l', "lenient", NULL, "skip bad rows and count them"},
    {'a', "per-app", "FILE", "write the results of each app as CSV"},
    {'P', "plot", "FILE", "draw costs and cold starts, as .svg or .png (needs gnuplot)"},
    {0},
};

static const char *const default_policies[] = {"fixed:10", "hybrid:240", "predictive", "offline"};

static int add_spec(struct cli *cli, const char *specs[], size_t *n)
{
	if (*n == POLICIES_MAX)
		return cli_usage(cli, "more than %d specs of one kind", POLICIES_MAX);
	specs[(*n)++] = cli->arg;
	return CLI_OK;
}

static bool names_ranker(const char *spec)
{
	size_t n;
	const struct hearth_ranker_info *known = hearth_ranker_list(&n);

	for (size_t i = 0; i < n; i++)
		if (!strncmp(spec, known[i].name, strlen(known[i].name)) &&
		    strchr(",", spec[strlen(known[i].name)]))
			return true;
	return false;
}

/* A comma ends a spec if the name of a ranker follows; else it leads to an option of this one. */
static int add_rankers(struct sim *s)
{
	const char *from = s->cli->arg, *comma = from;

	while ((comma = strchrnul(comma, ','))) {
		bool last = !*comma;

		if (!last && !names_ranker(++comma))
			continue;
		if (s->nrankers == POLICIES_MAX)
			return cli_usage(s->cli, "more than %d rankers", POLICIES_MAX);
		s->rankers[s->nrankers] = strndup(from, comma - from - !last);
		if (!s->rankers[s->nrankers++])
			return cli_error(s->cli, "out of memory");
		if (last)
			break;
		from = comma;
	}
	return CLI_OK;
}

static int word_option(struct sim *s, int c)
{
	const char *arg = s->cli->arg;

	if (c == 'u') {
		if (strcmp(arg, "app") && strcmp(arg, "function"))
			return cli_usage(s->cli, "--unit \"%s\"; accepted: app, function", arg);
		s->trace_options.by = *arg == 'f' ? TRACE_BY_FUNCTION : TRACE_BY_APP;
		s->unit_named = true;
		return CLI_OK;
	}
	if (strcmp(arg, "default") && strcmp(arg, "faascache"))
		return cli_usage(s->cli, "--model \"%s\"; accepted: default, faascache", arg);
	s->faascache = *arg == 'f';
	return CLI_OK;
}

static int number_option(struct sim *s, int c)
{
	size_t one;
	double v;

	switch (c) {
	case 'c':
		return list_numbers(s->cli, "--cold-cost", 1e6, s->costs_min, COSTS_MAX,
				    &s->ncosts);
	case 'm':
		return list_numbers(s->cli, "--memory", 1e9, s->memories_mb, COSTS_MAX,
				    &s->nmemories);
	case 'Q':
		s->queue_named = true;
		return list_numbers(s->cli, "--queue", 1e6, &s->queue_s, 1, &one);
	case 'L':
		return list_numbers(s->cli, "--load-cost", 1e6, &s->load_cost_s, 1, &one);
	}
	if (list_numbers(s->cli, c == 'N' ? "--max-invocations" : "--jitter", 1e15, &v, 1, &one))
		return CLI_USAGE;
	if (c == 'N') {
		s->trace_options.max_invocations = v;
	} else {
		s->replay.spread.jitter = true;
		s->replay.spread.seed = v;
	}
	return CLI_OK;
}

static int one_option(struct sim *s, int c)
{
	switch (c) {
	case 'p':
		return add_spec(s->cli, s->policies, &s->npolicies);
	case 'r':
		return add_rankers(s);
	case 'u':
	case 'M':
		return word_option(s, c);
	case 'd':
		s->replay.durations = true;
		return CLI_OK;
	case 'l':
		s->trace_options.lenient = true;
		return CLI_OK;
	case 'a':
		s->per_app = s->cli->arg;
		return CLI_OK;
	case 'A':
		s->learn_prior = true;
		return CLI_OK;
	case 'i':
		s->images_arg = s->cli->arg;
		return CLI_OK;
	case 'I':
		s->costs_named = true;
		if (!images_costs_parse(s->cli->arg, &s->costs, s->err, sizeof(s->err)))
			return CLI_OK;
		return cli_usage(s->cli, "--image-costs %s", s->err);
	case 'R':
		s->prior_file = s->cli->arg;
		return CLI_OK;
	case 'P':
		s->plot = s->cli->arg;
		if (report_plot_accepts(s->plot))
			return CLI_OK;
		return cli_usage(s->cli, "--plot \"%s\"; accepted: FILE.svg, FILE.png", s->plot);
	}
	return number_option(s, c);
}

static int check_images(struct sim *s)
{
	if (!s->images_arg)
		return s->costs_named ? cli_usage(s->cli, "--image-costs needs --images") : CLI_OK;
	if (!s->nmemories)
		return cli_usage(s->cli, "--images needs --memory");
	if (s->faascache || s->queue_named || s->per_app || s->plot)
		return cli_usage(s->cli, "--images does not go with --model faascache, --queue, "
					 "--per-app or --plot");
	if (!s->unit_named)
		s->trace_options.by = TRACE_BY_FUNCTION;
	return CLI_OK;
}

static int read_options(struct sim *s)
{
	int c;

	while ((c = cli_option(s->cli)) >= 0)
		if (one_option(s, c))
			return CLI_USAGE;
	if (c == CLI_STOP)
		return CLI_USAGE;
	if (s->learn_prior && s->nmemories)
		return cli_usage(s->cli, "--learn-prior does not go with --memory");
	if (s->nrankers && !s->nmemories)
		return cli_usage(s->cli, "--ranker needs --memory");
	if (s->faascache && !s->nmemories)
		return cli_usage(s->cli, "--model faascache needs --memory");
	if (s->faascache && s->npolicies)
		return cli_usage(s->cli, "--model faascache has no windows: it takes no --policy");
	if (check_images(s))
		return CLI_USAGE;
	if (!s->nmemories || s->nrankers)
		return CLI_OK;
	s->cli->arg = "lru";
	return add_rankers(s);
}

static void fill_defaults(struct sim *s)
{
	if (!s->ncosts)
		s->costs_min[s->ncosts++] = COLD_COST_MIN;
	if (s->npolicies)
		return;
	if (s->nmemories) /* until evicted: the ranker is what is compared */
		s->policies[s->npolicies++] = "always";
	else
		for (size_t i = 0; i < ARRAY_SIZE(default_policies); i++)
			s->policies[s->npolicies++] = default_policies[i];
}

int cmd_sim_read_options(struct sim *s)
{
	int status;

	s->queue_s = QUEUE_S;
	s->costs = images_costs;
	status = read_options(s);
	if (!status)
		fill_defaults(s);
	return status;
}
