/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Traces with one row per invocation: azure2021, csv, recorded. Rows need only
 * be roughly in order of time: the reader holds WINDOW of them, sorts, and
 * hands out the older half. A row that belongs before what was handed out is
 * an error.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "trace/source.h"

#define WINDOW (1u << 18)
#define MS     1000.0

struct event {
	double t_s;
	double busy_s;
	uint32_t unit;
	uint32_t seq;
};

/* What one row says. Unknown: NAN. */
struct call {
	double t_s, end_s;
	double warm_s, cold_s;
	double mem_mb;
};

/* Samples behind a unit's mean times. */
struct samples {
	uint32_t warm, cold;
};

struct events {
	size_t file; /* the next one to open */
	struct lines *lines;
	struct columns columns;
	double handed_s; /* nothing before this may come any more */
	size_t n;
	struct event window[WINDOW];
	struct samples *samples; /* per unit */
	uint32_t *fill;          /* per unit: scratch of group() */
	size_t samples_cap, fill_cap;
	struct trace_run runs[WINDOW];
	struct trace_slice *slices;
	size_t slices_cap;
};

static int events_open(struct trace *t)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->handed_s = -INFINITY;
	t->reader = e;
	return 0;
}

static void events_close(struct trace *t)
{
	struct events *e = t->reader;

	lines_close(e->lines);
	free(e->samples);
	free(e->fill);
	free(e->slices);
	free(e);
}

/* Room for n zero-filled elements. */
static int grow0(void **array, size_t *cap, size_t n, size_t size)
{
	size_t want = n + n / 2 + 64;
	void *grown;

	if (n <= *cap)
		return 0;
	grown = realloc(*array, want * size);
	if (!grown)
		return -ENOMEM;
	memset((char *)grown + *cap * size, 0, (want - *cap) * size);
	*array = grown;
	*cap = want;
	return 0;
}

static int parse_csv(struct lines *l, const struct columns *c, const struct field f[],
		     struct call *out)
{
	double ms[COLUMNS_MAX];
	int rc = columns_number(l, c, f, CSV_START, TRACE_MAX_S * MS, &ms[CSV_START]);

	for (int i = CSV_WARM; i <= CSV_MEM && !rc; i++) {
		ms[i] = NAN;
		if (c->at[i] >= 0)
			rc = columns_number(l, c, f, i, 1e12, &ms[i]);
	}
	if (rc)
		return rc;
	*out = (struct call){.t_s = ms[CSV_START] / MS,
			     .end_s = ms[CSV_START] / MS,
			     .warm_s = ms[CSV_WARM] / MS,
			     .cold_s = ms[CSV_COLD] / MS,
			     .mem_mb = ms[CSV_MEM]};
	return 0;
}

static int parse_azure2021(struct lines *l, const struct columns *c, const struct field f[],
			   struct call *out)
{
	double end_s, duration_s;
	int rc = columns_number(l, c, f, A21_END, TRACE_MAX_S, &end_s);

	if (!rc)
		rc = columns_number(l, c, f, A21_DURATION, 1e9, &duration_s);
	if (rc)
		return rc;
	*out = (struct call){.t_s = end_s - duration_s,
			     .end_s = end_s,
			     .warm_s = duration_s,
			     .cold_s = NAN,
			     .mem_mb = NAN};
	return 0;
}

static int parse_recorded(struct lines *l, const struct columns *c, const struct field f[],
			  struct call *out)
{
	bool cold = lines_is(&f[REC_START], "cold") || lines_is(&f[REC_START], "lukewarm");
	double begin_ms, end_ms, mem_mb;
	int rc = columns_number(l, c, f, REC_BEGIN, TRACE_MAX_S * MS, &begin_ms);

