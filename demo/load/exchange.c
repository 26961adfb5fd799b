/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One request and its answer on a connection of a target's pool. A request is
 * never repeated; a connection that the server is about to give up (its
 * Keep-Alive timeout, less a second) is not used again, as HTTP clients do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "load.h"

enum { BUFFER = 65536, TIMEOUT_MS = 30000 };
static const uint64_t default_idle_ns = 55000000000ULL;

struct conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	uv_timer_t timer;
	uv_connect_t connecting;
	uv_write_t write;
	struct target *target;
	struct conn *next_idle;
	enum found found;
	bool active; /* a request is in flight on it */
	int closing; /* handles still to be closed */
	uint64_t start_ns, usable_until_ns, idle_ns;
	size_t len;
	char buf[BUFFER];
};

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	if (--c->closing == 0)
		free(c);
}

static void drop(struct conn *c)
{
	if (uv_is_closing(&c->u.handle))
		return;
	c->closing = 2;
	uv_close(&c->u.handle, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void fail(struct conn *c, const char *what, const char *detail)
{
	struct target *t = c->target;

	if (c->active) {
		if (t->failed++ == 0)
			snprintf(t->error, sizeof(t->error), "%s: %s", what, detail);
		t->inflight--;
		c->active = false;
	}
	drop(c);
}

static bool unlink_idle(struct conn *c)
{
	for (struct conn **p = &c->target->idle; *p; p = &(*p)->next_idle)
		if (*p == c) {
			*p = c->next_idle;
			return true;
		}
	return false;
}

static const char *find_header(const char *head, const char *name)
{
	const char *p = strcasestr(head, name);

	return p ? p + strlen(name) : NULL;
}

/* Length of the complete answer in the buffer; 0: not complete; -1: ends with the connection. */
static ssize_t answer_length(struct conn *c)
{
	char *end = memmem(c->buf, c->len, "\r\n\r\n", 4);
	const char *value;
	ssize_t total = -1;

	if (!end)
		return 0;
	*end = '\0';
	value = find_header(c->buf, "\r\nkeep-alive: timeout=");
	c->idle_ns = value ? (uint64_t)(atoi(value) > 1 ? atoi(value) - 1 : 0) * 1000000000ULL
			   : default_idle_ns;
	value = find_header(c->buf, "\r\ncontent-length: ");
	if (value) {
		total = end + 4 - c->buf + atol(value);
		total = (size_t)total <= c->len ? total : 0;
	} else if (find_header(c->buf, "\r\ntransfer-encoding: chunked")) {
		/* answers of the demo are small: the last chunk ends the buffer */
		total = memcmp(c->buf + c->len - 5, "0\r\n\r\n", 5) == 0 ? (ssize_t)c->len : 0;
	}
	*end = '\r';
	return total;
}

static void complete(struct conn *c)
{
	struct target *t = c->target;
	uint64_t now = uv_hrtime();

	if (strncmp(c->buf + 8, " 200 ", 5) != 0) {
		fail(c, "status", c->buf + 9);
		return;
	}
	report_add(&t->latency[c->found], now - c->start_ns);
	t->ok++;
	t->inflight--;
	c->active = false;
	uv_timer_stop(&c->timer);
	if (!t->keep_alive) {
		drop(c);
		return;
	}
	c->usable_until_ns = now + c->idle_ns;
	c->next_idle = t->idle;
	t->idle = c;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = h->data;

	(void)suggested;
	/* one byte stays free for the NUL that ends a message */
	*buf = uv_buf_init(c->buf + c->len, (unsigned int)(BUFFER - 1 - c->len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = s->data;
	ssize_t total;

	(void)buf;
	if (n < 0 && !c->active) {
		unlink_idle(c);
		drop(c);
		return;
	}
	if (n > 0)
		c->len += (size_t)n;
	c->buf[c->len] = '\0';
	total = c->active ? answer_length(c) : 0;
	if (total > 0 || (total < 0 && n == UV_EOF))
		complete(c);
	else if (n < 0)
		fail(c, "read", uv_strerror((int)n));
}

static void on_written(uv_write_t *w, int status)
{
	struct conn *c = w->handle->data;

	if (status < 0 && status != UV_ECANCELED)
		fail(c, "write", uv_strerror(status));
}

static void on_timeout(uv_timer_t *timer)
{
	fail(timer->data, "timeout", "no answer within 30 s");
}

static void transmit(struct conn *c)
{
	uv_buf_t buf = uv_buf_init(c->target->request, (unsigned int)c->target->request_len);
	int rc;

	c->len = 0;
	rc = uv_write(&c->write, &c->u.stream, &buf, 1, on_written);
	if (rc < 0)
		fail(c, "write", uv_strerror(rc));
}

static void on_connected(uv_connect_t *req, int status)
{
	struct conn *c = req->handle->data;

	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		fail(c, "connect", uv_strerror(status));
		return;
	}
	if (!c->target->path[0])
		uv_tcp_nodelay(&c->u.tcp, 1);
	uv_read_start(&c->u.stream, on_alloc, on_read);
	transmit(c);
}

static struct conn *open_conn(uv_loop_t *loop, struct target *t)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->target = t;
	uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	if (t->path[0])
		uv_pipe_init(loop, &c->u.pipe, 0);
	else
		uv_tcp_init(loop, &c->u.tcp);
	c->u.handle.data = c;
	return c;
}

static void connect_to(struct conn *c)
{
	const struct target *t = c->target;
	int rc = 0;

	if (t->path[0])
		uv_pipe_connect(&c->connecting, &c->u.pipe, t->path, on_connected);
	else
		rc = uv_tcp_connect(&c->connecting, &c->u.tcp, (const struct sockaddr *)&t->addr,
				    on_connected);
	if (rc < 0)
		fail(c, "connect", uv_strerror(rc));
}

static enum found look(const struct target *t)
{
	char text[128];
	ssize_t n = pread(t->events_fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return FOUND_BUSY;
	text[n] = '\0';
	if (strstr(text, "frozen 1"))
		return FOUND_FROZEN;
	return t->inflight ? FOUND_BUSY : FOUND_WARM;
}

void exchange_send(uv_loop_t *loop, struct target *t)
{
	enum found found = look(t);
	uint64_t now = uv_hrtime();
	struct conn *c = t->idle;
	bool reuse = c && c->usable_until_ns > now;

	if (!reuse) {
		exchange_close_idle(t);
		c = open_conn(loop, t);
	} else {
		t->idle = c->next_idle;
	}
	c->found = found;
	c->active = true;
	c->start_ns = now;
	t->sent++;
	t->inflight++;
	uv_timer_start(&c->timer, on_timeout, TIMEOUT_MS, 0);
	if (reuse)
		transmit(c);
	else
		connect_to(c);
}

void exchange_close_idle(struct target *t)
{
	while (t->idle) {
		struct conn *c = t->idle;

		t->idle = c->next_idle;
		drop(c);
	}
}
