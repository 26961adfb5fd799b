/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth fit TRACE...: what the arrivals of each app look like, and whether a
 * self-exciting (Hawkes) process describes them. Fitted on the first part of
 * the trace, tested on the rest: a test on what was fitted flatters. With
 * --prior, the table that the policy `predictive` starts from.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/list.h"
#include "lib/util.h"
#include "sim/fit.h"
#include "sim/prior.h"

#define HOUR_S  3600.0
#define SHOW_ID 16 /* of a name; 64 digits tell a person no more */

const struct cli_option cmd_fit_options[] = {
    {'u', "unit", "UNIT", "app or function (default app)"},
    {'N', "max-invocations", "N", "leave out apps with more invocations (default 20000; 0: none)"},
    {'S', "split", "SHARE", "fit on this first share of the trace, test on the rest (default 0.5)"},
    {'j', "jitter", "SEED", "spread arrivals at random over their minute, not evenly"},
    {'l', "lenient", NULL, "skip bad rows and count them"},
    {'p', "prior", NULL, "write the table that predictive starts from, each TRACE on its own"},
    {'o', "output", "FILE", "with --prior: write it there (default: standard output)"},
    {0},
};

struct fit {
	struct cli *cli;
	struct trace_options trace_options;
	struct spread_options spread;
	double share;
	bool prior;
	const char *output;
	struct trace *trace;
	struct gather arrivals;
	struct fit_row *rows;
	char err[1024];
};

static int one_option(struct fit *f, int c)
{
	size_t one;
	double v;

	switch (c) {
	case 'l':
		f->trace_options.lenient = true;
		return CLI_OK;
	case 'p':
		f->prior = true;
		return CLI_OK;
	case 'o':
		f->output = f->cli->arg;
		return CLI_OK;
	case 'u':
		if (strcmp(f->cli->arg, "app") && strcmp(f->cli->arg, "function"))
			return cli_usage(f->cli, "--unit \"%s\"; accepted: app, function",
					 f->cli->arg);
		f->trace_options.by = *f->cli->arg == 'f' ? TRACE_BY_FUNCTION : TRACE_BY_APP;
		return CLI_OK;
	case 'S':
		if (list_numbers(f->cli, "--split", 1, &f->share, 1, &one))
			return CLI_USAGE;
		if (f->share == 0)
			return cli_usage(f->cli, "--split 0 leaves nothing to fit to");
		return CLI_OK;
	}
	if (list_numbers(f->cli, c == 'N' ? "--max-invocations" : "--jitter", 1e15, &v, 1, &one))
		return CLI_USAGE;
	if (c == 'N')
		f->trace_options.max_invocations = v;
	else
		f->spread = (struct spread_options){.jitter = true, .seed = v};
	return CLI_OK;
}

static int gather(struct fit *f, char *const paths[], size_t n, struct trace_info *info)
{
	if (trace_open(paths, n, &f->trace_options, &f->trace, f->err, sizeof(f->err)) ||
	    gather_run(&f->arrivals, f->trace, &f->spread))
		return cli_error(f->cli, "%s", f->err);
	trace_info(f->trace, info);
	return CLI_OK;
}

static void fit_done(struct fit *f)
{
	gather_done(&f->arrivals);
	trace_close(f->trace);
	f->arrivals = (struct gather){0};
	f->trace = NULL;
}

static int read_all(struct fit *f)
{
	struct cli *cli = f->cli;
	struct trace_info info;

	if (gather(f, cli->argv, cli->argc, &info))
		return CLI_FAILED;
	f->rows = calloc(f->arrivals.n + 1, sizeof(*f->rows));
	if (!f->rows || fit_units(&f->arrivals, info.start_s, info.end_s, f->share, f->rows))
		return cli_error(cli, "out of memory");
	return CLI_OK;
}

