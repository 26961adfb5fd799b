/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The official layout of the Azure Functions trace of 2019: per day (.dNN. in
 * the file name; a set without is one day) the invocations per minute of each
 * function, and maybe execution times (ms) and app memory (MB). A block is a
 * day; what is kept of it is what is not zero. Cut days (columns 480..959) are
 * accepted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "trace/source.h"

#define MINUTES  1440
#define MINUTE_S 60.0
#define DAY_S    86400.0
#define DAYS_MAX 10000

struct day {
	unsigned int number;
	const char *path[KIND_MEMORY + 1];
};

struct cell {
	uint16_t minute; /* 0 = the first column */
	uint32_t n;
};

struct row {
	uint32_t function;
	uint32_t unit;
	size_t first; /* of its cells */
	uint32_t n;
	uint32_t seq;
};

struct azure {
	struct day *days;
	size_t ndays, day; /* next day to read */
	/* One day: */
	unsigned int first_minute, minutes; /* labels of the header */
	struct cell *cells;
	struct row *rows;
	struct trace_run *runs;
	struct trace_slice *slices;
	size_t ncells, cells_cap, nrows, rows_cap, nruns, runs_cap, slices_cap;
};

/* NN of ".dNN." in the file's name, 1 without. */
static unsigned int day_of(const char *path)
{
	const char *base = strrchr(path, '/');
	const char *p = base ? base + 1 : path;
	unsigned int day;
	int len;

	while ((p = strstr(p, ".d"))) {
		len = 0;
		if (sscanf(p, ".d%5u%n", &day, &len) == 1 && p[len] == '.' && day)
			return day;
		p += 2;
	}
	return 1;
}

static struct day *day_find(struct azure *a, unsigned int number)
{
	for (size_t i = 0; i < a->ndays; i++)
		if (a->days[i].number == number)
			return &a->days[i];
	a->days[a->ndays].number = number;
	return &a->days[a->ndays++];
}

static int day_order(const void *x, const void *y)
{
	const struct day *a = x, *b = y;

	return (a->number > b->number) - (a->number < b->number);
}

/* Days in order, each with its files; no gap between days of invocations. */
static int list_days(struct trace *t, struct azure *a)
{
	size_t n = 0;

	for (size_t i = 0; i < t->nfiles; i++) {
		struct trace_file *f = &t->files[i];
		struct day *d = day_find(a, day_of(f->path));

		if (d->number > DAYS_MAX)
			return trace_fail(t, -EINVAL, "%s: day %u; accepted: 1 to %d", f->path,
					  d->number, DAYS_MAX);
		if (d->path[f->kind])
			return trace_fail(t, -EINVAL,
					  "%s: day %u has the same kind of file twice, "
					  "the other is %s",
					  f->path, d->number, d->path[f->kind]);
		d->path[f->kind] = f->path;
	}
	qsort(a->days, a->ndays, sizeof(*a->days), day_order);
	for (size_t i = 0; i < a->ndays; i++)
		if (a->days[i].path[KIND_INVOCATIONS])
			a->days[n++] = a->days[i];
	a->ndays = n;
	if (!n)
		return trace_fail(t, -EINVAL,
				  "%s: no file of invocations "
				  "(HashOwner,HashApp,HashFunction,Trigger,1..1440) beside it",
				  t->files[0].path);
	for (size_t i = 1; i < n; i++)
		if (a->days[i].number != a->days[i - 1].number + 1)
			return trace_fail(t, -EINVAL, "%s: day %u is missing before it",
					  a->days[i].path[KIND_INVOCATIONS], a->days[i].number - 1);
	return 0;
}

static int azure_open(struct trace *t)
{
	struct azure *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	t->reader = a;
	a->days = calloc(t->nfiles, sizeof(*a->days));
	return a->days ? list_days(t, a) : -ENOMEM;
}

static void azure_close(struct trace *t)
{
	struct azure *a = t->reader;

	free(a->days);
	free(a->cells);
	free(a->rows);
	free(a->runs);
	free(a->slices);
	free(a);
}

