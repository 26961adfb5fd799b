/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One invented app: what it is, and when it is called. */
#ifndef HEARTH_TRACE_GEN_MODEL_H
#define HEARTH_TRACE_GEN_MODEL_H

#include "trace/draw.h"
#include "trace/gen.h"

#define GEN_FUNCTIONS_MAX 64

struct gen_app {
	struct draw draw;
	uint64_t id;
	double per_day;  /* mean invocations */
	double cv;       /* of the times between them; 0: a timer */
	double period_s; /* of a timer */
	double next;     /* the next arrival: seconds (timer), or days of mean load (others) */
	double memory_mb;
	uint32_t functions;
	double duration_s[GEN_FUNCTIONS_MAX];
	/* Of all arrivals so far, for the result: */
	uint64_t arrivals;
	double last_s, iat_sum, iat_sum2;
};

void gen_app_draw(struct gen_app *a, uint64_t id, const struct gen_options *o);

/* Calls per minute of the next day (day = 0, 1, ...), by function. */
void gen_app_day(struct gen_app *a, uint32_t day, uint32_t counts[GEN_FUNCTIONS_MAX][GEN_MINUTES]);

/* CV of the times between all arrivals so far; negative with fewer than three of them. */
double gen_app_cv(const struct gen_app *a);

#endif
