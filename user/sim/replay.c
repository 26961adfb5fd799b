/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/progress.h"
#include "lib/util.h"
#include "sim/gather.h"
#include "sim/parallel.h"
#include "sim/replay.h"

#define HOUR_S 3600.0

struct replay {
	const struct hearth_policy *const *policies;
	size_t npolicies;
	struct replay_options options;
	struct lane **lanes;      /* [unit * npolicies + policy] */
	struct hearth_gaps *gaps; /* [unit], if the prior is learned on */
	size_t units;             /* lanes there is room for */
	/* One block: */
	const struct trace_unit *info;
	const struct trace_block *block;
	struct work *work;
	size_t work_cap, nwork;
	struct progress *progress;
	double end_s;
	atomic_int error;
};

/* A unit's slice of the block; the long ones first, so that no thread is left with one. */
struct work {
	uint32_t slice;
	uint32_t from, to; /* runs of the slice that are next */
	uint64_t arrivals;
};

int replay_new(const struct hearth_policy *const policies[], size_t n,
	       const struct replay_options *options, struct replay **out)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->policies = policies;
	r->npolicies = n;
	r->options = *options;
	*out = r;
	return 0;
}

void replay_free(struct replay *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->units * r->npolicies; i++)
		lane_free(r->lanes[i]);
	free(r->lanes);
	free(r->gaps);
	free(r->work);
	free(r);
}

const struct sim_tally *replay_tally(const struct replay *r, size_t p, size_t u)
{
	const struct lane *l = u < r->units ? r->lanes[u * r->npolicies + p] : NULL;

	return l ? &l->tally : NULL;
}

/* The lane of a unit under a policy, made at its first use; NULL: no memory. */
static struct lane *lane_of(struct replay *r, uint32_t unit, size_t policy)
{
	struct lane **slot = &r->lanes[unit * r->npolicies + policy];

	if (!*slot)
		*slot = lane_new(r->policies[policy]);
	if (!*slot)
		atomic_store(&r->error, -ENOMEM);
	return *slot;
}

/* A work is given to each policy and, after them, to the gaps. */
static void feed(struct replay *r, const struct work *w, size_t policy)
{
	const struct trace_slice *s = &r->block->slices[w->slice];
	bool learns = policy == r->npolicies;
	const struct hearth_policy *p = learns ? NULL : r->policies[policy];
	struct lane *l = learns ? NULL : lane_of(r, s->unit, policy);
	struct spread spread;
	double t_s;

	for (uint32_t k = w->from; (l || learns) && k < w->to; k++) {
		const struct trace_run *run = &r->block->runs[s->first + k];
		double busy_s = r->options.durations ? run->busy_s : 0;

		spread_start(&spread, &r->options.spread, r->info[s->unit].name, run,
			     r->block->span_s);
		while (spread_next(&spread, &t_s))
			if (l)
				lane_arrive(l, p, t_s, busy_s);
			else
				hearth_gaps_arrive(&r->gaps[s->unit], t_s);
	}
}

static size_t feeds(const struct replay *r)
{
	return r->npolicies + (r->options.learn_from != NULL);
}

static void feed_one(void *arg, size_t i)
{
	struct replay *r = arg;

	feed(r, &r->work[i / feeds(r)], i % feeds(r));
	progress_piece(r->progress);
}

static void finish_one(void *arg, size_t i)
{
	struct replay *r = arg;

	if (r->lanes[i])
		lane_finish(r->lanes[i], r->policies[i % r->npolicies], r->end_s);
}

static int more_units(struct replay *r, size_t n)
{
	struct hearth_gaps *gaps;
	struct lane **grown;

	if (n <= r->units)
		return 0;
	if (r->options.learn_from) {
		gaps = realloc(r->gaps, n * sizeof(*gaps));
		if (!gaps)
			return -ENOMEM;
		memset(gaps + r->units, 0, (n - r->units) * sizeof(*gaps));
		r->gaps = gaps;
	}
	grown = realloc(r->lanes, n * r->npolicies * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + r->units * r->npolicies, 0, (n - r->units) * r->npolicies * sizeof(*grown));
	r->lanes = grown;
	r->units = n;
	return 0;
}

static int work_order(const void *x, const void *y)
{
	const struct work *a = x, *b = y;

	if (a->arrivals != b->arrivals)
		return a->arrivals > b->arrivals ? -1 : 1;
	return (a->slice > b->slice) - (a->slice < b->slice);
}