static json_t *number(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static json_t *row_json(const char *name, const struct fit_row *r)
{
	double none = r->error ? NAN : 0;

	return json_pack(
	    "{s:s, s:s, s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:o}", "name", name, "class", r->kind,
	    "invocations", (json_int_t)r->n, "per_day", r->per_day, "cv", number(r->cv),
	    "background_per_h", number(r->hawkes.l0 * HOUR_S + none), "excitation_per_h",
	    number(r->hawkes.a * HOUR_S + none), "decay_per_h", number(r->hawkes.b * HOUR_S + none),
	    "branching", number(r->hawkes.a / r->hawkes.b + none), "ks", number(r->ks));
}

static void print_json(struct fit *f, const struct trace_unit *units)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < f->arrivals.n; i++)
		if (f->rows[i].n)
			json_array_append_new(rows, row_json(units[i].name, &f->rows[i]));
	rows = json_pack("{s:o}", "units", rows);
	agent_print_json(f->cli, rows);
	json_decref(rows);
}

static void print_row(FILE *out, const char *name, const struct fit_row *r)
{
	const struct hearth_hawkes *h = &r->hawkes;

	fprintf(out, "%-*.*s %-8s %11zu %9.1f ", SHOW_ID, SHOW_ID, name, r->kind, r->n, r->per_day);
	if (isnan(r->cv))
		fprintf(out, "%7s ", "-");
	else
		fprintf(out, "%7.2f ", r->cv);
	if (r->error)
		fprintf(out, "%10s %10s %10s %9s ", "-", "-", "-", "-");
	else
		fprintf(out, "%10.3g %10.3g %10.3g %9.3f ", h->l0 * HOUR_S, h->a * HOUR_S,
			h->b * HOUR_S, h->a / h->b);
	if (isnan(r->ks))
		fprintf(out, "%6s\n", "-");
	else
		fprintf(out, "%6.3f\n", r->ks);
}

static void print_table(struct fit *f, const struct trace_unit *units)
{
	fprintf(f->cli->out, "%-*s %-8s %11s %9s %7s %10s %10s %10s %9s %6s\n", SHOW_ID, "name",
		"class", "invocations", "per day", "CV", "l0 /h", "a /h", "b /h", "branching",
		"KS");
	for (size_t i = 0; i < f->arrivals.n; i++)
		if (f->rows[i].n)
			print_row(f->cli->out, units[i].name, &f->rows[i]);
}

/* A day and another day's hours are two populations; as one trace they would be two days. */
static int sum_populations(struct fit *f, struct prior_sums *sums)
{
	int status = CLI_OK;

	for (int i = 0; i < f->cli->argc && !status; i++) {
		struct trace_info info;

		status = gather(f, &f->cli->argv[i], 1, &info);
		if (!status)
			prior_add(sums, &f->arrivals, info.end_s);
		fit_done(f);
	}
	return status;
}

static int write_prior(struct fit *f)
{
	struct cli *cli = f->cli;
	_cleanup_fclose_ FILE *file = NULL;
	struct prior_sums sums = {0};
	struct prior prior;
	FILE *out = cli->out;
	int rc;

	if (sum_populations(f, &sums))
		return CLI_FAILED;
	if (!sums.apps)
		return cli_error(cli, "no invocation in the trace: nothing to learn from");
	prior_estimate(&sums, &prior);
	if (f->output) {
		out = file = fopen(f->output, "we");
		if (!file)
			return cli_error(cli, "%s: %s", f->output, strerror(errno));
	}
	rc = prior_write(&prior, sums.apps, out);
	if (!rc && fflush(out))
		rc = -errno;
	return rc ? cli_error(cli, "%s: %s", f->output ? f->output : "standard output",
			      strerror(-rc))
		  : CLI_OK;
}

int cmd_fit(struct cli *cli)
{
	struct fit f = {.cli = cli, .share = 0.5, .trace_options = {.max_invocations = 20000}};
	int c, status = CLI_OK;
	size_t n;

	while (!status && (c = cli_option(cli)) >= 0)
		status = one_option(&f, c);
	if (status || c == CLI_STOP)
		return CLI_USAGE;
	if (f.output && !f.prior)
		return cli_usage(cli, "--output needs --prior");
	if (f.prior && cli->json)
		return cli_usage(cli, "--prior writes a table of its own: no --json");
	if (f.prior)
		return write_prior(&f);
	status = read_all(&f);
	if (!status && cli->json)
		print_json(&f, trace_units(f.trace, &n));
	else if (!status)
		print_table(&f, trace_units(f.trace, &n));
	fit_done(&f);
	free(f.rows);
	return status;
}
