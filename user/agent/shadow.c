/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Policies beside the one that acts; see shadow.h. No formula stands here: lane.c has it. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/shadow.h"
#include "lib/util.h"
#include "sim/lane.h"

struct row {
	struct hearth_policy *policy;
	struct lane *lane;
};

struct shadow {
	double since_s; /* Unix time */
	double cold_cost_s;
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

/* A policy that is named twice, or acts already, has one row. */
static int add(struct shadow *s, const char *spec)
{
	struct row row = {};
	char err[256];
	int rc = hearth_policy_parse(spec, s->cold_cost_s, &row.policy, err, sizeof(err));

	if (rc)
		return rc;
	if (s->n == SHADOW_ROWS || find(s, hearth_policy_spec(row.policy))) {
		hearth_policy_free(row.policy);
		return 0;
	}
	row.lane = lane_new(row.policy);
	if (!row.lane) {
		hearth_policy_free(row.policy);
		return -ENOMEM;
	}
	s->rows[s->n++] = row;
	return 0;
}

static int add_all(struct shadow *s, const char *acting, const char *specs)
{
	_cleanup_free_ char *copy = strdup(specs);
	char *save = NULL;
	int rc = copy ? add(s, acting) : -ENOMEM;

	if (rc)
		return rc;
	for (char *w = strtok_r(copy, " \t", &save); w && !rc; w = strtok_r(NULL, " \t", &save))
		rc = add(s, w);
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
		struct lane *fresh = next->rows[i].lane;

		next->rows[i].lane = row->lane;
		row->lane = fresh;
	}
	next->since_s = old->since_s;
}

int shadow_configure(struct shadow **s, const char *acting, const char *specs, double cold_cost_s,
		     double now_s)
{
	struct shadow *next = NULL;
	int rc;

	if (specs[strspn(specs, " \t")]) {
		next = calloc(1, sizeof(*next));
		if (!next)
			return -ENOMEM;
		next->cold_cost_s = cold_cost_s;
		next->since_s = now_s;
		rc = add_all(next, acting, specs);
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

void shadow_busy(struct shadow *s, double t_s)
{
	for (size_t i = 0; s && i < s->n; i++)
		lane_arrive(s->rows[i].lane, s->rows[i].policy, t_s, INFINITY);
}

void shadow_idle(struct shadow *s, double t_s)
{
	for (size_t i = 0; s && i < s->n; i++)
		lane_idle(s->rows[i].lane, s->rows[i].policy, t_s);
}

size_t shadow_view(struct shadow *s, double t_s, struct snapshot_shadow *out, double *since_s)
{
	*since_s = s ? s->since_s : NAN;
	for (size_t i = 0; s && i < s->n; i++) {
		struct lane now = *s->rows[i].lane; /* decides on the lane's own memory, no more */

		lane_finish(&now, s->rows[i].policy, t_s);
		out[i] = (struct snapshot_shadow){
		    .policy = hearth_policy_spec(s->rows[i].policy),
		    .acting = i == 0,
		    .cold_starts = now.tally.cold,
		    .warm_starts = now.tally.arrivals - now.tally.cold,
		    .loads = now.tally.prewarms,
		    .waste_s = now.tally.waste_s,
		    .cost_s = now.tally.waste_s + s->cold_cost_s * (double)now.tally.cold,
		};
	}
	return s ? s->n : 0;
}
