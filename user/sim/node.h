/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The default model of a host: a cold call takes the unit's cold time, an
 * instance runs one call, the policy's windows unload and pre-warm idle ones,
 * the ranker makes room, and a call that finds none waits its turn.
 *
 * History is per unit, the clock per instance: of several idle instances the
 * one used last serves next, and each keeps the windows' first stretch since
 * its own last end. Pre-warming takes free memory, it never evicts.
 */
#ifndef HEARTH_SIM_NODE_H
#define HEARTH_SIM_NODE_H

#include "sim/pool.h"

struct node;

struct node *node_new(const struct capacity_setting *setting, uint64_t seed);
void node_free(struct node *n);

/* Tallies, and room for units. */
struct pool *node_pool(struct node *n);
int node_units(struct node *n, const struct trace_unit *info, size_t count);

int node_arrive(struct node *n, const struct arrival *a); /* 0 or -ENOMEM */
int node_finish(struct node *n, double end_s);

#endif
