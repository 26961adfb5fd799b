/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Policies beside the one that acts; see shadow.h. No formula stands here: lane.c has it. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/shadow.h"
#include "lib/util.h"
#include "sim/lane.h"
#include "trace/prior.h"

struct row {
	struct hearth_policy *policy;
	struct lane *lane;
	uint64_t cold, lukewarm;
	struct hearth_decision idle; /* of the idle time that is open */
	double waste_gb_s;           /* up to sampled_s */
	double missed_gb;            /* memory at the starts that cost, summed */
};

struct shadow {
	double since_s; /* Unix time */
	double cold_cost_s;
	bool may_go;
	double idle_since_s; /* INFINITY: busy; NAN: unknown */
	double sampled_s;    /* the last look at memory ... */
	double gb;           /* ... and what it found; NAN: nothing yet */
	size_t n;
	struct row rows[SHADOW_ROWS]; /* the first one acts */
};

void shadow_free(struct shadow *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		hearth_policy_free(s->rows[i].policy);
		lane_free(s->rows[i].lane);
	}
	free(s);
}

static struct row *find(struct shadow *s, const char *spec)
{
	for (size_t i = 0; s && i < s->n; i++)
		if (!strcmp(hearth_policy_spec(s->rows[i].policy), spec))
			return &s->rows[i];
	return NULL;
}

/* What the function has learned, and the idle time that is open. */
static void begin(struct shadow *s, struct row *row, const struct shadow_start *start)
{
	bool acts = s->n == 0;

	lane_learn(row->lane, row->policy, start->hist, start->gaps);
	if (acts)
		memcpy(row->lane->state, start->acting_state,
		       hearth_policy_state_size(row->policy));
	if (!isnan(start->idle_since_s))
		lane_resume(row->lane, row->policy, start->idle_since_s, start->now_s);
	lane_decide(row->lane, row->policy, &row->idle);
}

/* A policy that is named twice, or acts already, has one row. */
static int add(struct shadow *s, const char *spec, const struct shadow_start *start)
{
	struct row row = {};
	char err[256];
	int rc = hearth_policy_parse(spec, s->cold_cost_s, &row.policy, err, sizeof(err));

	if (rc)
		return rc;
	hearth_policy_set_prior(row.policy, start->prior->cells, start->prior->n);
	if (s->n == SHADOW_ROWS || find(s, hearth_policy_spec(row.policy))) {
		hearth_policy_free(row.policy);
		return 0;
	}
	row.lane = lane_new(row.policy);
	if (!row.lane) {
		hearth_policy_free(row.policy);
		return -ENOMEM;
	}
	begin(s, &row, start);
	s->rows[s->n++] = row;
	return 0;
}

static int add_all(struct shadow *s, const struct shadow_start *start)
{
	_cleanup_free_ char *copy = strdup(start->specs);
	char *save = NULL;
	int rc = copy ? add(s, hearth_policy_spec(start->acting), start) : -ENOMEM;

	if (rc)
		return rc;
	for (char *w = strtok_r(copy, " \t", &save); w && !rc; w = strtok_r(NULL, " \t", &save))
		rc = add(s, w, start);
	return rc;
}

/* Counts go on only if every row has them: rows are there to be compared. */
static void keep_counts(struct shadow *next, struct shadow *old)
{
	if (!old)
		return;
	for (size_t i = 0; i < next->n; i++)
		if (!find(old, hearth_policy_spec(next->rows[i].policy)))
			return;
	for (size_t i = 0; i < next->n; i++) {
		struct row *row = find(old, hearth_policy_spec(next->rows[i].policy));
		struct row fresh = next->rows[i];

		next->rows[i] = *row;
		next->rows[i].policy = fresh.policy;
		fresh.policy = row->policy;
		*row = fresh;
	}
	next->since_s = old->since_s;
	next->idle_since_s = old->idle_since_s;
	next->sampled_s = old->sampled_s;
	next->gb = old->gb;
}