static int grow(void **array, size_t *cap, size_t need, size_t size)
{
	size_t want = MAX(need, *cap * 2 + 1024);
	void *grown;

	if (need <= *cap)
		return 0;
	grown = realloc(*array, want * size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*cap = want;
	return 0;
}

/* The minute labels after the four names: consecutive, within one day. */
static int read_labels(struct azure *a, struct lines *l, struct cursor c)
{
	struct field f;
	uint32_t label, expect = 0;

	for (int i = 0; i < INV_FIRST_MINUTE; i++)
		cursor_next(&c, &f);
	a->minutes = 0;
	while (cursor_next(&c, &f)) {
		if (!lines_count(&f, MINUTES, &label) || !label || (expect && label != expect))
			return lines_error(l, f.col,
					   "column \"%.*s\"; accepted: minutes in order, "
					   "from 1 to %d",
					   lines_show(&f), f.s, MINUTES);
		if (!a->minutes++)
			a->first_minute = label;
		expect = label + 1;
	}
	if (!a->minutes)
		return lines_error(l, cursor_col(&c),
				   "no minute columns; accepted: 1..%d after "
				   "HashOwner,HashApp,HashFunction,Trigger",
				   MINUTES);
	return 0;
}

/* The counts of one row, those that are not 0, into cells. */
static int read_counts(struct azure *a, struct lines *l, struct cursor *c)
{
	struct field f;
	uint32_t n;

	for (unsigned int m = 0; m < a->minutes; m++) {
		if (c->p && *c->p == '0' && c->p + 1 < c->end && c->p[1] == ',') {
			c->p += 2; /* nearly all of a trace */
			continue;
		}
		if (!cursor_next(c, &f))
			return lines_error(l, cursor_col(c), "%u minutes; the header has %u", m,
					   a->minutes);
		if (!lines_count(&f, UINT32_MAX, &n))
			return lines_error(l, f.col,
					   "minute %u is \"%.*s\"; accepted: an integer "
					   "from 0 to %u",
					   a->first_minute + m, lines_show(&f), f.s, UINT32_MAX);
		if (n)
			a->cells[a->ncells++] = (struct cell){m, n};
	}
	if (c->p)
		return lines_error(l, cursor_col(c), "more fields than the header's %u minutes",
				   a->minutes);
	return 0;
}

static int read_row(struct trace *t, struct azure *a, struct lines *l, struct cursor c)
{
	struct field f[INV_FIRST_MINUTE];
	size_t first = a->ncells;
	int64_t id;
	int rc;

	for (int i = 0; i < INV_FIRST_MINUTE; i++) {
		if (!cursor_next(&c, &f[i]))
			return lines_error(l, cursor_col(&c), "%d fields; the header has %u", i,
					   a->minutes + INV_FIRST_MINUTE);
		if ((i == INV_APP || i == INV_FUNCTION) && (!f[i].len || f[i].len > 250))
			return lines_error(l, f[i].col, "name of %zu bytes; accepted: 1 to 250",
					   f[i].len);
	}
	rc = grow((void **)&a->cells, &a->cells_cap, a->ncells + a->minutes, sizeof(*a->cells));
	if (!rc)
		rc = grow((void **)&a->rows, &a->rows_cap, a->nrows + 1, sizeof(*a->rows));
	if (!rc)
		rc = read_counts(a, l, &c);
	if (rc) {
		a->ncells = first;
		return rc;
	}
	if (a->ncells == first)
		return 0;
	id = units_function(&t->units, f[INV_APP].s, f[INV_APP].len, f[INV_FUNCTION].s,
			    f[INV_FUNCTION].len);
	if (id < 0)
		return id;
	a->rows[a->nrows] = (struct row){.function = id,
					 .unit = units_of(&t->units, id),
					 .first = first,
					 .n = a->ncells - first,
					 .seq = a->nrows};
	a->nrows++;
	return 0;
}

/* The header again, this time for its labels, then the rows. */
static int read_invocations(struct trace *t, struct azure *a, const char *path)
{
	struct lines *l;
	struct cursor c;
	int rc = lines_open(path, &l, t->err, t->err_size);

	if (rc)
		return rc;
	a->ncells = a->nrows = 0;
	rc = lines_next(l, &c);
	if (rc > 0)
		rc = read_labels(a, l, c);
	while (!rc) {
		rc = lines_next(l, &c);
		if (rc == 0)
			break;
		if (rc > 0)
			rc = read_row(t, a, l, c);
		rc = trace_bad_row(t, rc);
	}
	lines_close(l);
	return rc;
}

typedef int (*row_fn)(struct trace *t, struct lines *l, const struct columns *c,
		      const struct field f[]);

static int read_table(struct trace *t, const char *path, row_fn each)
{
	struct field f[COLUMNS_MAX];
	struct columns columns;
	struct cursor c;
	struct lines *l = NULL;
	int rc = trace_reopen(t, path, &l, &columns);

	while (!rc) {
		rc = lines_next(l, &c);
		if (rc == 0)
			break;
		if (rc > 0)
			rc = columns_split(l, c, &columns, f);
		if (!rc)
			rc = each(t, l, &columns, f);
		rc = trace_bad_row(t, rc);
	}
	lines_close(l);
	return rc;
}

static int duration_row(struct trace *t, struct lines *l, const struct columns *c,
			const struct field f[])
{
	struct units *u = &t->units;
	double ms;
	int64_t id;
	int rc = columns_number(l, c, f, DUR_AVERAGE, 1e12, &ms);

	if (rc)
		return rc;
	id = names_find(u->function_names, f[DUR_APP].s, f[DUR_APP].len, f[DUR_FUNCTION].s,
			f[DUR_FUNCTION].len);
	if (id >= 0)
		u->functions[id].busy_s = ms / 1000;
	return 0;
}

/* Memory per app; some extracts split it over the app's functions, which add up. */
static int memory_row(struct trace *t, struct lines *l, const struct columns *c,
		      const struct field f[])
{
	struct units *u = &t->units;
	double mb;
	int64_t app, id;
	int rc = columns_number(l, c, f, MEM_AVERAGE, 1e9, &mb);

	if (rc)
		return rc;
	app = names_find(u->app_names, f[MEM_APP].s, f[MEM_APP].len, NULL, 0);
	if (app < 0)
		return 0;
	if (c->at[MEM_FUNCTION] < 0) {
		u->apps[app].mem_mb = mb;
		return 0;
	}
	id = names_find(u->function_names, f[MEM_APP].s, f[MEM_APP].len, f[MEM_FUNCTION].s,
			f[MEM_FUNCTION].len);
	if (id >= 0) {
		u->apps[app].mem_mb += mb - u->functions[id].mem_mb;
		u->functions[id].mem_mb = mb;
	}
	return 0;
}

static int row_order(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (a->unit != b->unit)
		return a->unit < b->unit ? -1 : 1;
	return (a->seq > b->seq) - (a->seq < b->seq);
}

/* Add up the rows of one unit, minute by minute, into runs. */
static void merge(struct trace *t, struct azure *a, const struct row *rows, size_t n, double base_s)
{
	uint32_t count[MINUTES] = {0};
	double busy[MINUTES] = {0};

	for (size_t r = 0; r < n; r++) {
		double busy_s = t->units.functions[rows[r].function].busy_s;

		for (uint32_t i = 0; i < rows[r].n; i++) {
			struct cell c = a->cells[rows[r].first + i];

			count[c.minute] += c.n;
			busy[c.minute] += c.n * busy_s;
		}
	}
	for (unsigned int m = 0; m < a->minutes; m++) {
		if (!count[m])
			continue;
		a->runs[a->nruns++] = (struct trace_run){.t_s = base_s + m * MINUTE_S,
							 .busy_s = busy[m] / count[m],
							 .n = count[m],
							 .seq = rows[0].seq};
	}
}

/* Mean execution time of the unit: of its functions, by their calls of this day. */
static void set_warm(struct trace *t, struct azure *a, const struct trace_slice *s)
{
	double busy = 0, n = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		busy += a->runs[s->first + i].busy_s * a->runs[s->first + i].n;
		n += a->runs[s->first + i].n;
	}
	t->units.list[s->unit].warm_s = busy / n;
}

