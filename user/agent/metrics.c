/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/httpd.h"
#include "agent/metrics.h"
#include "agent/metrics_text.h"
#include "lib/clock.h"
#include "lib/util.h"

#define CONNECTIONS    16u
#define PER_PEER       8u /* of them, from one address */
#define IDLE_TIMEOUT_S 10u
#define FRESH_NS       NSEC_PER_SEC /* an answer this young is good for whoever asks next */

struct metrics {
	const struct api_ops *ops;
	void *ctx;
	struct httpd httpd;
	struct MHD_Response *page; /* as of page_ns; NULL: none yet */
	uint64_t page_ns;
	const char *ill; /* why not healthy, as of health_ns; NULL: healthy */
	uint64_t health_ns;
};

/* ---- answers */

static struct MHD_Response *text_response(const char *type, const char *text, size_t len,
					  enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, (void *)text, mode);

	if (r)
		MHD_add_response_header(r, "Content-Type", type);
	return r;
}

static enum MHD_Result send_text(struct MHD_Connection *conn, unsigned int status, const char *text)
{
	struct MHD_Response *r =
	    text_response("text/plain; charset=utf-8", text, strlen(text), MHD_RESPMEM_MUST_COPY);
	enum MHD_Result rc = r ? MHD_queue_response(conn, status, r) : MHD_NO;

	if (r && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET, HEAD");
	if (r)
		MHD_destroy_response(r);
	return rc;
}

static void add_function(const struct snapshot_function *f, void *arg)
{
	metrics_page_function(arg, f);
}

static void add_status(const struct snapshot_status *s, void *arg)
{
	metrics_page_status(arg, s);
}

static void add_images(const struct snapshot_images *s, void *arg)
{
	metrics_page_images(arg, s);
}

static void make_page(struct metrics *m, uint64_t now)
{
	struct metrics_page *p = metrics_page_new();
	size_t len;
	char *text;

	if (!p)
		return;
	m->ops->functions(m->ctx, NULL, add_function, p);
	m->ops->status(m->ctx, add_status, p);
	m->ops->images(m->ctx, add_images, p);
	text = metrics_page_end(p, &len);
	if (!text)
		return;
	if (m->page)
		MHD_destroy_response(m->page);
	m->page = text_response("text/plain; version=0.0.4; charset=utf-8", text, len,
				MHD_RESPMEM_MUST_FREE);
	if (!m->page)
		free(text);
	m->page_ns = now;
}

static enum MHD_Result send_page(struct metrics *m, struct MHD_Connection *conn)
{
	uint64_t now = now_ns();

	if (!m->page || now > m->page_ns + FRESH_NS)
		make_page(m, now);
	return m->page ? MHD_queue_response(conn, MHD_HTTP_OK, m->page) : MHD_NO;
}

static void judge(const struct snapshot_status *s, void *arg)
{
	const char **why = arg;

	if (!s->guard.alive)
		*why = "the guard is not watching: nothing is frozen\n";
	for (size_t i = 0; i < s->n_hooks; i++)
		if (!s->hooks[i].attached && !s->hooks[i].why_not)
			*why = "a kernel hook is not attached: invocations are missed\n";
}

static enum MHD_Result send_health(struct metrics *m, struct MHD_Connection *conn)
{
	uint64_t now = now_ns();

	if (!m->health_ns || now > m->health_ns + FRESH_NS) {
		m->ill = NULL;
		m->ops->status(m->ctx, judge, &m->ill);
		m->health_ns = now;
	}
	if (m->ill)
		return send_text(conn, MHD_HTTP_SERVICE_UNAVAILABLE, m->ill);
	return send_text(conn, MHD_HTTP_OK, "ok\n");
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *conn, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *len, void **slot)
{
	static int headers_seen;
	struct metrics *m = arg;

	(void)version;
	(void)data;
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return send_text(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (!*slot) {
		*slot = &headers_seen;
		return MHD_YES;
	}
	if (*len) { /* a body that nobody asked for */
		*len = 0;
		return MHD_YES;
	}
	if (!strcmp(url, "/metrics"))
		return send_page(m, conn);
	if (!strcmp(url, "/healthz"))
		return send_health(m, conn);
	return send_text(conn, MHD_HTTP_NOT_FOUND, "no such path; accepted: /metrics, /healthz\n");
}

/* ---- the socket */

static int listen_at(const struct config_endpoint *at)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(at->port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(at->port)};
	int one = 1, kind = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	_cleanup_close_ int fd = socket(at->v6 ? AF_INET6 : AF_INET, kind, 0);

	if (fd < 0)
		return -errno;
	memcpy(&v6.sin6_addr, at->addr, sizeof(v6.sin6_addr));
	memcpy(&v4.sin_addr, at->addr, sizeof(v4.sin_addr));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (at->v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, at->v6 ? (void *)&v6 : (void *)&v4, at->v6 ? sizeof(v6) : sizeof(v4)) < 0 ||
	    listen(fd, CONNECTIONS) < 0)
		return -errno;
	return steal_fd(&fd);
}

static void on_closed(struct httpd *h)
{
	struct metrics *m = container_of(h, struct metrics, httpd);

	if (m->page)
		MHD_destroy_response(m->page);
	free(m);
}

static int start(struct metrics *m, uv_loop_t *loop, int fd)
{
	struct MHD_Daemon *daemon = MHD_start_daemon(
	    MHD_USE_EPOLL, 0, NULL, NULL, handle, m, MHD_OPTION_LISTEN_SOCKET, fd,
	    MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT, PER_PEER,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_END);
	int rc;

	if (!daemon) {
		close(fd);
		free(m);
		return -EIO;
	}
	rc = httpd_open(&m->httpd, loop, daemon);
	if (rc < 0)
		httpd_close(&m->httpd, on_closed);
	return rc;
}

int metrics_open(uv_loop_t *loop, const struct config_endpoint *at, const struct api_ops *ops,
		 void *ctx, struct metrics **out, char *err, size_t err_size)
{
	struct metrics *m = calloc(1, sizeof(*m));
	char address[INET6_ADDRSTRLEN] = "?";
	int rc = m ? listen_at(at) : -ENOMEM;

	if (rc < 0) {
		free(m);
	} else {
		m->ops = ops;
		m->ctx = ctx;
		rc = start(m, loop, rc);
	}
	if (rc == 0) {
		*out = m;
		return 0;
	}
	inet_ntop(at->v6 ? AF_INET6 : AF_INET, at->addr, address, sizeof(address));
	snprintf(err, err_size, "[agent] metrics: cannot serve at %s port %u: %s", address,
		 at->port, strerror(-rc));
	return rc;
}

void metrics_close(struct metrics *m)
{
	if (m)
		httpd_close(&m->httpd, on_closed);
}
