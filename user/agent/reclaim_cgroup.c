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
#include <sys/xattr.h>

#include "agent/reclaim_internal.h"
#include "lib/util.h"

#define NOTE "trusted.hearth.memory.high" /* the value to put back */

struct level {
	uint64_t current_bytes;
	uint64_t swapped_bytes;
};

static int read_level(int dirfd, struct level *l)
{
	int rc = memory_current(dirfd, &l->current_bytes);

	return rc < 0 ? rc : memory_swapped(dirfd, &l->swapped_bytes);
}

/* One write that a signal may end early: -EINTR, and the next look at cancel decides. */
static int write_once(int dirfd, const char *file, const char *text)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
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
	return write_once(job->dirfd, "memory.reclaim", text);
}

int reclaim_by_cgroup(struct reclaim_job *job)
{
	/* Nothing to reclaim, so nothing happens: but only if the syntax is known. */
	int rc =
	    write_once(job->dirfd, "memory.reclaim", job->options->swap ? "0" : "0 swappiness=0");

	if (rc == -ENODEV)
		return -ENOENT;
	return rc < 0 ? -EOPNOTSUPP : run_batches(job, ask_reclaim);
}

/* ---- memory.high */

int reclaim_recover(int dirfd)
{
	char text[32];
	ssize_t n = fgetxattr(dirfd, NOTE, text, sizeof(text) - 1);
	int rc;

	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	text[n] = '\0';
	rc = write_file_at(dirfd, "memory.high", text);
	if (rc < 0)
		return rc;
	return fremovexattr(dirfd, NOTE) < 0 ? -errno : 1;
}

/* The value goes back before anything else happens, whatever became of the batch. */
static int squeeze(struct reclaim_job *job, const struct level *now, uint64_t bytes)
{
	char high[32], lower[32];
	ssize_t n = read_file_at(job->dirfd, "memory.high", high, sizeof(high));
	int rc, back;

	if (n < 0)
		return (int)n;
	if (fsetxattr(job->dirfd, NOTE, high, (size_t)n, XATTR_CREATE) < 0)
		return -errno;
	snprintf(lower, sizeof(lower), "%" PRIu64, difference(now->current_bytes, bytes));
	rc = write_once(job->dirfd, "memory.high", lower);
	back = reclaim_recover(job->dirfd);
	return back < 0 ? back : rc;
}

int reclaim_by_squeeze(struct reclaim_job *job)
{
	int rc;

	if (!job->options->swap)
		return -EOPNOTSUPP; /* it cannot be told to leave anonymous memory */
	rc = reclaim_recover(job->dirfd);
	if (rc < 0 || faccessat(job->dirfd, "memory.high", W_OK, 0) < 0)
		return -EOPNOTSUPP;
	return run_batches(job, squeeze);
}
