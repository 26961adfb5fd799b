/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <utlist.h>

#include "images/manager.h"
#include "images/turns.h"
#include "lib/util.h"

static unsigned int count_of(const struct turn *list, uid_t uid)
{
	const struct turn *t;
	unsigned int n = 0;

	DL_FOREACH (list, t) {
		n += t->uid == uid;
	}
	return n;
}

static void on_done(uv_work_t *work, int status);

static int begin(struct turn *t)
{
	int err = uv_queue_work(&t->manager->loop, &t->work, t->on_worker, on_done);

	if (!err)
		DL_APPEND(t->manager->turns_running, t);
	return err;
}

/* What it was part of may be gone after its own callback. */
static void on_done(uv_work_t *work, int status)
{
	struct turn *t = container_of(work, struct turn, work), *next;
	struct manager *m = t->manager;

	DL_DELETE(m->turns_running, t);
	DL_SEARCH_SCALAR(m->turns_waiting, next, uid, t->uid);
	if (next) {
		DL_DELETE(m->turns_waiting, next);
		begin(next);
	}
	t->on_done(work, status);
}

int turns_take(struct manager *m, struct turn *t, uid_t uid, uv_work_cb on_worker,
	       uv_after_work_cb after)
{
	t->manager = m;
	t->uid = uid;
	t->on_worker = on_worker;
	t->on_done = after;
	if (count_of(m->turns_running, uid) < TURNS_SHARE)
		return begin(t);
	DL_APPEND(m->turns_waiting, t);
	return 0;
}

bool turns_full(const struct manager *m, uid_t uid)
{
	return count_of(m->turns_waiting, uid) >= TURNS_WAITING;
}
