/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The arrivals of a block in order of time across all units, as one host sees
 * them. Ties go by the order in the file. The index is built once per block
 * and shared; each reader expands runs into arrivals in scratch of its own.
 */
#ifndef HEARTH_SIM_ORDER_H
#define HEARTH_SIM_ORDER_H

#include "sim/spread.h"

struct order_entry {
	double t_s;
	uint32_t seq;
	uint32_t unit;
	size_t run;
};

struct order {
	const struct trace_block *block;
	const struct trace_unit *units;
	struct spread_options spread;
	struct order_entry *entries;
	size_t n, cap;
};

struct arrival {
	double t_s;
	double busy_s;
	uint32_t unit;
	uint32_t seq;
};

struct order_cursor {
	const struct order *order;
	size_t next; /* entry */
	struct arrival *group;
	size_t i, n, cap;
};

/* 0 or -ENOMEM. */
int order_build(struct order *o, const struct trace_block *b, const struct trace_unit *units);
void order_done(struct order *o);

void order_start(struct order_cursor *c, const struct order *o); /* keeps c's scratch */
/* 1 and the next arrival, 0 at the end of the block, -ENOMEM. */
int order_next(struct order_cursor *c, struct arrival *out);
void order_cursor_done(struct order_cursor *c);

#endif