static int list_work(struct replay *r, const struct trace_block *b)
{
	if (b->nslices > r->work_cap) {
		struct work *grown = realloc(r->work, b->nslices * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->work = grown;
		r->work_cap = b->nslices;
	}
	for (size_t i = 0; i < b->nslices; i++) {
		const struct trace_slice *s = &b->slices[i];

		r->work[i] = (struct work){.slice = i};
		for (uint32_t k = 0; k < s->n; k++)
			r->work[i].arrivals += b->runs[s->first + k].n;
	}
	r->nwork = b->nslices;
	if (r->nwork) /* qsort wants an array even for nothing */
		qsort(r->work, r->nwork, sizeof(*r->work), work_order);
	return 0;
}

/* ---- a block, at once or hour by hour */

static const struct trace_run *run_at(const struct replay *r, const struct work *w, uint32_t k)
{
	const struct trace_slice *s = &r->block->slices[w->slice];

	return k < s->n ? &r->block->runs[s->first + k] : NULL;
}

/* When the hour of the next run ends; INFINITY: there is none. */
static double next_hour(const struct replay *r)
{
	double next_s = INFINITY;

	for (size_t i = 0; i < r->nwork; i++) {
		const struct trace_run *run = run_at(r, &r->work[i], r->work[i].to);

		if (run)
			next_s = fmin(next_s, run->t_s);
	}
	return HOUR_S * (floor(next_s / HOUR_S) + 1);
}

static void cut(struct replay *r, double end_s)
{
	for (size_t i = 0; i < r->nwork; i++) {
		struct work *w = &r->work[i];
		const struct trace_run *run;

		w->from = w->to;
		while ((run = run_at(r, w, w->to)) && run->t_s < end_s)
			w->to++;
	}
}

static void learn_on(struct replay *r, double now_s)
{
	const struct prior *from = r->options.learn_from;
	struct hearth_population population = {0};
	struct prior prior = {0};

	hearth_population_prior_add(&population, from->cells, from->n, HEARTH_PRIOR_WEIGHT);
	for (size_t i = 0; i < r->units; i++)
		hearth_population_add(&population, &r->gaps[i], now_s);
	prior.n = hearth_population_estimate(&population, prior.cells);
	r->options.learned(&prior, r->options.learned_arg);
}

static void feed_block(struct replay *r)
{
	bool learns = r->options.learn_from;
	double end_s;

	do {
		end_s = learns ? next_hour(r) : INFINITY;
		cut(r, end_s);
		progress_pieces(r->progress, r->nwork * feeds(r));
		parallel(r->nwork * feeds(r), r->options.threads, feed_one, r);
		if (!isinf(end_s))
			learn_on(r, end_s);
	} while (!r->error && !isinf(end_s));
}

/* ---- policies that train on the arrivals they are judged by */

struct training {
	struct replay *replay;
	struct gather arrivals;
	double start_s, end_s;
};

static void train_unit(void *arg, size_t i)
{
	struct training *tr = arg;
	struct replay *r = tr->replay;
	const struct gathered *u = &tr->arrivals.units[i];
	_cleanup_free_ double *scratch = u->n ? malloc(2 * u->n * sizeof(*scratch)) : NULL;

	if (u->n && !scratch)
		atomic_store(&r->error, -ENOMEM);
	for (size_t p = 0; scratch && p < r->npolicies; p++) {
		struct lane *l;

		if (!(hearth_policy_needs(r->policies[p]) & HEARTH_NEEDS_TRAINING))
			continue;
		l = lane_of(r, i, p);
		if (l)
			hearth_policy_train(r->policies[p], l->state, u->t_s, u->n, tr->start_s,
					    tr->end_s, scratch);
	}
}

static int train(struct replay *r, struct trace *t)
{
	struct training tr = {.replay = r};
	struct trace_info info;
	unsigned int needs = 0;
	int rc;

	for (size_t p = 0; p < r->npolicies; p++)
		needs |= hearth_policy_needs(r->policies[p]);
	if (!(needs & HEARTH_NEEDS_TRAINING))
		return 0;
	rc = gather_run(&tr.arrivals, t, &r->options.spread);
	if (!rc)
		rc = more_units(r, tr.arrivals.n);
	if (!rc) {
		trace_info(t, &info);
		tr.start_s = info.start_s;
		tr.end_s = info.end_s;
		parallel(tr.arrivals.n, r->options.threads, train_unit, &tr);
		rc = r->error;
	}
	gather_done(&tr.arrivals);
	return rc ? rc : trace_rewind(t);
}

int replay_run(struct replay *r, struct trace *t)
{
	struct trace_info info;
	size_t n;
	int rc = train(r, t);

	if (rc)
		return rc;
	r->progress = trace_progress(t);
	progress_stage(r->progress, "replaying");
	while ((rc = trace_next(t, &r->block)) > 0) {
		r->info = trace_units(t, &n);
		rc = more_units(r, n);
		if (!rc)
			rc = list_work(r, r->block);
		if (rc)
			return rc;
		feed_block(r);
		if (r->error)
			return r->error;
	}
	if (rc)
		return rc;
	trace_info(t, &info);
	r->end_s = info.end_s;
	parallel(r->units * r->npolicies, r->options.threads, finish_one, r);
	return 0;
}
