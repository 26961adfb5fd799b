/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth sim TRACE...: replay traces through policies and say what each would
 * have cost. Every policy is run at every cold cost, with --memory at every size
 * under every ranker, and with --images in every mode.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/cmd_sim.h"
#include "cli/list.h"
#include "lib/util.h"

#define MINUTE_S 60.0

static const char *const image_modes[] = {
    [IMAGE_OFF] = "keep-alive", [IMAGE_ONLY] = "images", [IMAGE_BOTH] = "both"};

/* ---- settings */

static int add_setting(struct sim *s, const struct sim_setting *setting,
		       const struct capacity_setting *host)
{
	if (s->n == SETTINGS_MAX)
		return cli_usage(s->cli, "more than %d combinations", SETTINGS_MAX);
	s->setting[s->n] = *setting;
	s->host[s->n++] = *host;
	return CLI_OK;
}

static int add_modes(struct sim *s, struct sim_setting setting, struct capacity_setting host)
{
	if (!s->images)
		return add_setting(s, &setting, &host);
	for (enum image_mode mode = 0; mode < ARRAY_SIZE(image_modes); mode++) {
		host.mode = mode;
		setting.mode = image_modes[mode];
		if (add_setting(s, &setting, &host))
			return CLI_USAGE;
	}
	return CLI_OK;
}

/* A policy with all memory sizes and rankers. */
static int add_hosts(struct sim *s, struct sim_setting setting, struct capacity_setting host)
{
	for (size_t m = 0; m < s->nmemories; m++) {
		for (size_t r = 0; r < s->nrankers; r++) {
			setting.ranker = s->rankers[r];
			host.ranker = s->ranker[r];
			setting.memory_mb = host.memory_mb = s->memories_mb[m];
			if (add_modes(s, setting, host))
				return CLI_USAGE;
		}
	}
	return CLI_OK;
}

static int parse_policy(struct sim *s, const char *spec, double cold_cost_s,
			struct hearth_policy **slot)
{
	if (hearth_policy_parse(spec, cold_cost_s, slot, s->err, sizeof(s->err)))
		return cli_usage(s->cli, "%s", s->err);
	hearth_policy_set_prior(*slot, s->prior.cells, s->prior.n);
	return CLI_OK;
}

/* The i-th policy, at one cold cost. */
static int add_policy(struct sim *s, size_t i, const char *spec, double cold_cost_s)
{
	struct sim_setting setting = {
	    .policy = spec, .cold_cost_s = cold_cost_s, .load_cost_s = s->load_cost_s};
	struct capacity_setting host = {.queue_s = s->queue_s,
					.faascache = s->faascache,
					.images = s->images,
					.costs = s->costs};

	if (parse_policy(s, spec, cold_cost_s, &s->policy[i]))
		return CLI_USAGE;
	if (s->images && (parse_policy(s, spec, images_worth_s(&s->costs, cold_cost_s, true),
				       &s->image_policy[i]) ||
			  parse_policy(s, spec, images_worth_s(&s->costs, cold_cost_s, false),
				       &s->forked_policy[i])))
		return CLI_USAGE;
	host.policy = s->policy[i];
	host.image_policy = s->image_policy[i];
	host.forked_policy = s->forked_policy[i];
	if (!s->nmemories)
		return add_setting(s, &setting, &host);
	if (hearth_policy_needs(s->policy[i]))
		return cli_usage(s->cli, "%s knows the future: it has no meaning with --memory",
				 spec);
	return add_hosts(s, setting, host);
}

/* A number is one of sets, anything else a file. */
static int open_images(struct sim *s)
{
	bool file = s->images_arg[strspn(s->images_arg, "0123456789")];
	double n;
	size_t one;

	if (file && images_read(s->images_arg, &s->images, s->err, sizeof(s->err)))
		return cli_error(s->cli, "%s", s->err);
	if (file)
		return CLI_OK;
	s->cli->arg = (char *)s->images_arg;
	if (list_numbers(s->cli, "--images", IMAGES_MAX, &n, 1, &one))
		return CLI_USAGE;
	if (n < 1)
		return cli_usage(s->cli, "--images 0; accepted: 1 to %d sets, or a file",
				 IMAGES_MAX);
	s->images = images_draw(n, s->costs.seed);
	return s->images ? CLI_OK : cli_error(s->cli, "out of memory");
}

static int make_settings(struct sim *s)
{
	int status = s->images_arg ? open_images(s) : CLI_OK;
	size_t n = 0;

	if (status)
		return status;

	if (s->prior_file && prior_read(s->prior_file, &s->prior, s->err, sizeof(s->err)))
		return cli_error(s->cli, "%s", s->err);
	if (!s->prior_file)
		prior_built_in(&s->prior);
	for (size_t r = 0; r < s->nrankers; r++)
		if (hearth_ranker_parse(s->rankers[r], &s->ranker[r], s->err, sizeof(s->err)))
			return cli_usage(s->cli, "%s", s->err);
	for (size_t p = 0; p < s->npolicies; p++)
		for (size_t c = 0; c < s->ncosts; c++)
			if (add_policy(s, n++, s->policies[p], s->costs_min[c] * MINUTE_S))
				return CLI_USAGE;
	return CLI_OK;
}

/* ---- runs and reports */

