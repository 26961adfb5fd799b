/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Spares of an image: processes that are ready before a request comes, frozen, each in a
 * cgroup of its own below the image's. A forked one goes over into a process that is
 * born in the function's cgroup; one of a runtime with threads is moved there first.
 *
 * Invariant: a spare is in its image's list until its process is reaped (or is an
 * instance) and no worker has to do with it. One at a time is made, beside the requests.
 */
#ifndef HEARTH_IMAGES_SPARE_H
#define HEARTH_IMAGES_SPARE_H

#include "images/manager.h"

struct spare;

/* Begin to make one, if none is being made. 0 or -errno; image_on_spare() is told the end. */
int spare_make(struct image *image);

/* A ready one, for a worker to claim, which must end with spare_done(); NULL: none. */
struct spare *spare_take(struct image *image);

/*
 * On a worker: start what is asked for. 0: *out is the instance. -EAGAIN: nothing came
 * of it and nothing runs. Else the error is the instance's own, as from a fork.
 */
int spare_claim(struct spare *s, const struct hearth_zygote_request *request,
		struct hearth_zygote_instance *out, char *error);
void spare_done(struct spare *s);

/* Kill all that are ready or being made. */
void spare_drop(struct image *image);

unsigned int spare_ready(const struct image *image);
bool spare_being_made(const struct image *image);

/* If this child was one, it is told. False: it was not. */
bool spare_exited(struct manager *m, pid_t pid, int status);
/* Ask of each whether it has ended. */
void spare_reap_all(struct manager *m);

/* ---- told to the image (image_spares.c) */

/* err: why one that was begun did not come to be. */
void image_on_spare(struct image *image, int err, const char *error);
/* It was ready and has ended by itself. */
void image_on_spare_lost(struct image *image, int status);
/* One less in the list. */
void image_on_spare_gone(struct image *image);

#endif
