/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "images/closing.h"
#include "images/manager.h"
#include "lib/util.h"

struct closing {
	struct turn turn;
	size_t n;
	int fds[];
};

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void on_worker(uv_work_t *work)
{
	struct closing *c = container_of(work, struct closing, turn.work);

	close_all(c->fds, c->n);
}

static void on_done(uv_work_t *work, int status)
{
	(void)status;
	free(container_of(work, struct closing, turn.work));
}

void closing_fds(struct manager *m, uid_t uid, int *fds, size_t n)
{
	struct closing *c;
	size_t open = 0;

	for (size_t i = 0; i < n; i++)
		open += fds[i] >= 0;
	c = open ? malloc(sizeof(*c) + open * sizeof(*fds)) : NULL;
	if (!c)
		return; /* without memory they leak: that is better than to wait here */
	c->n = 0;
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			c->fds[c->n++] = steal_fd(&fds[i]);
	if (uid && turns_take(m, &c->turn, uid, on_worker, on_done) == 0)
		return;
	close_all(c->fds, c->n);
	free(c);
}
