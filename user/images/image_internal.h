/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the life of an image (image.c), its build, its workers, its spares and keep-alive. */
#ifndef HEARTH_IMAGES_IMAGE_INTERNAL_H
#define HEARTH_IMAGES_IMAGE_INTERNAL_H

#include "images/image.h"

/* A worker waits until the image serves. Consumes conn and cgroup_fd. 0 or -errno. */
int image_jobs_wait_ready(struct image *image, int conn, int cgroup_fd);
/* A worker finds out what it and its spares keep. */
int image_jobs_measure(struct image *image);
/* A worker freezes it and takes its memory; image_jobs_cancel() and a thaw end that early. */
int image_jobs_page_out(struct image *image, int cgroup_fd);
void image_jobs_cancel(struct image *image);

/* What the workers have found, back on the loop. */
void image_on_ready(struct image *image, int err, const char *error);
void image_on_paged(struct image *image, bool frozen);
void image_on_measured(struct image *image);

/* Has it a process, or spares? */
bool image_lives(const struct image *image);
/* Look what is to be done now. */
void image_step(struct image *image);
/* The end, once neither a process nor a worker has to do with it. */
void image_try_finish(struct image *image);
void image_note_failure(struct image *image, const char *why);

/* Make and drop spares as the settings say; *next_ns is lowered to when that changes. */
void spares_keep(struct image *image, uint64_t now, uint64_t *next_ns);
/* Before a page-out: true if some must go first, which ends in image_step(). */
bool spares_leave(struct image *image);

int keep_init(struct image *image, const char *policy);
void keep_done(struct image *image);
void keep_arrival(struct image *image); /* another use; busy counts it already */
void keep_idle(struct image *image);    /* nothing runs any more: decide how long to keep it */
/* Forget the decision: it is not wanted before its next use. */
void keep_forget(struct image *image);
/* Evict those of least value until all together are within the budget. */
void keep_budget(struct manager *m);
/* Is it to be there at this time? *next_ns: when that changes, UINT64_MAX: never. */
bool keep_wanted(const struct image *image, uint64_t now, uint64_t *next_ns);

#endif
