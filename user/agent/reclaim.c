/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One reclaim from the first look to the last: what is measured around it, and
 * the question before each batch. The methods are in files of their own.
 */
#include <errno.h>
#include <time.h>

#include "agent/reclaim.h"
#include "agent/reclaim_internal.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/swap.h"
#include "lib/util.h"

/* A signal ends a nap early; one that came just before it must not cost more than this. */
#define NAP_NS (10 * NSEC_PER_MSEC)

static const struct {
	const char *name;
	int (*run)(struct reclaim_job *job);
} methods[] = {
    [RECLAIM_NONE] = {"none"},
    [RECLAIM_CGROUP] = {"memory.reclaim", reclaim_by_cgroup},
    [RECLAIM_MADVISE] = {"madvise", reclaim_by_madvise},
    [RECLAIM_SQUEEZE] = {"memory.high", reclaim_by_squeeze},
};

const char *reclaim_method_name(enum reclaim_method m)
{
	return methods[m].name;
}

static bool cancelled(struct reclaim_job *job)
{
	if (job->options->cancel && atomic_load(job->options->cancel))
		job->cancelled = true;
	return job->cancelled;
}

int reclaim_next(struct reclaim_job *job, uint64_t *bytes)
{
	uint64_t next = pace_next(&job->pace), wait;
	int frozen;

	if (!next)
		return 0;
	while (!cancelled(job) && (wait = pace_wait_ns(&job->pace, now_ns()))) {
		struct timespec nap = {.tv_nsec = (long)MIN(wait, NAP_NS)};

		nanosleep(&nap, NULL);
	}
	if (job->cancelled)
		return 0;
	frozen = cgroup_read_frozen(job->dirfd);
	if (frozen < 0)
		return frozen;
	if (!frozen) {
		job->cancelled = true;
		return 0;
	}
	*bytes = next;
	return 1;
}

/* The first method that works here, and what became of it. */
static int run_methods(struct reclaim_job *job, enum reclaim_method *method)
{
	int rc = -EOPNOTSUPP;

	for (size_t i = RECLAIM_NONE + 1; i < ARRAY_SIZE(methods) && rc == -EOPNOTSUPP; i++) {
		*method = (enum reclaim_method)i;
		rc = methods[i].run(job);
	}
	return rc;
}

static int check(int dirfd, uint64_t cgid)
{
	uint64_t id;
	int rc = cgroup_id_of_fd(dirfd, &id);

	if (rc < 0)
		return rc;
	if (id != cgid)
		return -ENOENT;
	rc = cgroup_read_frozen(dirfd);
	return rc == 0 ? -EBUSY : MIN(rc, 0);
}

static uint64_t drop(uint64_t before, uint64_t after)
{
	return before - MIN(before, after);
}

static int measure(int dirfd, struct reclaim_result *r)
{
	struct swap_use swap;
	int rc = memory_read(dirfd, &r->after);

	if (rc == 0)
		rc = swap_read("/proc", "/sys", &swap);
	if (rc < 0)
		return rc;
	r->returned_bytes = drop(memory_resident(&r->before), memory_resident(&r->after));
	r->kept_bytes = drop(memory_kept(&r->after, &swap), memory_kept(&r->before, &swap));
	return 0;
}

int reclaim_run(int dirfd, uint64_t cgid, const struct reclaim_options *options,
		struct reclaim_result *out)
{
	struct reclaim_job job = {.dirfd = dirfd, .options = options};
	struct reclaim_result r = {.method = RECLAIM_NONE};
	uint64_t begun = now_ns();
	int rc = check(dirfd, cgid);

	if (rc == 0)
		rc = memory_read(dirfd, &r.before);
	if (rc < 0)
		return rc;
	pace_init(&job.pace, options->want_bytes, options->batch_bytes, options->swap_bytes_per_s,
		  now_ns());
	if (options->want_bytes && !cancelled(&job))
		rc = run_methods(&job, &r.method);
	if (rc < 0 && !job.pace.batches)
		return rc;
	r.error = rc;
	r.cancelled = job.cancelled;
	r.batches = job.pace.batches;
	r.took_ns = now_ns() - begun;
	rc = measure(dirfd, &r);
	if (rc < 0)
		return rc;
	r.partial = options->want_bytes != RECLAIM_ALL && !r.cancelled && !r.error &&
		    pace_next(&job.pace) > 0;
	*out = r;
	return 0;
}
