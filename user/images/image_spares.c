/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many spares an image keeps, and when. A forked one shares the image's pages, which
 * could not be paged out then: before that they go, and are forked anew from what is
 * left. After one that failed the next waits, longer each time, or for the next use.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "images/image_internal.h"
#include "images/runtime.h"
#include "images/spare.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define BACKOFF_MIN_NS  NSEC_PER_SEC
#define BACKOFF_MAX_NS  (5 * NSEC_PER_MIN)
#define MEASURE_REST_NS NSEC_PER_SEC /* a look at each page, so not after every claim */

static bool forks(const struct image *image)
{
	return image->settings->runtime->forks;
}

/* Those of a runtime with threads are the image itself: the policy says how long. */
static bool is_hot(const struct image *image, uint64_t now, uint64_t *next_ns)
{
	uint64_t until = image->hot_ns + image->settings->spares_for_ns;

	if (!forks(image))
		return true;
	if (now < until)
		*next_ns = MIN(*next_ns, until);
	return now < until;
}

static void failed(struct image *image, const char *why)
{
	image->spares_backoff_ns =
	    MIN(MAX(2 * image->spares_backoff_ns, BACKOFF_MIN_NS), BACKOFF_MAX_NS);
	image->spares_after_ns = now_ns() + image->spares_backoff_ns;
	log_warn("image %s: spare: %s", image->settings->name, why);
}

static void make_another(struct image *image)
{
	int err;

	image_jobs_cancel(image);
	cgroup_freeze_write(image->cgroup_fd, false);
	image->state = IMAGE_RESIDENT;
	err = spare_make(image);
	if (err)
		failed(image, strerror(-err));
}

void spares_keep(struct image *image, uint64_t now, uint64_t *next_ns)
{
	if (!image->settings->spares)
		return;
	if (!is_hot(image, now, next_ns))
		spare_drop(image);
	else if (spare_being_made(image) || spare_ready(image) >= image->settings->spares)
		return;
	else if (now >= image->spares_after_ns)
		make_another(image);
	else
		*next_ns = MIN(*next_ns, image->spares_after_ns);
}

bool spares_leave(struct image *image)
{
	if (!forks(image) || !image->lent || !image->spares)
		return false;
	spare_drop(image);
	return true;
}

static void measure(struct image *image)
{
	uint64_t now = now_ns();

	if (image->job || now < image->measured_ns + MEASURE_REST_NS)
		return;
	image->measured_ns = now;
	image_jobs_measure(image);
}

void image_on_spare(struct image *image, int err, const char *error)
{
	if (err && !image->ending && err != -ECANCELED)
		failed(image, error);
	if (!err && !forks(image))
		image->lent = true; /* its memory is new */
	if (!forks(image) && image->state == IMAGE_BUILDING)
		image_on_ready(image, err, error);
	else
		image_step(image);
	if (image->state >= IMAGE_RESIDENT && !image->ending && !spare_being_made(image))
		measure(image);
}

void image_on_spare_lost(struct image *image, int status)
{
	char why[64];

	if (image->ending)
		return;
	snprintf(why, sizeof(why), "ended %s %d", WIFSIGNALED(status) ? "by signal" : "with status",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	failed(image, why);
	if (forks(image) || spare_ready(image) || spare_being_made(image))
		return;
	image_note_failure(image, why);
	image_kill(image);
}

void image_on_spare_gone(struct image *image)
{
	if (image->ending)
		image_try_finish(image);
	else if (image->state >= IMAGE_RESIDENT)
		image_step(image);
	if (image->spares_after_ns == UINT64_MAX && !image->spares &&
	    image->state >= IMAGE_RESIDENT)
		measure(image);
}
