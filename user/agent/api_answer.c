/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a complete request to its response. Every failure leaves through
 * send_failure: one shape, one place.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api_answer.h"
#include "agent/api_route.h"
#include "agent/images_data.h"
#include "agent/snapshot_json.h"
#include "lib/text.h"
#include "lib/util.h"

#define NEAREST 3 /* names suggested */

static enum MHD_Result send_json(struct MHD_Connection *conn, unsigned int status, json_t *o,
				 const char *allow)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	struct MHD_Response *response;
	enum MHD_Result rc;
	size_t len;

	json_decref(o);
	if (!text)
		return MHD_NO; /* out of memory: closes the connection */
	len = strlen(text);
	text[len] = '\n'; /* in place of the terminator */
	response = MHD_create_response_from_buffer(len + 1, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", "application/json");
	if (allow)
		MHD_add_response_header(response, "Allow", allow);
	rc = MHD_queue_response(conn, status, response);
	MHD_destroy_response(response);
	return rc;
}

struct failure {
	unsigned int status;
	const char *code;
	const char *message;
	const char *hint;
	const char *allow;
	json_t *accepted; /* taken over */
	json_t *nearest;
};

static enum MHD_Result send_failure(struct MHD_Connection *conn, const struct failure *f)
{
	json_t *e = json_object();

	json_object_set_new(e, "code", json_string(f->code));
	json_object_set_new(e, "message", snapshot_text_json(f->message));
	if (f->hint && *f->hint)
		json_object_set_new(e, "hint", snapshot_text_json(f->hint));
	if (f->accepted)
		json_object_set_new(e, "accepted", f->accepted);
	if (f->nearest)
		json_object_set_new(e, "nearest", f->nearest);
	return send_json(conn, f->status, json_pack("{s:o}", "error", e), f->allow);
}

static json_t *words_json(const char *words)
{
	json_t *a = words ? json_array() : NULL;

	while (words) {
		const char *end = strchrnul(words, '|');

		json_array_append_new(a, json_stringn(words, (size_t)(end - words)));
		words = *end ? end + 1 : NULL;
	}
	return a;
}

static enum MHD_Result send_misroute(struct MHD_Connection *conn, const struct api_misroute *why)
{
	return send_failure(conn, &(struct failure){.status = why->status,
						    .code = why->code,
						    .message = why->message,
						    .hint = why->hint,
						    .allow = why->allow,
						    .accepted = words_json(why->accepted)});
}

enum MHD_Result api_answer_too_large(struct MHD_Connection *conn)
{
	return send_failure(conn, &(struct failure){.status = MHD_HTTP_CONTENT_TOO_LARGE,
						    .code = "too-large",
						    .message = "the body is larger than 64 KB"});
}

/* ---- names that were probably meant */

struct nearest {
	const char *wanted;
	size_t n;
	unsigned int distance[NEAREST];
	char name[NEAREST][API_NAME];
};

static void consider(const struct snapshot_function *f, void *arg)
{
	struct nearest *best = arg;
	bool part = strlen(best->wanted) >= 3 && strstr(f->name, best->wanted);
	unsigned int d = part ? 1 : text_distance(best->wanted, f->name);
	size_t at = best->n;

	if (d > text_tolerance(best->wanted))
		return;
	while (at > 0 && best->distance[at - 1] > d)
		at--;
	if (at == NEAREST)
		return;
	best->n = MIN(best->n + 1, (size_t)NEAREST);
	for (size_t i = best->n - 1; i > at; i--) {
		best->distance[i] = best->distance[i - 1];
		memcpy(best->name[i], best->name[i - 1], API_NAME);
	}
	best->distance[at] = d;
	snprintf(best->name[at], API_NAME, "%s", f->name);
}

static enum MHD_Result send_no_function(const struct api_site *site, struct MHD_Connection *conn,
					const char *name)
{
	struct nearest best = {.wanted = name};
	char message[API_NAME + 64], hint[3 * API_NAME + 32] = "'hearth ls' lists them";
	json_t *names = json_array();
	size_t len = 0;

	site->params.ops->functions(site->params.ctx, NULL, consider, &best);
	snprintf(message, sizeof(message), "no function is called '%s'", name);
	for (size_t i = 0; i < best.n; i++) {
		json_array_append_new(names, snapshot_text_json(best.name[i]));
		len += (size_t)snprintf(hint + len, sizeof(hint) - len, "%s%s",
					i ? ", " : "did you mean ", best.name[i]);
	}
	if (best.n)
		snprintf(hint + len, sizeof(hint) - len, "?");
	return send_failure(conn, &(struct failure){.status = MHD_HTTP_NOT_FOUND,
						    .code = "no-such-function",
						    .message = message,
						    .hint = hint,
						    .nearest = names});
}

