/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Header lines: which format a file has, and where its columns are. Columns
 * are found by name, so their order does not matter.
 */
#ifndef HEARTH_TRACE_COLUMNS_H
#define HEARTH_TRACE_COLUMNS_H

#include "trace/lines.h"

#define COLUMNS_MAX 8

enum file_kind {
	KIND_INVOCATIONS, /* azure2019, three kinds of file */
	KIND_DURATIONS,
	KIND_MEMORY,
	KIND_AZURE2021,
	KIND_CSV,
	KIND_RECORDED,
	KIND_COUNT,
};

/* Columns by kind, in the order of their place in struct columns. */
enum { INV_OWNER, INV_APP, INV_FUNCTION, INV_TRIGGER, INV_FIRST_MINUTE };
enum { DUR_APP, DUR_FUNCTION, DUR_AVERAGE };
enum { MEM_APP, MEM_AVERAGE, MEM_FUNCTION };
enum { A21_APP, A21_FUNCTION, A21_END, A21_DURATION };
enum { CSV_FUNCTION, CSV_START, CSV_WARM, CSV_COLD, CSV_MEM };
enum { REC_FUNCTION, REC_BEGIN, REC_END, REC_START, REC_MEM };

struct columns {
	enum file_kind kind;
	unsigned int n;      /* columns of the file */
	int at[COLUMNS_MAX]; /* index of each known column, -1: absent */
};

/* Find out what a header line says; -EINVAL with a message if it fits no format. */
int columns_detect(struct lines *l, struct cursor header, struct columns *out);

/*
 * Split a row into the known columns (len 0 and s NULL where absent).
 * -EINVAL with a message if the row has another number of fields.
 */
int columns_split(struct lines *l, struct cursor row, const struct columns *c,
		  struct field out[COLUMNS_MAX]);

/* A number of a split row, or -EINVAL with a message that names the column. */
int columns_number(struct lines *l, const struct columns *c, const struct field f[],
		   unsigned int column, double max, double *out);

/* A name: 1 to 250 bytes. The same. */
int columns_name(struct lines *l, const struct columns *c, const struct field f[],
		 unsigned int column);

#endif
