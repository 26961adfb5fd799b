/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reclaim through the memory controller's files. A write runs in the kernel for
 * as long as the batch takes. EAGAIN means less than asked, not nothing, and
 * some kernels return more: only memory.current afterwards tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/reclaim_internal.h"
#include "lib/memory_high.h"
#include "lib/util.h"

struct level {
	uint64_t current_bytes;
	uint64_t swapped_bytes;
};

static int read_level(int dirfd, struct level *l)
{
	int rc = memory_current(dirfd, &l->current_bytes);

	return rc < 0 ? rc : memory_swapped(dirfd, &l->swapped_bytes);
}

/* Make the kernel reclaim so many bytes: the two methods differ in this alone. */
typedef int (*reclaim_batch_fn)(struct reclaim_job *job, const struct level *now, uint64_t bytes);

static uint64_t difference(uint64_t more, uint64_t less)
{
	return more - MIN(more, less);
}

static int run_batches(struct reclaim_job *job, reclaim_batch_fn reclaim)
{
	struct level before, after;
	uint64_t bytes;
	int rc = read_level(job->dirfd, &before);

	while (rc == 0 && !pace_exhausted(&job->pace) && (rc = reclaim_next(job, &bytes)) > 0) {
		uint64_t begun = now_ns();

		rc = reclaim(job, &before, bytes);
		if (rc == -EINTR)
			rc = 0; /* what it did is seen after the next batch */
		else if (rc == 0 || rc == -EAGAIN) {
			struct pace_batch batch = {.asked_bytes = bytes,
						   .took_ns = now_ns() - begun};

			rc = read_level(job->dirfd, &after);
			if (rc < 0)
				break;
			batch.returned_bytes =
			    difference(before.current_bytes, after.current_bytes);
			batch.swapped_bytes = difference(after.swapped_bytes, before.swapped_bytes);
			pace_done(&job->pace, &batch);
			before = after;
		}
	}
	return rc;
}

/* ---- memory.reclaim */

static int ask_reclaim(struct reclaim_job *job, const struct level *now, uint64_t bytes)
{
	char text[64];

	(void)now;
	snprintf(text, sizeof(text), "%" PRIu64 "%s", bytes,
		 job->options->swap ? "" : " swappiness=0");
	return write_once_at(job->dirfd, "memory.reclaim", text);
}

int reclaim_by_cgroup(struct reclaim_job *job)
{
	/* Nothing to reclaim, so nothing happens: but only if the syntax is known. */
	int rc = write_once_at(job->dirfd, "memory.reclaim",
			       job->options->swap ? "0" : "0 swappiness=0");

	if (rc == -ENODEV)
		return -ENOENT;
	return rc < 0 ? -EOPNOTSUPP : run_batches(job, ask_reclaim);
}

/* ---- memory.high */

static int squeeze(struct reclaim_job *job, const struct level *now, uint64_t bytes)
{
	return memory_high_squeeze(job->dirfd, difference(now->current_bytes, bytes));
}

int reclaim_by_squeeze(struct reclaim_job *job)
{
	int rc;

	if (!job->options->swap)
		return -EOPNOTSUPP; /* it cannot be told to leave anonymous memory */
	rc = memory_high_recover(job->dirfd);
	if (rc < 0 || faccessat(job->dirfd, "memory.high", W_OK, 0) < 0)
		return -EOPNOTSUPP;
	return run_batches(job, squeeze);
}
