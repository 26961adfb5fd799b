/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose work the workers do: of the many that wait for builds and starts, one owner
 * has a share at most, so that images of one that never get ready, or functions that
 * never start, keep nobody else waiting. Beyond it they take turns.
 */
#ifndef HEARTH_IMAGES_TURNS_H
#define HEARTH_IMAGES_TURNS_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#define TURNS_WORKERS "256" /* each waits for one build, fork or page-out */
#define TURNS_SHARE   64    /* of one owner */
#define TURNS_WAITING 1024  /* starts of one owner: each holds descriptors */

struct manager;

struct turn {
	uv_work_t work;
	struct manager *manager;
	uid_t uid;
	uv_work_cb on_worker;
	uv_after_work_cb on_done;
	struct turn *prev, *next;
};

/* As uv_queue_work(), with &t->work, once it is this owner's turn. */
int turns_take(struct manager *m, struct turn *t, uid_t uid, uv_work_cb on_worker,
	       uv_after_work_cb on_done);

/* Does so much of this owner's wait that no start is to be added? */
bool turns_full(const struct manager *m, uid_t uid);

#endif
