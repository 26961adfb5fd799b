/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory of the node: when idle instances keep more than the budget, or tasks
 * wait for memory, one idle instance after the other steps down, in the order of
 * the configured ranker. Invariant: one at a time, and never one that runs, holds
 * off a freeze, or is among the min_warm of its function.
 */
#ifndef HEARTH_NODE_H
#define HEARTH_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/psi.h"
#include "hearth/rank.h"

struct agent;
struct function;
struct instance;

struct node {
	struct psi *psi;
	char psi_why_not[160]; /* "": it listens, or is not asked to */
	struct hearth_rank_pool pool;
	uint64_t victim;     /* cgroup id of who is stepping down; 0: nobody */
	uint64_t victim_ns;  /* since then */
	uint64_t pressed_ns; /* the kernel told of pressure */
	uint64_t idle_bytes; /* kept by idle instances at the last look */
	uint64_t pressed;    /* times that pressure was told */
};

/* Listen, or not, as the config says: at start and after a reload. */
void node_configure(struct agent *a);
void node_close(struct agent *a);

/* Once a second. */
void node_tick(struct agent *a);

/* A reclaim of inst ended: if it was the one to step down, the next one's turn has come. */
void node_stepped(struct agent *a, const struct instance *inst);

/* fn was invoked; inst: the instance known to have served it, or NULL. */
void node_served(struct agent *a, struct function *fn, struct instance *inst);

/* The tier an instance is squeezed to now, at least. */
enum hearth_rung node_squeezed(const struct agent *a, const struct instance *inst, uint64_t now);

#endif
