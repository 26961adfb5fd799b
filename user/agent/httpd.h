/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A libmicrohttpd daemon without threads (MHD_USE_EPOLL), run by a uv loop
 * whenever its epoll fd is readable or its time-out is due: one bounded round of
 * work a turn.
 */
#ifndef HEARTH_HTTPD_H
#define HEARTH_HTTPD_H

#include <microhttpd.h>
#include <stdbool.h>
#include <uv.h>

struct httpd {
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timeout;
	bool soon; /* httpd_soon was called since the last run */
	unsigned int open_handles;
	void (*closed)(struct httpd *h);
};

/* The daemon is taken over in any case: whatever this returns, httpd_close is next. */
int httpd_open(struct httpd *h, uv_loop_t *loop, struct MHD_Daemon *daemon);

/* Run again soon: neither the epoll fd nor the time-out tells of resumed connections. */
void httpd_soon(struct httpd *h);

/*
 * Stop the daemon and let go of the loop; closed is called when h may be freed,
 * at once if the loop never had it.
 */
void httpd_close(struct httpd *h, void (*closed)(struct httpd *h));

#endif
