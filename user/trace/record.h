/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes the "recorded" format that trace.h reads. After every row a plain file
 * is whole, whatever happens to the writer; a .gz file is whole once closed, and
 * what was flushed can be recovered (zcat) if it never was.
 */
#ifndef HEARTH_TRACE_RECORD_H
#define HEARTH_TRACE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct record; /* one file being written */

struct record_row {
	const char *function; /* any bytes: what a CSV field may not hold is written as %XX */
	double begin_s;       /* Unix time, or any other origin */
	double end_s;
	const char *start; /* cold, warm or lukewarm */
	double mem_mb;     /* of 2^20 bytes; NAN or 0: unknown */
};

/*
 * Make the file and write the header line; compressed if its name ends in .gz.
 * -EEXIST if there is one already, unless replace is set.
 */
int record_open(const char *path, bool replace, struct record **out);

/* The same onto an open stream, which stays open. */
int record_open_stream(FILE *stream, struct record **out);

int record_row(struct record *r, const struct record_row *row);

/* Hand a compressed file's rows to the kernel; costs a little compression. */
int record_flush(struct record *r);

/* 0 if all was written. Frees r in any case; NULL is fine. */
int record_close(struct record *r);

#endif
