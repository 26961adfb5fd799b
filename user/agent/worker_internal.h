/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A job as the queue sees it. Invariant: a job belongs to the worker from
 * worker_submit on; its fields are touched under the lock, except by the thread
 * that runs it, which reads `want` and `cancel`.
 */
#ifndef HEARTH_WORKER_INTERNAL_H
#define HEARTH_WORKER_INTERNAL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "agent/worker.h"

struct job;

struct job_ops {
	/* On a worker thread, without the lock. helper: a second thread on the same job. */
	void (*run)(struct worker *w, struct job *job, bool helper, struct worker_result *part);
	void (*release)(struct job *job); /* what the job holds; not the job */
};

struct job {
	TAILQ_ENTRY(job) link;
	const struct job_ops *ops;
	struct worker_result result;
	int dirfd;                  /* closed with the job */
	const _Atomic bool *cancel; /* set by worker_submit */
	unsigned int cell;
	unsigned int running; /* threads in it */
	bool helpable;        /* a second thread may join; see worker_invite */
	struct {
		struct workset *set;
		struct prefault_options prefault;
		struct reclaim_options reclaim;
	} want;
};

/* A new job for w's slot, dirfd (-1: none) duplicated. */
int worker_job(struct worker *w, enum worker_kind kind, const struct job_ops *ops, uint32_t slot,
	       uint32_t gen, int dirfd, uint64_t cgid, struct job **out);

/* Takes the job, also when it fails. */
int worker_submit(struct worker *w, struct job *job);
void worker_drop(struct job *job);

/* From run: an idle thread may help from here on; the job's set stays as it is. */
void worker_invite(struct worker *w, struct job *job);

#endif
