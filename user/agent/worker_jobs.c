/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The three jobs: reclaim.c and workset.c as the queue runs them. Whatever a job
 * needs is copied when it is queued, for the instance may be gone when it runs.
 */
#include <errno.h>

#include "agent/worker_internal.h"
#include "lib/util.h"

/* Below this, starting a second thread costs more than it brings. */
#define HELP_BYTES (UINT64_C(16) << 20)

static void free_set(struct job *job)
{
	workset_free(job->want.set);
}

/* ---- prefault */

/* The helper comes from the other end. Limited or beside a running process, one is enough. */
static bool may_help(const struct job *job)
{
	const struct prefault_options *o = &job->want.prefault;

	return !o->rate_bytes_s && !(o->cpu_share > 0) && !o->backwards &&
	       workset_bytes(job->want.set) >= HELP_BYTES;
}

static int find_set(struct job *job)
{
	if (job->want.set)
		return 0;
	return workset_swapped(job->dirfd, job->result.cgid, job->cancel, &job->want.set);
}

static void run_prefault(struct worker *w, struct job *job, bool helper, struct worker_result *part)
{
	struct prefault_options o = job->want.prefault;
	int rc = 0;

	o.cancel = job->cancel;
	o.backwards ^= helper;
	if (!helper) {
		rc = find_set(job);
		if (rc == 0 && may_help(job))
			worker_invite(w, job);
	}
	if (rc == 0)
		rc = workset_prefault(job->want.set, job->dirfd, job->result.cgid, &o,
				      &part->prefault);
	part->cancelled = rc == -ECANCELED || part->prefault.cancelled;
	part->error = rc == -ECANCELED ? 0 : rc;
}

int worker_prefault(struct worker *w, uint32_t slot, uint32_t gen, int dirfd, uint64_t cgid,
		    const struct workset *set, const struct prefault_options *o)
{
	static const struct job_ops OPS = {.run = run_prefault, .release = free_set};
	struct job *job;
	int rc = worker_job(w, WORKER_PREFAULT, &OPS, slot, gen, dirfd, cgid, &job);

	if (rc < 0)
		return rc;
	job->want.prefault = *o;
	if (set)
		rc = workset_copy(set, &job->want.set);
	if (rc < 0) {
		worker_drop(job);
		return rc;
	}
	return worker_submit(w, job);
}

/* ---- record */

static void run_record(struct worker *w, struct job *job, bool helper, struct worker_result *part)
{
	int rc = workset_record(job->dirfd, job->result.cgid, job->cancel, &part->set);

	(void)w;
	(void)helper;
	part->cancelled = rc == -ECANCELED;
	part->error = part->cancelled ? 0 : rc;
}

int worker_record(struct worker *w, uint32_t slot, uint32_t gen, int dirfd, uint64_t cgid)
{
	static const struct job_ops OPS = {.run = run_record};
	struct job *job;
	int rc = worker_job(w, WORKER_RECORD, &OPS, slot, gen, dirfd, cgid, &job);

	return rc < 0 ? rc : worker_submit(w, job);
}

/* ---- reclaim */

static void run_reclaim(struct worker *w, struct job *job, bool helper, struct worker_result *part)
{
	struct reclaim_options o = job->want.reclaim;
	int rc;

	(void)w;
	(void)helper;
	o.cancel = job->cancel;
	rc = reclaim_run(job->dirfd, job->result.cgid, &o, &part->reclaim);
	part->cancelled = rc == -EBUSY || part->reclaim.cancelled; /* a thaw came first */
	part->error = rc < 0 && rc != -EBUSY ? rc : part->reclaim.error;
}

int worker_reclaim(struct worker *w, uint32_t slot, uint32_t gen, int dirfd, uint64_t cgid,
		   const struct reclaim_options *o)
{
	static const struct job_ops OPS = {.run = run_reclaim};
	struct job *job;
	int rc = worker_job(w, WORKER_RECLAIM, &OPS, slot, gen, dirfd, cgid, &job);

	if (rc < 0)
		return rc;
	job->want.reclaim = *o;
	return worker_submit(w, job);
}
