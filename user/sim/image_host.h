/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A host where instances are forked from images, or not: the same calls, costs,
 * policy and ranker with each function kept for itself, with images, with both.
 *
 * An image is an entry of the pool like an instance, with the pooled calls of its
 * functions as its own: they drive the policy that keeps it, and the ranker. It
 * cannot go while an instance that was forked from it lives. A call that finds
 * no room is dropped.
 */
#ifndef HEARTH_SIM_IMAGE_HOST_H
#define HEARTH_SIM_IMAGE_HOST_H

#include "sim/pool.h"

struct image_host;

struct image_host *image_host_new(const struct capacity_setting *setting, uint64_t seed);
void image_host_free(struct image_host *h);

struct pool *image_host_pool(struct image_host *h);
const struct sim_tally *image_host_tally(const struct image_host *h, size_t unit);
int image_host_units(struct image_host *h, const struct trace_unit *info, size_t count);

int image_host_arrive(struct image_host *h, const struct arrival *a); /* 0 or -ENOMEM */
int image_host_finish(struct image_host *h, double end_s);

#endif
