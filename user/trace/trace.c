/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Opening a trace: list the files, tell their formats by the headers, choose
 * the reader; then count and filter what it delivers.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/progress.h"
#include "lib/util.h"
#include "trace/source.h"

static const struct source *const source_of[KIND_COUNT] = {
    [KIND_INVOCATIONS] = &source_azure2019,
    [KIND_DURATIONS] = &source_azure2019,
    [KIND_MEMORY] = &source_azure2019,
    [KIND_AZURE2021] = &source_azure2021,
    [KIND_CSV] = &source_csv,
    [KIND_RECORDED] = &source_recorded,
};

int trace_fail(struct trace *t, int error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(t->err, t->err_size, format, ap);
	va_end(ap);
	return error;
}

int trace_bad_row(struct trace *t, int rc)
{
	if (rc == -E2BIG)
		return trace_fail(t, rc, "more than %u functions in one trace", UNITS_MAX);
	if (rc != -EINVAL || !t->options.lenient)
		return rc;
	t->skipped++;
	return 0;
}

int trace_reopen(struct trace *t, const char *path, struct lines **out, struct columns *columns)
{
	struct cursor header;
	struct lines *l;
	int rc;

	rc = lines_open(path, &l, t->err, t->err_size);
	if (rc)
		return rc;
	rc = lines_next(l, &header);
	if (rc == 0)
		rc = trace_fail(t, -EINVAL,
				"%s: the file is empty; accepted: a header line, then rows", path);
	if (rc > 0)
		rc = columns_detect(l, header, columns);
	if (rc < 0) {
		lines_close(l);
		return rc;
	}
	*out = l;
	return 0;
}

static int add_file(struct trace *t, const char *path)
{
	struct trace_file *grown = realloc(t->files, (t->nfiles + 1) * sizeof(*t->files));
	struct columns columns;
	struct lines *l;
	int rc;

	if (!grown)
		return -ENOMEM;
	t->files = grown;
	rc = trace_reopen(t, path, &l, &columns);
	if (rc)
		return rc;
	lines_close(l);
	if (t->source && t->source != source_of[columns.kind])
		return trace_fail(t, -EINVAL, "%s: this is %s, the files before it are %s", path,
				  source_of[columns.kind]->name, t->source->name);
	t->source = source_of[columns.kind];
	grown[t->nfiles] = (struct trace_file){strdup(path), columns.kind};
	return grown[t->nfiles++].path ? 0 : -ENOMEM;
}

static int is_csv(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return (n > 4 && !strcmp(e->d_name + n - 4, ".csv")) ||
	       (n > 7 && !strcmp(e->d_name + n - 7, ".csv.gz"));
}

static int add_directory(struct trace *t, const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, is_csv, alphasort);
	int rc = 0;

	if (n < 0)
		return trace_fail(t, -errno, "%s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file = NULL;

		if (!rc && asprintf(&file, "%s/%s", path, names[i]->d_name) < 0)
			rc = -ENOMEM;
		if (!rc)
			rc = add_file(t, file);
		free(names[i]);
	}
	free(names);
	if (!n)
		return trace_fail(t, -ENOENT, "%s: no *.csv or *.csv.gz in this directory", path);
	return rc;
}

static int add_path(struct trace *t, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return trace_fail(t, -errno, "%s: %s", path, strerror(errno));
	return S_ISDIR(st.st_mode) ? add_directory(t, path) : add_file(t, path);
}

/* Read it all once, to know which units have too many invocations. */
static int count_first(struct trace *t)
{
	const struct trace_block *block;
	int rc;

	progress_stage(t->options.progress, "counting");
	do
		rc = trace_next(t, &block);
	while (rc > 0);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < t->units.n; i++)
		t->units.list[i].left_out =
		    t->units.list[i].invocations > t->options.max_invocations;
	return trace_rewind(t);
}

static int open_all(struct trace *t, char *const paths[], size_t n)
{
	int rc = units_init(&t->units, t->options.by);

	for (size_t i = 0; i < n && !rc; i++)
		rc = add_path(t, paths[i]);
	if (!rc && !t->source)
		rc = trace_fail(t, -EINVAL, "no trace is named");
	if (!rc)
		rc = t->source->open(t);
	if (!rc && t->options.max_invocations)
		rc = count_first(t);
	return rc;
}

int trace_open(char *const paths[], size_t n, const struct trace_options *options,
	       struct trace **out, char *err, size_t err_size)
{
	struct trace *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	t->options = *options;
	t->err = err;
	t->err_size = err_size;
	snprintf(err, err_size, "out of memory"); /* unless a better message follows */
	rc = open_all(t, paths, n);
	if (rc) {
		trace_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void trace_close(struct trace *t)
{
	if (!t)
		return;
	if (t->reader)
		t->source->close(t);
	units_done(&t->units);
	for (size_t i = 0; i < t->nfiles; i++)
		free(t->files[i].path);
	free(t->files);
	free(t);
}

int trace_next(struct trace *t, const struct trace_block **out)
{
	const struct trace_block *b = &t->block;
	int rc = t->source->next(t, &t->block);

	if (rc <= 0)
		return rc;
	progress_step(t->options.progress, t->source->share(t));
	units_settle(&t->units);
	for (size_t i = 0; i < b->nslices; i++) {
		const struct trace_slice *s = &b->slices[i];

		for (uint32_t k = 0; k < s->n; k++)
			t->units.list[s->unit].invocations += b->runs[s->first + k].n;
	}
	*out = b;
	return 1;
}

int trace_rewind(struct trace *t)
{
	t->source->close(t);
	t->reader = NULL;
	t->started = false;
	t->skipped = 0;
	for (size_t i = 0; i < t->units.n; i++)
		t->units.list[i].invocations = 0;
	return t->source->open(t);
}

struct progress *trace_progress(const struct trace *t)
{
	return t->options.progress;
}

const struct trace_unit *trace_units(const struct trace *t, size_t *n)
{
	*n = t->units.n;
	return t->units.list;
}

/* Functions and apps that are simulated: with the arrivals so far and not left out. */
static void count_names(const struct trace *t, struct trace_info *out)
{
	for (uint32_t a = 0; a < names_count(t->units.app_names); a++)
		t->units.apps[a].counted = false;
	for (uint32_t f = 0; f < names_count(t->units.function_names); f++) {
		const struct trace_unit *u = &t->units.list[units_of(&t->units, f)];
		struct unit_app *app = &t->units.apps[t->units.functions[f].app];

		if (u->left_out || !u->invocations)
			continue;
		out->functions++;
		out->apps += !app->counted;
		app->counted = true;
	}
}

void trace_info(const struct trace *t, struct trace_info *out)
{
	*out = (struct trace_info){.format = t->source->name,
				   .binned = t->source->binned,
				   .skipped = t->skipped,
				   .start_s = t->start_s,
				   .end_s = t->end_s};
	for (size_t i = 0; i < t->units.n; i++)
		if (!t->units.list[i].left_out)
			out->invocations += t->units.list[i].invocations;
	count_names(t, out);
}