/* ---- views */

static void add_function(const struct snapshot_function *f, void *arg)
{
	json_array_append_new(arg, snapshot_function_json(f, false));
}

static void add_instances(const struct snapshot_function *f, void *arg)
{
	for (size_t i = 0; i < f->n_instances; i++)
		json_array_append_new(arg, snapshot_instance_json(&f->instances[i]));
}

static void add_shadow(const struct snapshot_function *f, void *arg)
{
	if (f->n_shadows)
		json_array_append_new(arg, snapshot_shadow_json(f));
}

static void get_function(const struct snapshot_function *f, void *arg)
{
	*(json_t **)arg = snapshot_function_json(f, true);
}

static void get_status(const struct snapshot_status *s, void *arg)
{
	*(json_t **)arg = snapshot_status_json(s);
}

static void get_images(const struct snapshot_images *s, void *arg)
{
	*(json_t **)arg = snapshot_images_json(s);
}

static enum MHD_Result answer_images(const struct api_site *site, struct MHD_Connection *conn)
{
	json_t *o = NULL;

	site->params.ops->images(site->params.ctx, get_images, &o);
	return send_json(conn, MHD_HTTP_OK, o, NULL);
}

static enum MHD_Result answer_list(const struct api_site *site, struct MHD_Connection *conn,
				   const char *key, api_function_fn add)
{
	json_t *list = json_array();

	site->params.ops->functions(site->params.ctx, NULL, add, list);
	return send_json(conn, MHD_HTTP_OK, json_pack("{s:o}", key, list), NULL);
}

static enum MHD_Result answer_function(const struct api_site *site, struct MHD_Connection *conn,
				       const char *name)
{
	const char *allow = api_route_other_method(name);
	json_t *o = NULL;

	if (site->params.ops->functions(site->params.ctx, name, get_function, &o) == 0)
		return send_json(conn, MHD_HTTP_OK, o, NULL);
	if (!allow)
		return send_no_function(site, conn, name);
	return send_failure(conn, &(struct failure){.status = MHD_HTTP_METHOD_NOT_ALLOWED,
						    .code = "wrong-method",
						    .message = "this path does not know GET",
						    .allow = allow,
						    .accepted = words_json(allow)});
}

static json_t *ring_json(const struct ring *r)
{
	uint64_t last = ring_last(r), oldest = ring_oldest(r);

	return json_pack("{s:I, s:I, s:I, s:I}", "size", (json_int_t)ring_size(r), "used",
			 (json_int_t)(last ? last - oldest + 1 : 0), "last_seq", (json_int_t)last,
			 "overwritten", (json_int_t)(last ? oldest - 1 : 0));
}

static enum MHD_Result answer_status(const struct api_site *site, struct MHD_Connection *conn)
{
	const union MHD_DaemonInfo *info =
	    MHD_get_daemon_info(site->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	json_t *o = NULL;

	site->params.ops->status(site->params.ctx, get_status, &o);
	json_object_set_new(o, "journal", ring_json(site->events.ring));
	json_object_set_new(o, "spans", ring_json(site->spans.ring));
	json_object_set_new(o, "api",
			    json_pack("{s:I, s:I, s:I}", "connections",
				      (json_int_t)(info ? info->num_connections : 0), "streams",
				      (json_int_t)site->streams.count, "slow_readers",
				      (json_int_t)site->streams.slow_readers));
	return send_json(conn, MHD_HTTP_OK, o, NULL);
}

static json_t *event_json(const void *entry)
{
	return snapshot_entry_json(entry);
}

static json_t *span_json(const void *entry)
{
	return snapshot_span_json(entry);
}

void api_answer_sources(struct api_site *site)
{
	site->events =
	    (struct stream_source){journal_ring(site->params.journal), journal_about, event_json};
	site->spans =
	    (struct stream_source){spans_ring(site->params.spans), spans_about, span_json};
}

static enum MHD_Result answer_stream(struct api_site *site, const struct stream_source *source,
				     struct MHD_Connection *conn, const struct api_route *route)
{
	struct MHD_Response *response = stream_open(&site->streams, source, conn, route);
	enum MHD_Result rc;

