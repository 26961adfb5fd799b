/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth sim: one run of it, from its command line to its results. */
#ifndef HEARTH_CLI_CMD_SIM_H
#define HEARTH_CLI_CMD_SIM_H

#include "cli/bar.h"
#include "cli/commands.h"
#include "sim/capacity.h"
#include "sim/prior.h"
#include "sim/replay.h"
#include "sim/report.h"

#define COSTS_MAX    32
#define POLICIES_MAX 32
#define SETTINGS_MAX 4096

struct sim {
	struct cli *cli;
	struct trace_options trace_options;
	struct replay_options replay;
	const char *policies[POLICIES_MAX];
	char *rankers[POLICIES_MAX];
	size_t npolicies, nrankers;
	double costs_min[COSTS_MAX], memories_mb[COSTS_MAX];
	size_t ncosts, nmemories;
	double load_cost_s, queue_s;
	bool faascache, learn_prior, unit_named, queue_named, costs_named;
	const char *images_arg;
	struct images *images;
	struct image_costs costs;
	const char *per_app, *plot, *prior_file;
	struct prior prior;
	/* One of each per setting: */
	struct hearth_policy *policy[SETTINGS_MAX];
	struct hearth_policy *image_policy[SETTINGS_MAX], *forked_policy[SETTINGS_MAX];
	struct hearth_ranker *ranker[POLICIES_MAX];
	struct sim_setting setting[SETTINGS_MAX];
	struct capacity_setting host[SETTINGS_MAX];
	struct sim_result result[SETTINGS_MAX];
	size_t n;
	struct trace *trace;
	struct progress progress;
	struct bar *bar;
	char err[1024];
};

/* CLI_OK, or CLI_USAGE and what is wrong was told. */
int cmd_sim_read_options(struct sim *s);

#endif
