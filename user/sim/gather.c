/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/progress.h"
#include "sim/gather.h"

static int more_units(struct gather *g, size_t n)
{
	struct gathered *grown;

	if (n <= g->n)
		return 0;
	grown = realloc(g->units, n * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + g->n, 0, (n - g->n) * sizeof(*grown));
	g->units = grown;
	g->n = n;
	return 0;
}

static int add_run(struct gathered *u, struct spread *s)
{
	size_t need = u->n + s->n;

	if (need > u->cap) {
		size_t cap = need + need / 2;
		double *grown = realloc(u->t_s, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		u->t_s = grown;
		u->cap = cap;
	}
	while (spread_next(s, &u->t_s[u->n]))
		u->n++;
	return 0;
}

static int add_slice(struct gather *g, const struct trace_block *b, const struct trace_slice *s,
		     const char *name, const struct spread_options *o)
{
	struct spread spread;
	int rc = 0;

	for (uint32_t k = 0; k < s->n && !rc; k++) {
		spread_start(&spread, o, name, &b->runs[s->first + k], b->span_s);
		rc = add_run(&g->units[s->unit], &spread);
	}
	return rc;
}

int gather_run(struct gather *g, struct trace *t, const struct spread_options *o)
{
	const struct trace_block *b;
	int rc;

	*g = (struct gather){0};
	progress_stage(trace_progress(t), "gathering");
	while ((rc = trace_next(t, &b)) > 0) {
		size_t n;
		const struct trace_unit *units = trace_units(t, &n);

		rc = more_units(g, n);
		for (size_t i = 0; i < b->nslices && !rc; i++)
			rc = add_slice(g, b, &b->slices[i], units[b->slices[i].unit].name, o);
		if (rc)
			return rc;
	}
	return rc;
}

void gather_done(struct gather *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->units[i].t_s);
	free(g->units);
}
