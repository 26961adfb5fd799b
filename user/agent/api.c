/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The server on the main loop (httpd.c). A request is collected (handle), then
 * understood (api_route.c) and answered (api_answer.c) in one go.
 */
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "agent/api_answer.h"
#include "agent/httpd.h"
#include "lib/util.h"

#define CONNECTIONS    64u
#define IDLE_TIMEOUT_S 30u            /* a connection that says nothing is closed */
#define DISCARD_BYTES  (1024u * 1024) /* read and dropped of a body too large, to answer it */
#define REAP_MS        2000           /* how often waiting streams are looked after */

struct api {
	struct api_site site;
	char *path;
	struct httpd httpd;
	uv_timer_t reap;
	unsigned int open_parts; /* what the loop still holds */
};

struct request {
	char *uri; /* as it came */
	char *body;
	size_t body_len;
	size_t received;
	bool started;
};

/* ---- requests */

/* The first call for a request: its URI, before the server decodes or cuts it. */
static void *begin_request(void *arg, const char *uri, struct MHD_Connection *conn)
{
	struct request *req = calloc(1, sizeof(*req));

	(void)arg;
	(void)conn;
	if (!req)
		return NULL;
	req->uri = strdup(uri);
	if (req->uri)
		return req;
	free(req);
	return NULL;
}

static void end_request(void *arg, struct MHD_Connection *conn, void **slot,
			enum MHD_RequestTerminationCode code)
{
	struct request *req = *slot;

	(void)arg;
	(void)conn;
	(void)code;
	if (!req)
		return;
	free(req->uri);
	free(req->body);
	free(req);
	*slot = NULL;
}

/* Leave every byte as it came: api_route.c decodes, and refuses what is wrong. */
static size_t keep_encoded(void *arg, struct MHD_Connection *conn, char *text)
{
	(void)arg;
	(void)conn;
	return strlen(text);
}

static enum MHD_Result collect(struct request *req, const char *data, size_t len)
{
	char *p;

	req->received += len;
	if (req->received > DISCARD_BYTES)
		return MHD_NO;
	if (req->received > API_BODY_BYTES)
		return MHD_YES;
	p = realloc(req->body, req->body_len + len);
	if (!p)
		return MHD_NO;
	memcpy(p + req->body_len, data, len);
	req->body = p;
	req->body_len += len;
	return MHD_YES;
}

static bool announces_too_much(struct MHD_Connection *conn)
{
	const char *text =
	    MHD_lookup_connection_value(conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return text && strtoull(text, NULL, 10) > DISCARD_BYTES;
}

static enum MHD_Result finish(struct api *api, struct MHD_Connection *conn, const char *method,
			      const struct request *req)
{
	const struct api_request asked = {method, req->uri, req->body, req->body_len};
	enum MHD_Result rc;

	if (req->received > API_BODY_BYTES)
		return api_answer_too_large(conn);
	rc = api_answer(&api->site, conn, &asked);
	if (api->site.streams.count && !uv_is_active((uv_handle_t *)&api->reap))
		uv_timer_again(&api->reap);
	return rc;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *conn, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *len, void **slot)
{
	struct request *req = *slot;
	enum MHD_Result rc;

	(void)url;
	(void)version;
	if (!req)
		return MHD_NO;
	if (!req->started) {
		req->started = true;
		return announces_too_much(conn) ? api_answer_too_large(conn) : MHD_YES;
	}
	if (*len == 0)
		return finish(arg, conn, method, req);
	rc = collect(req, data, *len);
	*len = 0;
	return rc;
}

/* ---- the loop */

static void on_reap(uv_timer_t *timer)
{
	struct api *api = timer->data;

	if (stream_reap(&api->site.streams))
		httpd_soon(&api->httpd);
	if (api->site.streams.count == 0)
		uv_timer_stop(timer);
}

static void on_growth(const struct ring *ring, void *arg)
{
	struct api *api = arg;

	if (stream_grew(&api->site.streams, ring))
		httpd_soon(&api->httpd);
}

static struct MHD_Daemon *start(struct api *api)
{
	return MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, api,
	    MHD_OPTION_LISTEN_SOCKET, api->site.socket.fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_URI_LOG_CALLBACK,
	    begin_request, NULL, MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, end_request, NULL, MHD_OPTION_END);
}

static int watch(struct api *api, uv_loop_t *loop)
{
	uv_timer_init(loop, &api->reap);
	api->reap.data = api;
	api->open_parts = 2;
	uv_timer_start(&api->reap, on_reap, REAP_MS, REAP_MS);
	return httpd_open(&api->httpd, loop, api->site.daemon);
}

static void api_free(struct api *api)
{
	free(api->path);
	free(api);
}

int api_open(uv_loop_t *loop, const struct api_params *params, struct api **out, char *err,
	     size_t err_size)
{
	struct api *api = calloc(1, sizeof(*api));
	int rc = -ENOMEM;

	if (api)
		api->path = strdup(params->socket);
	if (!api || !api->path) {
		snprintf(err, err_size, "%s: out of memory", params->socket);
		free(api);
		return rc;
	}
	api->site.params = *params;
	api_answer_sources(&api->site);
	rc = api_socket_open(api->path, params->group, &api->site.socket, err, err_size);
	if (rc < 0) {
		api_free(api);
		return rc;
	}
	api->site.daemon = start(api);
	rc = api->site.daemon ? watch(api, loop) : -EIO;
	if (rc < 0) {
		snprintf(err, err_size, "%s: cannot serve: %s", api->path, strerror(-rc));
		if (!api->site.daemon)
			close(api->site.socket.fd);
		api_close(api);
		return rc;
	}
	ring_subscribe(journal_ring(params->journal), on_growth, api);
	ring_subscribe(spans_ring(params->spans), on_growth, api);
	*out = api;
	return 0;
}

static void part_closed(struct api *api)
{
	if (--api->open_parts == 0)
		api_free(api);
}

static void on_reap_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void on_httpd_closed(struct httpd *h)
{
	part_closed(container_of(h, struct api, httpd));
}

void api_close(struct api *api)
{
	if (!api)
		return;
	ring_subscribe(journal_ring(api->site.params.journal), NULL, NULL);
	ring_subscribe(spans_ring(api->site.params.spans), NULL, NULL);
	api_socket_unlink(&api->site.socket, api->path);
	if (!api->open_parts) { /* the daemon could not be started */
		api_free(api);
		return;
	}
	stream_end_all(&api->site.streams);
	uv_close((uv_handle_t *)&api->reap, on_reap_closed);
	httpd_close(&api->httpd, on_httpd_closed);
}