	if (!rc)
		rc = columns_number(l, c, f, REC_END, TRACE_MAX_S * MS, &end_ms);
	if (!rc)
		rc = columns_number(l, c, f, REC_MEM, 1e12, &mem_mb);
	if (rc)
		return rc;
	if (end_ms < begin_ms)
		return lines_error(l, f[REC_END].col, "end_ms is before begin_ms");
	if (!cold && !lines_is(&f[REC_START], "warm"))
		return lines_error(l, f[REC_START].col,
				   "start is \"%.*s\"; accepted: cold, warm, lukewarm",
				   lines_show(&f[REC_START]), f[REC_START].s);
	*out = (struct call){.t_s = begin_ms / MS,
			     .end_s = end_ms / MS,
			     .warm_s = cold ? NAN : (end_ms - begin_ms) / MS,
			     .cold_s = cold ? (end_ms - begin_ms) / MS : NAN,
			     .mem_mb = mem_mb};
	return 0;
}

/* App and function of a row; outside azure2021 they are the same. */
static int64_t call_function(struct trace *t, struct events *e, const struct field f[])
{
	struct units *u = &t->units;
	int rc = columns_name(e->lines, &e->columns, f, 0);

	if (!rc && e->columns.kind == KIND_AZURE2021)
		rc = columns_name(e->lines, &e->columns, f, A21_FUNCTION);
	if (rc)
		return rc;
	if (e->columns.kind == KIND_AZURE2021)
		return units_function(u, f[A21_APP].s, f[A21_APP].len, f[A21_FUNCTION].s,
				      f[A21_FUNCTION].len);
	return units_function(u, f[0].s, f[0].len, NULL, 0);
}

/* Running mean; exact when all samples are equal. */
static void mean_add(double *mean, uint32_t *n, double x)
{
	if (!isnan(x))
		*mean += (x - *mean) / ++*n;
}

static int learn(struct trace *t, struct events *e, uint32_t function, const struct call *c)
{
	uint32_t id = units_of(&t->units, function);
	struct trace_unit *unit = &t->units.list[id];
	int rc = grow0((void **)&e->samples, &e->samples_cap, (size_t)id + 1, sizeof(*e->samples));

	if (rc)
		return rc;
	mean_add(&unit->warm_s, &e->samples[id].warm, c->warm_s);
	mean_add(&unit->cold_s, &e->samples[id].cold, c->cold_s);
	if (c->mem_mb > 0) {
		t->units.functions[function].mem_mb = c->mem_mb;
		t->units.apps[t->units.functions[function].app].mem_mb = c->mem_mb;
	}
	return 0;
}

static int add_call(struct trace *t, struct events *e, const struct field f[], const struct call *c)
{
	struct event *ev = &e->window[e->n];
	int64_t function;
	int rc;

	if (c->t_s < e->handed_s)
		return lines_error(e->lines, f[1].col,
				   "starts before rows that are %u rows back; "
				   "accepted: rows in order of time, to within that",
				   WINDOW / 2);
	function = call_function(t, e, f);
	if (function < 0)
		return function;
	rc = learn(t, e, function, c);
	if (rc)
		return rc;
	*ev = (struct event){.t_s = c->t_s, .unit = units_of(&t->units, function), .seq = e->n};
	ev->busy_s = isnan(c->warm_s) ? t->units.list[ev->unit].warm_s : c->warm_s;
	e->n++;
	t->start_s = t->started ? MIN(t->start_s, c->t_s) : c->t_s;
	t->end_s = t->started ? MAX(t->end_s, c->end_s) : c->end_s;
	t->started = true;
	return 0;
}

static int read_row(struct trace *t, struct events *e, struct cursor cursor)
{
	static int (*const parse[])(struct lines *, const struct columns *, const struct field[],
				    struct call *) = {
	    [KIND_AZURE2021] = parse_azure2021,
	    [KIND_CSV] = parse_csv,
	    [KIND_RECORDED] = parse_recorded,
	};
	struct field f[COLUMNS_MAX];
	struct call call;
	int rc = columns_split(e->lines, cursor, &e->columns, f);

	if (!rc)
		rc = parse[e->columns.kind](e->lines, &e->columns, f, &call);
	if (!rc)
		rc = add_call(t, e, f, &call);
	return trace_bad_row(t, rc);
}

