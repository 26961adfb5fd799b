/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What trace.c asks of a reader, and the state they share. A reader turns
 * files of its kinds into blocks; trace.c finds the files, counts, filters.
 */
#ifndef HEARTH_TRACE_SOURCE_H
#define HEARTH_TRACE_SOURCE_H

#include "trace/columns.h"
#include "trace/trace.h"
#include "trace/units.h"

#define TRACE_MAX_S 1e13 /* largest time accepted, in seconds */

struct trace_file {
	char *path;
	enum file_kind kind;
};

struct source {
	const char *name;
	bool binned;
	int (*open)(struct trace *t); /* sets t->reader; also to start again */
	void (*close)(struct trace *t);
	int (*next)(struct trace *t, struct trace_block *out); /* 1, 0 at the end, -errno */
	double (*share)(const struct trace *t); /* of the trace that was handed out, about */
};

struct trace {
	struct trace_options options;
	struct units units;
	struct trace_file *files; /* in order of name */
	size_t nfiles;
	const struct source *source;
	void *reader;
	struct trace_block block;
	double start_s, end_s;
	bool started; /* start_s is set */
	uint64_t skipped;
	char *err;
	size_t err_size;
};

extern const struct source source_azure2019, source_azure2021, source_csv, source_recorded;

int trace_fail(struct trace *t, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A row was bad: 0 if it may be skipped (and is counted), rc if not. */
int trace_bad_row(struct trace *t, int rc);

/* Open a file again and pass its header. */
int trace_reopen(struct trace *t, const char *path, struct lines **out, struct columns *columns);

#endif