int shadow_configure(struct shadow **s, const struct shadow_start *start)
{
	struct shadow *next = NULL;
	int rc;

	if (start->specs[strspn(start->specs, " \t")]) {
		next = calloc(1, sizeof(*next));
		if (!next)
			return -ENOMEM;
		next->cold_cost_s = start->cold_cost_s;
		next->since_s = next->sampled_s = start->now_s;
		next->idle_since_s = start->idle_since_s;
		next->gb = NAN;
		next->may_go = start->may_go;
		rc = add_all(next, start);
		if (rc) {
			shadow_free(next);
			return rc;
		}
		keep_counts(next, *s);
	}
	shadow_free(*s);
	*s = next;
	return 0;
}

void shadow_set_prior(struct shadow *s, const struct prior *prior)
{
	for (size_t i = 0; s && i < s->n; i++)
		hearth_policy_set_prior(s->rows[i].policy, prior->cells, prior->n);
}

/*
 * Where hearth lets instances go, the windows alone decide, as in `hearth sim`. Else
 * an instance that is gone went by other hands, and no policy could have kept it. The
 * very first start is cold.
 */
void shadow_busy(struct shadow *s, double t_s, bool cold)
{
	for (size_t i = 0; s && i < s->n; i++) {
		struct row *row = &s->rows[i];
		uint64_t missed = row->lane->tally.cold;
		bool known = row->lane->begun;

		lane_arrive(row->lane, row->policy, t_s, INFINITY);
		missed = row->lane->tally.cold - missed;
		if (!known || (s->may_go ? missed : cold))
			row->cold++;
		else if (missed)
			row->lukewarm++;
		else
			continue;
		if (!isnan(s->gb))
			row->missed_gb += s->gb;
	}
	if (s)
		s->idle_since_s = INFINITY;
}

void shadow_idle(struct shadow *s, double t_s)
{
	for (size_t i = 0; s && i < s->n; i++) {
		lane_idle(s->rows[i].lane, s->rows[i].policy, t_s);
		lane_decide(s->rows[i].lane, s->rows[i].policy, &s->rows[i].idle);
	}
	if (s && !isnan(s->idle_since_s))
		s->idle_since_s = t_s;
}

/* How long of [from_s, to_s) is inside the windows. */
static double loaded_s(const struct hearth_decision *d, double from_s, double to_s)
{
	double sum = 0;

	for (unsigned int i = 0; i < d->n; i++)
		sum += fmax(0, fmin(to_s, d->w[i].close_s) - fmax(from_s, d->w[i].open_s));
	return sum;
}

void shadow_memory(struct shadow *s, double t_s, double bytes)
{
	double gb = bytes / 1e9, mean, from_s;

	if (!s || t_s < s->sampled_s)
		return;
	mean = isnan(gb) ? s->gb : isnan(s->gb) ? gb : (s->gb + gb) / 2;
	from_s = fmax(s->sampled_s, s->idle_since_s);
	for (size_t i = 0; i < s->n && from_s < t_s && !isnan(mean); i++)
		if (s->rows[i].lane->begun)
			s->rows[i].waste_gb_s +=
			    mean * loaded_s(&s->rows[i].idle, from_s - s->idle_since_s,
					    t_s - s->idle_since_s);
	s->sampled_s = t_s;
	if (!isnan(gb))
		s->gb = gb;
}

size_t shadow_view(struct shadow *s, double t_s, struct snapshot_shadow *out, double *since_s)
{
	*since_s = s ? s->since_s : NAN;
	for (size_t i = 0; s && i < s->n; i++) {
		const struct row *row = &s->rows[i];
		struct lane now = *row->lane; /* decides on the lane's own memory, no more */
		uint64_t missed = row->cold + row->lukewarm;
		bool weighed = !isnan(s->gb);

		lane_finish(&now, row->policy, t_s);
		out[i] = (struct snapshot_shadow){
		    .policy = hearth_policy_spec(row->policy),
		    .acting = i == 0,
		    .cold_starts = row->cold,
		    .lukewarm_starts = row->lukewarm,
		    .warm_starts = now.tally.arrivals - missed,
		    .loads = now.tally.prewarms,
		    .waste_s = now.tally.waste_s,
		    .waste_gb_s = weighed ? row->waste_gb_s : NAN,
		    .cost_s = now.tally.waste_s + s->cold_cost_s * (double)missed,
		    .cost_gb_s = weighed ? row->waste_gb_s + s->cold_cost_s * row->missed_gb : NAN,
		};
	}
	return s ? s->n : 0;
}