static const struct sim_tally *replay_of(const void *arg, size_t setting, size_t unit)
{
	return replay_tally(arg, setting, unit);
}

static const struct sim_tally *capacity_of(const void *arg, size_t setting, size_t unit)
{
	return capacity_tally(arg, setting, unit);
}

static int write_per_app(struct sim *s, const struct report *report)
{
	_cleanup_fclose_ FILE *f = fopen(s->per_app, "we");
	int rc = f ? report_per_app(report, f) : -errno;

	if (!rc && fflush(f))
		rc = -errno;
	return rc ? cli_error(s->cli, "%s: %s", s->per_app, strerror(-rc)) : CLI_OK;
}

static int draw(struct sim *s, const struct report *report)
{
	int rc = report_plot(report, s->plot);

	if (rc == -ENOENT) {
		cli_error(s->cli, "%s: gnuplot is not installed", s->plot);
		cli_hint(s->cli, "install it (apt install gnuplot-nox), or leave --plot out");
		return CLI_FAILED;
	}
	return rc ? cli_error(s->cli, "%s: %s", s->plot, strerror(-rc)) : CLI_OK;
}

static int print(struct sim *s, sim_tally_fn tally, const void *arg)
{
	struct report report = {.trace = s->trace,
				.results = s->result,
				.n = s->n,
				.by_function = s->trace_options.by == TRACE_BY_FUNCTION,
				.jitter = s->replay.spread.jitter,
				.limited = s->nmemories,
				.images = s->images ? &s->costs : NULL,
				.tally = tally,
				.tally_arg = arg};
	int status = CLI_OK;

	if (s->cli->json) {
		json_t *json = report_json(&report);

		agent_print_json(s->cli, json);
		json_decref(json);
	} else {
		report_table(&report, s->cli->out);
	}
	if (s->per_app)
		status = write_per_app(s, &report);
	if (s->plot && !status)
		status = draw(s, &report);
	return status;
}

static int summarize(struct sim *s, sim_tally_fn tally, const void *arg, const struct capacity *c)
{
	for (size_t i = 0; i < s->n; i++)
		if (summary_make(&s->setting[i], i, s->trace, tally, arg,
				 c ? capacity_total(c, i) : NULL, &s->result[i]))
			return cli_error(s->cli, "out of memory");
	return print(s, tally, arg);
}

/* The bar must be off the terminal before anything else is written. */
static int without_bar(struct sim *s, int rc)
{
	bar_stop(s->bar);
	s->bar = NULL;
	return rc;
}

static void learned(const struct prior *prior, void *arg)
{
	struct sim *s = arg;

	for (size_t i = 0; i < s->n; i++)
		hearth_policy_set_prior(s->policy[i], prior->cells, prior->n);
}

static int run_windows(struct sim *s)
{
	struct replay *r;
	int status = CLI_OK;

	if (s->learn_prior) {
		s->replay.learn_from = &s->prior;
		s->replay.learned = learned;
		s->replay.learned_arg = s;
	}
	if (replay_new((const struct hearth_policy *const *)s->policy, s->n, &s->replay, &r))
		return cli_error(s->cli, "out of memory");
	if (without_bar(s, replay_run(r, s->trace)))
		status = cli_error(s->cli, "%s", s->err);
	else
		status = summarize(s, replay_of, r, NULL);
	replay_free(r);
	return status;
}

static int run_capacity(struct sim *s)
{
	struct capacity *c;
	int status;

	if (capacity_new(s->host, s->n, &s->replay.spread, &c))
		return cli_error(s->cli, "out of memory");
	if (without_bar(s, capacity_run(c, s->trace)))
		status = cli_error(s->cli, "%s", s->err);
	else
		status = summarize(s, capacity_of, c, c);
	capacity_free(c);
	return status;
}

static void free_policies(struct sim *s, size_t i)
{
	hearth_policy_free(s->policy[i]);
	hearth_policy_free(s->image_policy[i]);
	hearth_policy_free(s->forked_policy[i]);
}

static void sim_free(struct sim *s)
{
	bar_stop(s->bar); /* if memory ran out in between */
	trace_close(s->trace);
	images_free(s->images);
	for (size_t i = 0; i < POLICIES_MAX; i++) {
		hearth_ranker_free(s->ranker[i]);
		free(s->rankers[i]);
	}
	for (size_t i = 0; i < SETTINGS_MAX; i++)
		free_policies(s, i);
	free(s);
}

static int open_trace(struct sim *s)
{
	struct cli *cli = s->cli;
	int rc = 0;

	s->trace_options.progress = &s->progress;
	s->bar = bar_start(cli, &s->progress);
	if (trace_open(cli->argv, cli->argc, &s->trace_options, &s->trace, s->err, sizeof(s->err)))
		rc = without_bar(s, -1);
	return rc ? cli_error(cli, "%s", s->err) : CLI_OK;
}

int cmd_sim(struct cli *cli)
{
	struct sim *s = calloc(1, sizeof(*s));
	int status;

	if (!s)
		return cli_error(cli, "out of memory");
	s->cli = cli;
	status = cmd_sim_read_options(s);
	if (!status)
		status = make_settings(s);
	if (!status)
		status = open_trace(s);
	if (!status)
		status = s->nmemories ? run_capacity(s) : run_windows(s);
	sim_free(s);
	return status;
}
