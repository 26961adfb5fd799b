/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A node with images of dependencies, in two parts: what a start is and what it takes
 * (image_start.c), and when functions and images are there (image_host.c).
 */
#ifndef HEARTH_SIM_IMAGE_HOST_INTERNAL_H
#define HEARTH_SIM_IMAGE_HOST_INTERNAL_H

#include "sim/image_host.h"

/* In the order in which they happen at the same time. */
enum timer_kind { FINISH, CLOSE, PAGE, PREWARM };

/* From a warm call to one that loads an image and is forked from it. */
enum start { WARM, FORK, PAGED_FORK, COLD, COLD_FORK, STARTS };

/* A function or an image: its calls, and the windows of its idle time. */
struct keeper {
	uint32_t id; /* in the pool: images first */
	const struct hearth_policy *policy;
	struct lane *lane;
	uint32_t in_flight;
	struct hearth_decision windows; /* of the current idle time */
	unsigned int window;            /* the next to load ahead for */
	struct timer prewarm;
	struct keeper *image; /* of a function; NULL: none */
	/* Of an image: */
	struct instance *live;
	uint32_t children; /* instances that were forked from it */
	bool paged, expired;
	struct timer page;
};

struct image_host {
	struct pool pool;
	const struct capacity_setting *setting;
	const struct trace_unit *info;
	size_t nimages;
	struct keeper **keepers; /* by id; made at the first call */
	size_t n;
	uint64_t count[STARTS];
	double metered_s; /* memory up to here is in mb_s */
	bool begun;
};

/* ---- image_start.c */

double image_start_s(const struct image_costs *c, enum start how);

/* Load an image that is not there. 0 or -ENOMEM. */
int image_start_image(struct image_host *h, struct keeper *image, double now_s);

/*
 * A new instance, and how it started: 1, 0 if there is no room, -ENOMEM. called: evict for
 * it; else it takes only what is free.
 */
int image_start_instance(struct image_host *h, struct keeper *f, double now_s, bool called,
			 struct instance **out, enum start *how);

/* Mean and 99th percentile of all starts; there are as many values as kinds. */
void image_start_totals(struct image_host *h);

#endif
