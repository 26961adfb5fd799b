/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Threads for what takes long: reclaim of an instance, recording of its working
 * set, prefault. Jobs are queued by slot; prefaults go before recordings, those
 * before reclaims, which run at a lower priority. Results arrive on the loop.
 *
 * Invariant: of one slot at most one job runs, and worker_cancel never waits, so
 * that the wake thread can call it at every thaw.
 */
#ifndef HEARTH_WORKER_H
#define HEARTH_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/reclaim.h"
#include "agent/workset.h"

#define WORKER_MAX_THREADS 2u

struct worker;

enum worker_kind {
	WORKER_PREFAULT, /* by priority */
	WORKER_RECORD,
	WORKER_RECLAIM,
};

struct worker_result {
	enum worker_kind kind;
	uint32_t slot;
	uint32_t gen;
	uint64_t cgid;
	bool cancelled; /* or thawed, before it began or in the middle: see how far it came */
	int error;      /* negative errno, 0: none. -ENOENT: the cgroup is gone */
	uint64_t queued_ns;
	uint64_t took_ns; /* 0: it never began */
	/* by kind; the others are zero */
	struct prefault_result prefault;
	struct workset *set; /* the receiver frees it; NULL after an error */
	struct reclaim_result reclaim;
};

typedef void (*worker_done_fn)(const struct worker_result *result, void *arg);

struct worker_options {
	uv_loop_t *loop;
	uint32_t slots;       /* jobs are for slots 0 .. slots - 1 */
	unsigned int threads; /* 1 or 2. Two share a large prefault, and a reclaim takes only one */
	worker_done_fn done;  /* called on the loop, once per queued job */
	void *arg;
};

int worker_new(const struct worker_options *o, struct worker **out);

/*
 * Cancels everything, joins the threads and closes its handle: the loop must turn
 * once more. Results that were not delivered are dropped. Whoever calls
 * worker_cancel from another thread has stopped before. NULL is fine.
 */
void worker_free(struct worker *w);

/*
 * Queue a job; loop's thread only. dirfd is duplicated, options are copied (their
 * cancel flag is the worker's), the set too; set NULL: everything that is in swap.
 * 0; -EBUSY: the slot has a job that was not cancelled; -EINVAL: no such slot;
 * -ENOMEM, -EMFILE.
 *
 * A thaw that came before the job was queued could not cancel it: queue, then look
 * at the tier again, and cancel if it is no longer what the job needs.
 */
int worker_reclaim(struct worker *w, uint32_t slot, uint32_t gen, int dirfd, uint64_t cgid,
		   const struct reclaim_options *o);
int worker_record(struct worker *w, uint32_t slot, uint32_t gen, int dirfd, uint64_t cgid);
int worker_prefault(struct worker *w, uint32_t slot, uint32_t gen, int dirfd, uint64_t cgid,
		    const struct workset *set, const struct prefault_options *o);

/*
 * Cancel the slot's jobs, if any, and interrupt the system call one may be in.
 * Any thread; takes no lock, never waits, and another job may be queued at once: it
 * starts when the cancelled one has let go. A job lets go within a batch. Harmless
 * for a slot without jobs.
 */
void worker_cancel(struct worker *w, uint32_t slot);

/* A job of the slot is queued or running and was not cancelled. Loop's thread only. */
bool worker_busy(struct worker *w, uint32_t slot);

#endif
