/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What an image is waited for or asked, on a worker: one job at a time each. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/reclaim.h"
#include "images/image_internal.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/util.h"

#define FREEZE_WAIT_MS 2000 /* in a system call that does not end, it is thawed again */

struct image_job {
	struct turn turn;
	struct image *image;
	enum { JOB_READY, JOB_PAGE_OUT, JOB_MEASURE } kind;
	int conn; /* of a build */
	int cgroup_fd;
	uint64_t patience_ns;
	_Atomic bool cancel;
	int err;
	bool frozen;
	char error[HEARTH_ZYGOTE_ERROR];
	struct memory_use memory;
};

static void wait_ready(struct image_job *job)
{
	struct hearth_zygote_info info;

	job->err = hearth_zygote_ready(job->conn, (int)(job->patience_ns / NSEC_PER_MSEC), &info,
				       job->error);
	if (!job->err)
		memory_read(job->cgroup_fd, &job->memory);
}

static bool wait_frozen(const struct image_job *job)
{
	for (int ms = 0; ms < FREEZE_WAIT_MS && !job->cancel; ms++) {
		if (cgroup_read_frozen(job->cgroup_fd) == 1)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = NSEC_PER_MSEC}, NULL);
	}
	return false;
}

static void page_out(struct image_job *job)
{
	struct reclaim_options options = {
	    .want_bytes = RECLAIM_ALL, .swap = true, .cancel = &job->cancel};
	struct reclaim_result result;
	uint64_t cgid;

	job->frozen = wait_frozen(job);
	if (job->frozen && cgroup_id_of_fd(job->cgroup_fd, &cgid) == 0)
		reclaim_run(job->cgroup_fd, cgid, &options, &result);
	job->err = memory_read(job->cgroup_fd, &job->memory);
}

static void on_worker(uv_work_t *work)
{
	struct image_job *job = container_of(work, struct image_job, turn.work);

	if (job->kind == JOB_READY)
		wait_ready(job);
	else if (job->kind == JOB_PAGE_OUT)
		page_out(job);
	else
		job->err = memory_read(job->cgroup_fd, &job->memory);
}

static void on_done(uv_work_t *work, int status)
{
	struct image_job *job = container_of(work, struct image_job, turn.work);
	struct image *image = job->image;

	(void)status;
	image->job = NULL;
	if (!job->err && job->memory.current_bytes + job->memory.swap_bytes) {
		image->resident_bytes = job->memory.current_bytes;
		image->swap_bytes = job->memory.swap_bytes;
	}
	if (job->kind == JOB_READY)
		image_on_ready(image, job->err, job->error);
	else if (job->kind == JOB_PAGE_OUT)
		image_on_paged(image, job->frozen && !job->cancel);
	else
		image_on_measured(image);
	close(job->cgroup_fd);
	free(job);
}

static int begin(struct image *image, int kind, int conn, int cgroup_fd)
{
	struct image_job *job = calloc(1, sizeof(*job));
	int err = job ? 0 : -ENOMEM;

	if (!err) {
		job->image = image;
		job->kind = kind;
		job->conn = conn;
		job->cgroup_fd = cgroup_fd;
		job->patience_ns = image->settings->build_timeout_ns;
		err = turns_take(image->manager, &job->turn, image->settings->uid, on_worker,
				 on_done);
	}
	if (!err) {
		image->job = job;
		return 0;
	}
	free(job);
	close(cgroup_fd);
	if (conn >= 0)
		close(conn);
	return err;
}

int image_jobs_wait_ready(struct image *image, int conn, int cgroup_fd)
{
	return begin(image, JOB_READY, conn, cgroup_fd);
}

int image_jobs_page_out(struct image *image, int cgroup_fd)
{
	return begin(image, JOB_PAGE_OUT, -1, cgroup_fd);
}

int image_jobs_measure(struct image *image)
{
	int fd = fcntl(image->cgroup_fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : begin(image, JOB_MEASURE, -1, fd);
}

void image_jobs_cancel(struct image *image)
{
	if (image->job)
		image->job->cancel = true;
}
