/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory of idle instances, out and back: reclaim once frozen, prewarm ahead of
 * a request, restore beside one. The work is done by the worker's threads; a
 * thaw cancels it. Main thread only.
 *
 * Invariant: jobs that take memory are queued for frozen instances alone, and
 * whoever queues one looks at the tier again afterwards (worker.h).
 */
#ifndef HEARTH_PAGING_H
#define HEARTH_PAGING_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/worker.h"
#include "hearth/ladder.h"

struct agent;
struct function;
struct instance;

/* What is known of one instance's memory. */
struct paging {
	bool out;               /* paged out since it was frozen */
	bool swap_due;          /* only its file pages are: swap had no room */
	bool going;             /* a reclaim is queued or running */
	bool returning;         /* a prewarm is */
	bool prewarmed;         /* brought back ahead of a request that has not come */
	bool record_due;        /* the end of the request shows the working set ... */
	bool exact;             /* ... for nothing else was brought back */
	enum hearth_rung found; /* the tier its current span found it in; HEARTH_RUNGS: between */
	bool was_ready;         /* ... brought back ahead of it */
	uint64_t resident_bytes;
	uint64_t swap_bytes;
	uint64_t looked_ns;        /* at these two */
	uint64_t swap_claim_bytes; /* a reclaim that is going may fill so much swap */
	uint64_t retry_ns;         /* no reclaim before then */
	uint64_t retry_back_ns;    /* no prewarm before then */
	struct workset *workset;   /* NULL: not recorded yet */
};

/* Of one function, since hearthd started. */
struct paging_counts {
	uint64_t reclaims, prewarms;
	uint64_t hits;   /* the request found it restored */
	uint64_t early;  /* the request came before the restore was done */
	uint64_t wasted; /* none came in the window */
	uint64_t returned_bytes;
};

/*
 * Bring a frozen instance to a tier, frozen or reclaimed. When to ask again,
 * UINT64_MAX: not needed, the end of a job asks for a fresh look itself.
 */
uint64_t paging_move(struct agent *a, struct instance *inst, enum hearth_rung rung);

/* It was frozen just now: nothing of it is out yet. */
void paging_frozen(struct instance *inst);

/* Thawed, by_request: by the wake thread. Called once per thaw of ours, whoever did it. */
void paging_thawed(struct agent *a, struct instance *inst, bool by_request);

/* The span that its wake began is over; span_s: 0 if it shared it with other instances. */
void paging_idle(struct agent *a, struct instance *inst, double span_s);

void paging_forget(struct agent *a, struct instance *inst); /* it vanishes */
void paging_done(const struct worker_result *r, void *agent);

/* Bytes an idle instance keeps: resident, and what zram holds of its swapped ones. */
uint64_t paging_cost(struct agent *a, const struct instance *inst);

/* Look at what it keeps now. */
void paging_look(struct instance *inst);

#endif
