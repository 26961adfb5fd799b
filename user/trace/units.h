/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The apps and functions of a trace: names to numbers, and what is known of
 * each. Numbers are given in order of first appearance and never change.
 */
#ifndef HEARTH_TRACE_UNITS_H
#define HEARTH_TRACE_UNITS_H

#include "trace/trace.h"

#define UNITS_MAX (1u << 24) /* apps or functions of one trace */

struct names; /* names to 0..n-1 */

struct names *names_new(void);
void names_free(struct names *n);
uint32_t names_count(const struct names *n);

/* Number of "a/b" (b may be NULL: "a"), made if it is new; -errno. */
int64_t names_add(struct names *n, const char *a, size_t a_len, const char *b, size_t b_len);
/* The same without making it; -ENOENT. */
int64_t names_find(const struct names *n, const char *a, size_t a_len, const char *b, size_t b_len);
const char *names_get(const struct names *n, uint32_t i);

/* A function of the trace and the app it belongs to. */
struct unit_function {
	uint32_t app;
	double busy_s;
	double mem_mb; /* of this function alone; 0: only the app's is known */
};

/* An app: apps exist for counting and memory even if functions are the units. */
struct unit_app {
	uint32_t functions;
	double mem_mb; /* 0: unknown */
	bool counted;  /* scratch of whoever counts apps */
};

struct units {
	enum trace_by by;
	struct names *app_names, *function_names;
	struct unit_app *apps;
	struct unit_function *functions;
	struct trace_unit *list; /* the units */
	size_t apps_cap, functions_cap, list_cap;
	size_t n;
};

int units_init(struct units *u, enum trace_by by);
void units_done(struct units *u);

/* The function's number, made if new, its app and unit with it; -errno. */
int64_t units_function(struct units *u, const char *app, size_t app_len, const char *function,
		       size_t function_len);

/* The unit that a function counts for. */
uint32_t units_of(const struct units *u, uint32_t function);

/* Set each unit's memory from its app or function. */
void units_settle(struct units *u);

#endif
