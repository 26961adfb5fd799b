/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "lib/util.h"
#include "trace/columns.h"

#define NAME_MAX_BYTES 250

struct column {
	const char *name;
	bool optional;
};

struct kind {
	bool others; /* columns not named here may be there */
	struct column columns[COLUMNS_MAX];
};

static const struct kind kinds[KIND_COUNT] = {
    [KIND_INVOCATIONS] = {true, {{"HashOwner"}, {"HashApp"}, {"HashFunction"}, {"Trigger"}}},
    [KIND_DURATIONS] = {true, {{"HashApp"}, {"HashFunction"}, {"Average"}}},
    [KIND_MEMORY] = {true, {{"HashApp"}, {"AverageAllocatedMb"}, {"HashFunction", true}}},
    [KIND_AZURE2021] = {false, {{"app"}, {"func"}, {"end_timestamp"}, {"duration"}}},
    [KIND_CSV] =
	{false,
	 {{"function"}, {"start_ms"}, {"warm_ms", true}, {"cold_ms", true}, {"mem_mb", true}}},
    [KIND_RECORDED] = {false, {{"function"}, {"begin_ms"}, {"end_ms"}, {"start"}, {"mem_mb"}}},
};

/* Does the header hold every column of the kind that must be there? */
static bool matches(const struct kind *k, struct cursor header, struct columns *out)
{
	struct field f;

	memset(out->at, -1, sizeof(out->at));
	out->n = 0;
	while (cursor_next(&header, &f)) {
		bool known = false;

		for (int i = 0; i < COLUMNS_MAX && k->columns[i].name; i++) {
			if (!lines_is(&f, k->columns[i].name) || out->at[i] >= 0)
				continue;
			out->at[i] = out->n;
			known = true;
		}
		if (!known && !k->others)
			return false;
		out->n++;
	}
	for (int i = 0; i < COLUMNS_MAX && k->columns[i].name; i++)
		if (out->at[i] < 0 && !k->columns[i].optional)
			return false;
	return true;
}

int columns_detect(struct lines *l, struct cursor header, struct columns *out)
{
	for (int i = 0; i < KIND_COUNT; i++) {
		if (matches(&kinds[i], header, out)) {
			out->kind = i;
			return 0;
		}
	}
	return lines_error(
	    l, 1,
	    "unknown header; accepted: HashOwner,HashApp,HashFunction,Trigger,1..1440 "
	    "(azure2019, with its durations and memory files) | "
	    "app,func,end_timestamp,duration (azure2021) | "
	    "function,start_ms[,warm_ms][,cold_ms][,mem_mb] (csv) | "
	    "function,begin_ms,end_ms,start,mem_mb (recorded)");
}

int columns_split(struct lines *l, struct cursor row, const struct columns *c,
		  struct field out[COLUMNS_MAX])
{
	struct field f;
	unsigned int n = 0;

	memset(out, 0, COLUMNS_MAX * sizeof(*out));
	for (; cursor_next(&row, &f); n++)
		for (int i = 0; i < COLUMNS_MAX; i++)
			if (c->at[i] == (int)n)
				out[i] = f;
	if (n != c->n)
		return lines_error(l, cursor_col(&row), "%u fields; the header has %u", n, c->n);
	return 0;
}

int columns_number(struct lines *l, const struct columns *c, const struct field f[],
		   unsigned int column, double max, double *out)
{
	if (lines_number(&f[column], 0, max, out))
		return 0;
	return lines_error(l, f[column].col, "%s is \"%.*s\"; accepted: a number from 0 to %.0f",
			   kinds[c->kind].columns[column].name, lines_show(&f[column]), f[column].s,
			   max);
}

int columns_name(struct lines *l, const struct columns *c, const struct field f[],
		 unsigned int column)
{
	if (f[column].len && f[column].len <= NAME_MAX_BYTES)
		return 0;
	return lines_error(l, f[column].col, "%s has %zu bytes; accepted: 1 to %d",
			   kinds[c->kind].columns[column].name, f[column].len, NAME_MAX_BYTES);
}
