/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fits the weights of the policy `predictive` (user/policy/weights-*.csv):
 *
 *     build/train-predictive [-x TRACE]... SPEC=TRACE... > weights.csv
 *
 * Each minute of each app after its first arrival is a trial, an arrival in it the
 * outcome, what the policy says of it beforehand the features: a logistic
 * regression per context, by Newton's method with a ridge towards the app's own
 * gaps alone. SPEC (predictive,prior=day...) names the population that the
 * features start from, which should not hold the trace's apps. Apps of the
 * traces after -x, and those with more than 20,000 invocations, are left out.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hearth/population.h>

#include "lib/util.h"
#include "policy/predictive.h"
#include "sim/gather.h"
#include "trace/trace.h"

#define F          OUTLOOK_FEATURES
#define BUSIEST    20000
#define RIDGE      16.0 /* trials, about, that a weight's first value counts as */
#define STEPS      30
#define STEP_MOST  0.25
#define STEP_LEAST 1e-4
#define LEFT_OUT   8

struct trial {
	float f[F];
	bool arrival;
};

struct trials {
	struct trial *all;
	size_t n, cap;
};

static struct trials contexts[OUTLOOK_CONTEXTS];
static const double first[F] = {[1] = 1};

static void add(unsigned int context, const float f[F], bool arrival)
{
	struct trials *t = &contexts[context];

	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 1024;
		t->all = realloc(t->all, t->cap * sizeof(*t->all));
		if (!t->all)
			exit(1);
	}
	memcpy(t->all[t->n].f, f, sizeof(t->all[t->n].f));
	t->all[t->n++].arrival = arrival;
}

/* Trials between an arrival and the next one, or the end. */
static void add_wait(const struct outlook *o, const struct outlook_prior *prior, double next,
		     bool arrival)
{
	struct outlook_walk walk;
	float f[F];

	outlook_walk(&walk, o, prior);
	for (double m = o->minute + 1; m <= next && outlook_next(&walk, f); m++)
		add(walk.context, f, arrival && m == next);
}

static void add_unit(const struct gathered *u, const struct outlook_prior *prior, double end_s)
{
	struct outlook *o = calloc(1, sizeof(*o));

	for (size_t i = 0; o && i < u->n; i++) {
		double minute = hearth_clock_minute(u->t_s[i]);

		if (i && minute > o->minute)
			add_wait(o, prior, minute, true);
		outlook_arrive(o, minute);
	}
	if (o)
		add_wait(o, prior, hearth_clock_minute(end_s) - 1, false);
	free(o);
}

static struct trace *open_trace(char *path, struct gather *g)
{
	struct trace_options options = {.max_invocations = BUSIEST};
	struct spread_options spread = {0};
	char err[512] = "";
	struct trace *t;

	if (trace_open(&path, 1, &options, &t, err, sizeof(err)) || gather_run(g, t, &spread)) {
		fprintf(stderr, "%s\n", err);
		exit(1);
	}
	return t;
}

static bool holds(const struct trace *t, const char *name)
{
	size_t n;
	const struct trace_unit *units = trace_units(t, &n);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(units[i].name, name))
			return true;
	return false;
}

static void add_trace(const char *spec, char *path, struct trace *const out[], size_t nout)
{
	struct hearth_policy *policy;
	struct gather g = {0};
	struct trace_info info;
	struct trace *t;
	char err[512];
	size_t n;

	if (hearth_policy_parse(spec, 600, &policy, err, sizeof(err))) {
		fprintf(stderr, "%s\n", err);
		exit(2);
	}
	t = open_trace(path, &g);
	trace_info(t, &info);
	for (size_t i = 0; i < g.n; i++) {
		bool left_out = !g.units[i].n;

		for (size_t k = 0; k < nout; k++)
			left_out |= holds(out[k], trace_units(t, &n)[i].name);
		if (!left_out)
			add_unit(&g.units[i], predictive_prior(policy), info.end_s);
	}
	gather_done(&g);
	trace_close(t);
	hearth_policy_free(policy);
}

static double probability(const double w[F], const float f[F])
{
	double sum = 0;

	for (int i = 0; i < F; i++)
		sum += w[i] * f[i];
	return 1 / (1 + exp(-sum));
}

/* Solves h x = g, h symmetric and positive definite, by Cholesky; x replaces g. */
static void solve(double h[F][F], double g[F])
{
	for (int i = 0; i < F; i++) {
		for (int j = 0; j <= i; j++) {
			for (int k = 0; k < j; k++)
				h[i][j] -= h[i][k] * h[j][k];
			h[i][j] = i == j ? sqrt(h[i][i]) : h[i][j] / h[j][j];
		}
		for (int k = 0; k < i; k++)
			g[i] -= h[i][k] * g[k];
		g[i] /= h[i][i];
	}
	for (int i = F; i-- > 0;) {
		for (int k = i + 1; k < F; k++)
			g[i] -= h[k][i] * g[k];
		g[i] /= h[i][i];
	}
}

/* One Newton step; how far the farthest weight went. */
static double improve(const struct trials *t, double w[F])
{
	double h[F][F] = {0}, g[F] = {0}, most = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct trial *r = &t->all[i];
		double p = probability(w, r->f), v = p * (1 - p);

		for (int a = 0; a < F; a++) {
			g[a] += (r->arrival - p) * r->f[a];
			for (int b = 0; b <= a; b++)
				h[a][b] += v * r->f[a] * r->f[b];
		}
	}
	for (int a = 0; a < F; a++) {
		g[a] -= RIDGE * (w[a] - first[a]);
		h[a][a] += RIDGE;
	}
	solve(h, g);
	for (int a = 0; a < F; a++)
		most = fmax(most, fabs(g[a]));
	for (int a = 0; a < F; a++)
		w[a] += g[a] * fmin(1, STEP_MOST / most);
	return most;
}

static void print_weights(void)
{
	printf("# Weights of the features of outlook.c, a row per context, by "
	       "build/train-predictive.\n"
	       "# context,weights\n");
	for (int c = 0; c < OUTLOOK_CONTEXTS; c++) {
		double w[F];

		memcpy(w, first, sizeof(w));
		for (int i = 0; i < STEPS && improve(&contexts[c], w) > STEP_LEAST; i++)
			;
		printf("%d", c);
		for (int i = 0; i < F; i++)
			printf(",%.4f", w[i]);
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	struct trace *out[LEFT_OUT];
	size_t nout = 0;
	int c;

	while ((c = getopt(argc, argv, "x:")) == 'x' && nout < LEFT_OUT) {
		struct gather g = {0};

		out[nout++] = open_trace(optarg, &g);
		gather_done(&g);
	}
	if (c != -1 || optind == argc) {
		fprintf(stderr, "usage: %s [-x TRACE]... SPEC=TRACE...\n", argv[0]);
		return 2;
	}
	for (; optind < argc; optind++) {
		char *path = strrchr(argv[optind], '=');

		if (!path) {
			fprintf(stderr, "%s: no SPEC=TRACE\n", argv[optind]);
			return 2;
		}
		*path++ = '\0';
		add_trace(argv[optind], path, out, nout);
	}
	print_weights();
	return 0;
}