/* Fill the window: 1 when it is full, 0 at the end of the last file. */
static int fill(struct trace *t, struct events *e)
{
	struct cursor c;
	int rc;

	while (e->n < WINDOW) {
		if (!e->lines) {
			if (e->file == t->nfiles)
				return 0;
			rc = trace_reopen(t, t->files[e->file++].path, &e->lines, &e->columns);
			if (rc)
				return rc;
		}
		rc = lines_next(e->lines, &c);
		if (rc > 0)
			rc = read_row(t, e, c);
		else if (rc == 0) {
			lines_close(e->lines);
			e->lines = NULL;
		}
		if (rc < 0)
			return rc;
	}
	return 1;
}

static int event_order(const void *x, const void *y)
{
	const struct event *a = x, *b = y;

	if (a->t_s != b->t_s)
		return a->t_s < b->t_s ? -1 : 1;
	return (a->seq > b->seq) - (a->seq < b->seq);
}

/* Most traces are in order. */
static bool in_order(const struct events *e)
{
	for (size_t i = 1; i < e->n; i++)
		if (e->window[i].t_s < e->window[i - 1].t_s)
			return false;
	return true;
}

/* The first n events of the window, by unit; each unit's in order of time. */
static int group(struct trace *t, struct events *e, size_t n, struct trace_block *out)
{
	size_t nslices = 0, at = 0;
	int rc = grow0((void **)&e->fill, &e->fill_cap, t->units.n, sizeof(*e->fill));

	if (!rc)
		rc = grow0((void **)&e->slices, &e->slices_cap, t->units.n, sizeof(*e->slices));
	if (rc)
		return rc;
	memset(e->fill, 0, t->units.n * sizeof(*e->fill));
	for (size_t i = 0; i < n; i++)
		e->fill[e->window[i].unit]++;
	for (uint32_t u = 0; u < t->units.n; u++) {
		uint32_t count = e->fill[u];

		e->fill[u] = at;
		if (count && !t->units.list[u].left_out)
			e->slices[nslices++] =
			    (struct trace_slice){.unit = u, .first = at, .n = count};
		at += count;
	}
	for (size_t i = 0; i < n; i++) {
		const struct event *ev = &e->window[i];

		e->runs[e->fill[ev->unit]++] =
		    (struct trace_run){.t_s = ev->t_s, .busy_s = ev->busy_s, .n = 1, .seq = i};
	}
	*out = (struct trace_block){.slices = e->slices, .nslices = nslices, .runs = e->runs};
	return 1;
}

static int events_next(struct trace *t, struct trace_block *out)
{
	struct events *e = t->reader;
	size_t n;
	int rc = fill(t, e);

	if (rc < 0 || !e->n)
		return rc;
	n = rc ? WINDOW / 2 : e->n;
	if (!in_order(e))
		qsort(e->window, e->n, sizeof(*e->window), event_order);
	e->handed_s = e->window[n - 1].t_s;
	rc = group(t, e, n, out);
	e->n -= n;
	memmove(e->window, e->window + n, e->n * sizeof(*e->window));
	for (size_t i = 0; i < e->n; i++)
		e->window[i].seq = i;
	return rc;
}

static double events_share(const struct trace *t)
{
	const struct events *e = t->reader;

	return (e->file - (e->lines ? 1 - lines_share(e->lines) : 0)) / t->nfiles;
}

#define EVENTS(format)                                                                             \
	{                                                                                          \
		.name = format, .open = events_open, .close = events_close, .next = events_next,   \
		.share = events_share,                                                             \
	}

const struct source source_azure2021 = EVENTS("azure2021");
const struct source source_csv = EVENTS("csv");
const struct source source_recorded = EVENTS("recorded");
