/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lines and fields of a CSV file, plain or .gz, one line in memory at a time.
 * Every complaint about a file is made by lines_error and carries
 * path:line:column. Fields are unquoted: a quote, a control character or a
 * line of more than LINES_MAX bytes is an error, never a guess.
 */
#ifndef HEARTH_TRACE_LINES_H
#define HEARTH_TRACE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_MAX (1 << 20)

struct lines; /* one open file */

/* A field of the current line; col counts from 1. */
struct field {
	const char *s; /* not terminated */
	size_t len;
	unsigned int col;
};

/* Goes through the fields of one line. */
struct cursor {
	const char *p; /* NULL: no field is left */
	const char *end;
	const char *line;
};

/* 0, or -errno with a message in err. */
int lines_open(const char *path, struct lines **out, char *err, size_t err_size);
void lines_close(struct lines *l);

/* The share of the file that was read, 0 to 1. */
double lines_share(const struct lines *l);

/* The next line that is not empty: 1, 0 at the end, or -errno with a message. */
int lines_next(struct lines *l, struct cursor *out);

/* Writes "path:line:column: message" to the err of lines_open; returns -EINVAL. */
int lines_error(struct lines *l, unsigned int col, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool cursor_next(struct cursor *c, struct field *out);
unsigned int cursor_col(const struct cursor *c);

bool lines_is(const struct field *f, const char *text);

/* Strict decimal numbers: the whole field, finite, within [min, max]. */
bool lines_number(const struct field *f, double min, double max, double *out);
bool lines_count(const struct field *f, uint32_t max, uint32_t *out);

/* Length of a field as a printf precision, cut to what a message can show. */
int lines_show(const struct field *f);

#endif