	if (!response)
		return send_failure(
		    conn, &(struct failure){.status = MHD_HTTP_SERVICE_UNAVAILABLE,
					    .code = "busy",
					    .message = "too many streams are open",
					    .hint = "close one, or read without follow=1"});
	MHD_add_response_header(response, "Content-Type", "application/jsonl");
	rc = MHD_queue_response(conn, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return rc;
}

/* ---- changes */

static const enum journal_action actions[] = {
    [API_FREEZE] = JOURNAL_FREEZE,   [API_THAW] = JOURNAL_THAW,     [API_PIN] = JOURNAL_PIN,
    [API_RECLAIM] = JOURNAL_RECLAIM, [API_EVICT] = JOURNAL_EVICT,   [API_PREWARM] = JOURNAL_PREWARM,
    [API_UNPIN] = JOURNAL_UNPIN,     [API_POLICY] = JOURNAL_POLICY,
};

static void audit(const struct api_site *site, const struct api_route *route,
		  const struct api_peer *peer, const char *reason, int rc)
{
	journal_append(site->params.journal,
		       &(struct journal_note){.action = actions[route->change],
					      .actor = JOURNAL_BY_API,
					      .function = route->name,
					      .reason = reason,
					      .error = -rc,
					      .uid = peer->uid,
					      .pid = peer->pid});
}

static json_t *policies_json(void)
{
	json_t *a = json_array();
	size_t n;
	const struct hearth_policy_info *list = hearth_policy_list(&n);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_string(list[i].usage));
	return a;
}

static enum MHD_Result send_refusal(const struct api_site *site, struct MHD_Connection *conn,
				    const char *name, int rc, const struct api_answer *answer)
{
	struct failure f = {.status = MHD_HTTP_INTERNAL_SERVER_ERROR,
			    .code = "internal",
			    .message = answer->message[0] ? answer->message : strerror(-rc),
			    .hint = answer->hint};

	if (rc == -ENOENT)
		return send_no_function(site, conn, name);
	if (rc == -EINVAL) {
		f.status = MHD_HTTP_BAD_REQUEST;
		f.code = "bad-policy";
		f.accepted = policies_json();
	} else if (rc == -EBUSY) {
		f.status = MHD_HTTP_CONFLICT;
		f.code = "not-now";
	}
	return send_failure(conn, &f);
}

static enum MHD_Result send_denied(struct MHD_Connection *conn, const struct api_peer *peer)
{
	char message[96];

	snprintf(message, sizeof(message), "uid %u may look, but not change anything", peer->uid);
	return send_failure(
	    conn, &(struct failure){.status = MHD_HTTP_FORBIDDEN,
				    .code = "not-allowed",
				    .message = message,
				    .hint = "become root or a member of the socket's group"});
}

static enum MHD_Result answer_change(const struct api_site *site, struct MHD_Connection *conn,
				     const struct api_route *route, const struct api_request *req)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct api_answer answer = {0};
	struct api_misroute why;
	struct api_peer peer;
	char spec[API_SPEC];
	int rc;

	if (!info || api_socket_peer(info->connect_fd, &peer) < 0)
		return MHD_NO;
	if (!api_socket_may_change(&site->socket, info->connect_fd, &peer)) {
		audit(site, route, &peer, "refused: not of the socket's group", -EACCES);
		return send_denied(conn, &peer);
	}
	if (api_body_parse(route->change, req->body, req->body_len, spec, &why) < 0)
		return send_misroute(conn, &why);
	rc = site->params.ops->change(site->params.ctx, route->change, route->name,
				      spec[0] ? spec : NULL, &peer, &answer);
	audit(site, route, &peer, answer.message, rc);
	if (rc < 0)
		return send_refusal(site, conn, route->name, rc, &answer);
	return send_json(conn, MHD_HTTP_OK,
			 json_pack("{s:b, s:o, s:o}", "ok", 1, "function",
				   snapshot_text_json(route->name), "message",
				   snapshot_text_json(answer.message)),
			 NULL);
}

enum MHD_Result api_answer(struct api_site *site, struct MHD_Connection *conn,
			   const struct api_request *req)
{
	struct api_misroute why;
	struct api_route route;

	if (api_route_parse(req->method, req->uri, &route, &why) < 0)
		return send_misroute(conn, &why);
	switch (route.endpoint) {
	case API_STATUS:
		return answer_status(site, conn);
	case API_FUNCTIONS:
		return answer_list(site, conn, "functions", add_function);
	case API_INSTANCES:
		return answer_list(site, conn, "instances", add_instances);
	case API_SHADOW:
		return answer_list(site, conn, "functions", add_shadow);
	case API_IMAGES:
		return answer_images(site, conn);
	case API_FUNCTION:
		return answer_function(site, conn, route.name);
	case API_EVENT_LOG:
		return answer_stream(site, &site->events, conn, &route);
	case API_SPANS:
		return answer_stream(site, &site->spans, conn, &route);
	case API_CHANGE:
		return answer_change(site, conn, &route, req);
	}
	return MHD_NO;
}