/* Rows, in any order, to slices by unit. */
static int assemble(struct trace *t, struct azure *a, double base_s, struct trace_block *out)
{
	size_t n, nslices = 0;
	int rc;

	rc = grow((void **)&a->runs, &a->runs_cap, a->ncells, sizeof(*a->runs));
	if (!rc)
		rc = grow((void **)&a->slices, &a->slices_cap, a->nrows, sizeof(*a->slices));
	if (rc)
		return rc;
	if (a->nrows) /* qsort wants an array even for nothing */
		qsort(a->rows, a->nrows, sizeof(*a->rows), row_order);
	a->nruns = 0;
	for (size_t i = 0; i < a->nrows; i += n) {
		struct trace_slice *s = &a->slices[nslices];

		for (n = 1; i + n < a->nrows && a->rows[i + n].unit == a->rows[i].unit; n++)
			;
		if (t->units.list[a->rows[i].unit].left_out)
			continue;
		*s = (struct trace_slice){.unit = a->rows[i].unit, .first = a->nruns};
		merge(t, a, &a->rows[i], n, base_s);
		s->n = a->nruns - s->first;
		set_warm(t, a, s);
		nslices++;
	}
	*out = (struct trace_block){
	    .span_s = MINUTE_S, .slices = a->slices, .nslices = nslices, .runs = a->runs};
	return 1;
}

static int azure_next(struct trace *t, struct trace_block *out)
{
	struct azure *a = t->reader;
	const struct day *d = &a->days[a->day];
	double base_s;
	int rc;

	if (a->day == a->ndays)
		return 0;
	rc = read_invocations(t, a, d->path[KIND_INVOCATIONS]);
	if (!rc && d->path[KIND_DURATIONS])
		rc = read_table(t, d->path[KIND_DURATIONS], duration_row);
	if (!rc && d->path[KIND_MEMORY])
		rc = read_table(t, d->path[KIND_MEMORY], memory_row);
	if (rc)
		return rc;
	base_s = (d->number - 1) * DAY_S + (a->first_minute - 1) * MINUTE_S;
	if (!t->started)
		t->start_s = base_s;
	t->started = true;
	t->end_s = base_s + a->minutes * MINUTE_S;
	a->day++;
	return assemble(t, a, base_s, out);
}

static double azure_share(const struct trace *t)
{
	const struct azure *a = t->reader;

	return (double)a->day / a->ndays;
}

const struct source source_azure2019 = {
    .name = "azure2019",
    .binned = true,
    .open = azure_open,
    .close = azure_close,
    .next = azure_next,
    .share = azure_share,
};
