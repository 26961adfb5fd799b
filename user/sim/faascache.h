/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The compatibility model: infinite processors, one call per instance, no
 * windows. A miss that does not fit evicts until its whole size has been freed,
 * whatever was free before; then it fits or is dropped.
 */
#ifndef HEARTH_SIM_FAASCACHE_H
#define HEARTH_SIM_FAASCACHE_H

#include "sim/pool.h"

/* 0 or -ENOMEM. */
int faascache_arrive(struct pool *p, const struct trace_unit *info, const struct arrival *a);
void faascache_finish(struct pool *p, double end_s);

#endif
