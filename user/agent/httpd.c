/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>

#include "agent/httpd.h"
#include "lib/util.h"

static void run(struct httpd *h);

static void on_timeout(uv_timer_t *timer)
{
	run(container_of(timer, struct httpd, timeout));
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(container_of(poll, struct httpd, poll));
}

/* What is left comes with the next turn of the loop. */
static void run(struct httpd *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	h->soon = false;
	MHD_run(h->daemon);
	if (h->soon)
		uv_timer_start(&h->timeout, on_timeout, 0, 0);
	else if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
		uv_timer_start(&h->timeout, on_timeout, ms, 0);
	else
		uv_timer_stop(&h->timeout);
}

void httpd_soon(struct httpd *h)
{
	h->soon = true;
	uv_timer_start(&h->timeout, on_timeout, 0, 0);
}

int httpd_open(struct httpd *h, uv_loop_t *loop, struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int rc = info ? uv_poll_init(loop, &h->poll, info->epoll_fd) : -EINVAL;

	h->daemon = daemon;
	if (rc < 0)
		return rc;
	uv_timer_init(loop, &h->timeout);
	h->open_handles = 2;
	return uv_poll_start(&h->poll, UV_READABLE, on_readable);
}

static void on_closed(struct httpd *h)
{
	if (--h->open_handles == 0)
		h->closed(h);
}

static void on_poll_closed(uv_handle_t *handle)
{
	on_closed(container_of((uv_poll_t *)handle, struct httpd, poll));
}

static void on_timeout_closed(uv_handle_t *handle)
{
	on_closed(container_of((uv_timer_t *)handle, struct httpd, timeout));
}

void httpd_close(struct httpd *h, void (*closed)(struct httpd *h))
{
	h->closed = closed;
	if (h->open_handles)
		uv_poll_stop(&h->poll);
	MHD_stop_daemon(h->daemon);
	if (!h->open_handles) {
		closed(h);
		return;
	}
	uv_close((uv_handle_t *)&h->poll, on_poll_closed);
	uv_close((uv_handle_t *)&h->timeout, on_timeout_closed);
}
