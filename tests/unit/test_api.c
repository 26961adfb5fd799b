/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The API over a real socket: the server runs in a thread with a loop of its
 * own and made-up operations, the tests are its clients through libcurl, or
 * through a plain socket where bytes and timing matter.
 */
#include <curl/curl.h>
#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/api.h"
#include "agent/api_stream.h"
#include "lib/clock.h"
#include "lib/util.h"

#define JOURNAL  64
#define DEADLINE (20 * NSEC_PER_SEC)
#define ODD      "we ird%?#\xc3\xa9"
#define ODD_URI  "we%20ird%25%3f%23%C3%A9"

/* ---- the made-up agent */

struct agent {
	enum api_change change;
	char name[128];
	char spec[512];
	bool has_spec;
	struct api_peer peer;
	unsigned int changes;
};

static const char *const names[] = {"broken", "busy", "ns/pod/img", "resize-a", "resize-b", ODD};

static void visit_one(const char *name, api_function_fn visit, void *arg)
{
	static const struct hearth_window windows[] = {{0.5, 2.25}, {10, INFINITY}};
	static const uint32_t bins[] = {3, 0, 4, 0, 0};
	const struct snapshot_instance instances[] = {
	    {.cgroup = "demo/a/0", .function = name, .tier = "warm", .id = 7, .idle_s = NAN},
	    {.cgroup = "demo/a/\xff", .function = name, .tier = "frozen", .id = 8, .hold = "io"},
	};
	const struct snapshot_shadow shadows[] = {
	    {.policy = "fixed:2s", .acting = true, .cold_starts = 3, .waste_s = 8, .cost_s = 38},
	    {.policy = "always",
	     .cold_starts = 1,
	     .lukewarm_starts = 5,
	     .warm_starts = 2,
	     .waste_s = 90,
	     .waste_gb_s = 45,
	     .cost_s = 100,
	     .cost_gb_s = NAN},
	};
	struct measures measures = {};
	const struct snapshot_function f = {.name = name,
					    .measures = &measures,
					    .policy = "fixed:2s",
					    .policy_from = "config",
					    .mode = "manage",
					    .invocations = 12,
					    .idle_s = NAN,
					    .it_p50_s = 1.5,
					    .it_count = 7,
					    .n_windows = 2,
					    .windows = windows,
					    .next = {"freeze", 0.25, "window closes"},
					    .hist = {bins, 5, 7, 25, 1, 60},
					    .memory_bytes = 1e9,
					    .shadows = shadows,
					    .n_shadows = strcmp(name, "broken") ? 2 : 0,
					    .cold_cost_s = 10,
					    .instances = instances,
					    .n_instances = 2};

	measure_add(&measures, MEASURE_THAW_S, 0.25);
	visit(&f, arg);
}

static int fake_functions(void *ctx, const char *name, api_function_fn visit, void *arg)
{
	bool found = !name;

	(void)ctx;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!name || strcmp(names[i], name) == 0) {
			visit_one(names[i], visit, arg);
			found = true;
		}
	return found ? 0 : -ENOENT;
}

static void fake_status(void *ctx, api_status_fn visit, void *arg)
{
	const struct snapshot_hook hooks[] = {{"ingress", true, NULL, 5, 600},
					      {"unix", false, "not asked for", 0, 0}};
	const struct snapshot_status s = {.version = "1",
					  .mode = "manage",
					  .wake = {.p50_us = NAN},
					  .hooks = hooks,
					  .n_hooks = 2};

	(void)ctx;
	visit(&s, arg);
}

static void ignore(const struct snapshot_function *f, void *arg)
{
	(void)f;
	(void)arg;
}

static int fake_change(void *ctx, enum api_change change, const char *name, const char *spec,
		       const struct api_peer *peer, struct api_answer *answer)
{
	struct agent *a = ctx;

	if (fake_functions(ctx, name, ignore, NULL) < 0)
		return -ENOENT;
	snprintf(answer->message, sizeof(answer->message), "about %s", name);
	if (spec && strcmp(spec, "bogus") == 0)
		return -EINVAL;
	if (strcmp(name, "busy") == 0) {
		snprintf(answer->hint, sizeof(answer->hint), "wait");
		return -EBUSY;
	}
	if (strcmp(name, "broken") == 0)
		return -EIO;
	a->change = change;
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->has_spec = spec;
	snprintf(a->spec, sizeof(a->spec), "%s", spec ? spec : "");
	a->peer = *peer;
	a->changes++;
	return 0;
}

static void fake_images(void *ctx, api_images_fn visit, void *arg)
{
	const struct snapshot_image images[] = {{.name = "sci\xff",
						 .state = "frozen",
						 .policy = "",
						 .cgroup = "",
						 .error = "",
						 .owner = 7,
						 .users = NAN,
						 .fork_s = 0.25,
						 .bytes_saved = 3e9}};
	const struct snapshot_images s = {
	    .socket = "/images.sock", .as_of_s = 5, .images = images, .n_images = 1};

	(void)ctx;
	visit(&s, arg);
}

static const struct api_ops ops = {fake_functions, fake_status, fake_images, fake_change};

/* ---- the server thread */

static struct server {
	char folder[64];
	char path[96];
	const char *group;
	pthread_t thread;
	uv_loop_t loop;
	uv_async_t async;
	sem_t done;
	void (*task)(void *arg);
	void *arg;
	struct api *api;
	struct journal *journal;
	struct spans *spans;
	struct agent agent;
	char err[256];
	int rc;
} server;

static const struct journal_entry *journal_at(uint64_t seq)
{
	return ring_get(journal_ring(server.journal), seq);
}

static void run_task(uv_async_t *async)
{
	(void)async;
	if (!server.task)
		return;
	server.task(server.arg);
	server.task = NULL;
	sem_post(&server.done);
}

/* Run fn in the server's thread and wait for it. */
static void on_server(void (*fn)(void *), void *arg)
{
	server.task = fn;
	server.arg = arg;
	uv_async_send(&server.async);
	while (sem_wait(&server.done) < 0)
		;
}

static void open_api(void *arg)
{
	const struct api_params params = {server.path,   server.group,   &ops,
					  &server.agent, server.journal, server.spans};

	(void)arg;
	server.rc = api_open(&server.loop, &params, &server.api, server.err, sizeof(server.err));
}

static void close_api(void *arg)
{
	(void)arg;
	api_close(server.api);
	server.api = NULL;
}

static void close_loop(void *arg)
{
	close_api(arg);
	uv_close((uv_handle_t *)&server.async, NULL);
}

static void *serve(void *arg)
{
	(void)arg;
	uv_run(&server.loop, UV_RUN_DEFAULT);
	return NULL;
}

static void start_server(const char *group)
{
	memset(&server, 0, sizeof(server));
	server.group = group;
	strcpy(server.folder, "/tmp/hearth-api.XXXXXX");
	assert_non_null(mkdtemp(server.folder));
	assert_int_equal(chmod(server.folder, 0755), 0);
	snprintf(server.path, sizeof(server.path), "%s/sock", server.folder);
	server.journal = journal_new(JOURNAL);
	server.spans = spans_new(JOURNAL, 0);
	sem_init(&server.done, 0, 0);
	assert_int_equal(uv_loop_init(&server.loop), 0);
	uv_async_init(&server.loop, &server.async, run_task);
	pthread_create(&server.thread, NULL, serve, NULL);
	on_server(open_api, NULL);
}

static int start(void **state)
{
	(void)state;
	start_server(NULL);
	assert_int_equal(server.rc, 0);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	on_server(close_loop, NULL);
	pthread_join(server.thread, NULL);
	assert_int_equal(uv_loop_close(&server.loop), 0);
	sem_destroy(&server.done);
	journal_free(server.journal);
	spans_free(server.spans);
	assert_int_equal(access(server.path, F_OK), -1);
	return rmdir(server.folder);
}

/* ---- a client with libcurl */

struct reply {
	long status;
	char *body;
	size_t len;
	char allow[64];
	json_t *json;
};

static size_t keep(char *data, size_t size, size_t n, void *arg)
{
	struct reply *r = arg;

	r->body = realloc(r->body, r->len + size * n + 1);
	memcpy(r->body + r->len, data, size * n);
	r->len += size * n;
	r->body[r->len] = '\0';
	return size * n;
}

static size_t keep_header(char *data, size_t size, size_t n, void *arg)
{
	struct reply *r = arg;

	if (strncasecmp(data, "allow: ", 7) == 0)
		snprintf(r->allow, sizeof(r->allow), "%.*s", (int)(size * n - 9), data + 7);
	return size * n;
}

static void *ask_data(const char *method, const char *path, const char *body, size_t len,
		      bool chunked)
{
	struct reply *r = calloc(1, sizeof(*r));
	struct curl_slist *headers =
	    chunked ? curl_slist_append(NULL, "Transfer-Encoding: chunked") : NULL;
	CURL *c = curl_easy_init();
	FILE *in = body ? fmemopen((void *)body, len ? len : 1, "r") : NULL;
	char url[8192];
	CURLcode rc;

	snprintf(url, sizeof(url), "http://hearth%s", path);
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, server.path);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, 30L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, keep_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	if (chunked) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READDATA, in);
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	} else if (body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)len);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	}
	rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &r->status);
	if (rc != CURLE_OK && r->status != 413)
		fail_msg("%s %s: %s", method, path, curl_easy_strerror(rc));
	curl_easy_cleanup(c);
	curl_slist_free_all(headers);
	if (in)
		fclose(in);
	r->json = r->body ? json_loadb(r->body, r->len, 0, NULL) : NULL;
	return r;
}

static struct reply *ask(const char *method, const char *path, const char *body)
{
	return ask_data(method, path, body, body ? strlen(body) : 0, false);
}

static void done(struct reply *r)
{
	json_decref(r->json);
	free(r->body);
	free(r);
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* The request fails with this status and code, in the one shape of errors. */
static struct reply *assert_error(struct reply *r, long status, const char *code)
{
	const json_t *e = json_object_get(r->json, "error");

	if (r->status != status || !e || !text(e, "code") || strcmp(text(e, "code"), code) != 0)
		fail_msg("expected %ld %s, got %ld %s", status, code, r->status, r->body);
	assert_true(strlen(text(e, "message")) > 0);
	return r;
}

/* ---- views */

static void functions_have_the_shape_that_scripts_depend_on(void **state)
{
	struct reply *r = ask("GET", "/v1/functions", NULL);
	static const char *const keys[] = {
	    "name",        "policy",          "mode",    "invocations", "busy_spans", "inflight",
	    "cold_starts", "lukewarm_starts", "freezes", "wakes",       "idle_s",     "it_p50_s",
	    "it_p99_s",    "it_count",        "windows", "next",        "instances"};
	static const char *const instance_keys[] = {"cgroup",   "id",           "tier",
						    "inflight", "last_begin_s", "last_end_s"};
	const json_t *list = json_object_get(r->json, "functions"), *f, *w;

	(void)state;
	assert_int_equal(r->status, 200);
	assert_int_equal(json_array_size(list), ARRAY_SIZE(names));
	f = json_array_get(list, 3);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(json_object_get(f, keys[i]));
	for (size_t i = 0; i < ARRAY_SIZE(instance_keys); i++)
		assert_non_null(json_object_get(json_array_get(json_object_get(f, "instances"), 0),
						instance_keys[i]));
	assert_string_equal(text(f, "name"), "resize-a");
	assert_true(json_is_null(json_object_get(f, "idle_s")));
	assert_true(json_is_real(json_object_get(f, "it_p50_s")));
	w = json_object_get(f, "windows");
	assert_true(json_real_value(json_array_get(json_array_get(w, 0), 1)) == 2.25);
	assert_true(json_is_null(json_array_get(json_array_get(w, 1), 1)));
	assert_string_equal(text(json_object_get(f, "next"), "reason"), "window closes");
	assert_null(json_object_get(f, "histogram"));
	done(r);
}

static void one_function_comes_with_its_histogram(void **state)
{
	struct reply *r = ask("GET", "/v1/functions/resize-a", NULL);
	const json_t *h = json_object_get(r->json, "histogram"), *m;

	(void)state;
	assert_int_equal(r->status, 200);
	assert_string_equal(text(r->json, "name"), "resize-a");
	assert_int_equal(json_array_size(json_object_get(h, "bins")), 3);
	assert_int_equal(json_integer_value(json_object_get(h, "nbins")), 5);
	assert_int_equal(json_integer_value(json_object_get(h, "s2")), 25);
	m = json_object_get(r->json, "measures");
	assert_int_equal(json_object_size(m), MEASURES);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(m, "thaw_s"), "count")),
			 1);
	assert_true(json_real_value(json_object_get(json_object_get(m, "thaw_s"), "p90")) == 0.25);
	assert_true(json_is_null(json_object_get(json_object_get(m, "cold_s"), "p50")));
	done(r);
}

static void names_may_hold_slashes_and_any_encoded_byte(void **state)
{
	static const char *const uris[] = {"/v1/functions/ns/pod/img",
					   "/v1/functions/ns%2Fpod%2fimg",
					   "/v1/functions/ns/pod/im%67"};
	struct reply *r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
		r = ask("GET", uris[i], NULL);
		assert_int_equal(r->status, 200);
		assert_string_equal(text(r->json, "name"), "ns/pod/img");
		done(r);
	}
	r = ask("GET", "/v1/functions/" ODD_URI, NULL);
	assert_int_equal(r->status, 200);
	assert_string_equal(text(r->json, "name"), ODD);
	done(r);
}

static void instances_are_those_of_all_functions(void **state)
{
	struct reply *r = ask("GET", "/v1/instances", NULL);
	const json_t *list = json_object_get(r->json, "instances");

	(void)state;
	assert_int_equal(json_array_size(list), 2 * ARRAY_SIZE(names));
	assert_string_equal(text(json_array_get(list, 1), "cgroup"), "demo/a/?");
	assert_string_equal(text(json_array_get(list, 1), "hold"), "io");
	assert_true(json_is_null(json_object_get(json_array_get(list, 0), "hold")));
	done(r);
}

static void images_are_shown_with_what_is_known(void **state)
{
	struct reply *r = ask("GET", "/v1/images", NULL);
	json_t *image = json_array_get(json_object_get(r->json, "images"), 0);

	(void)state;
	assert_int_equal(r->status, 200);
	assert_true(json_is_null(json_object_get(r->json, "why_not")));
	assert_string_equal(json_string_value(json_object_get(image, "name")), "sci?");
	assert_int_equal(json_integer_value(json_object_get(image, "owner")), 7);
	assert_true(json_is_null(json_object_get(image, "users")));
	assert_float_equal(json_real_value(json_object_get(image, "fork_s")), 0.25, 0);
	assert_true(json_integer_value(json_object_get(image, "bytes_saved")) == 3000000000);
	done(r);
	done(assert_error(ask("POST", "/v1/images", ""), 405, "wrong-method"));
}

static void shadows_are_those_of_functions_that_have_any(void **state)
{
	struct reply *r = ask("GET", "/v1/shadow", NULL);
	const json_t *list = json_object_get(r->json, "functions"), *rows, *row;

	(void)state;
	assert_int_equal(r->status, 200);
	assert_int_equal(json_array_size(list), ARRAY_SIZE(names) - 1);
	assert_string_equal(text(json_array_get(list, 0), "function"), "busy");
	rows = json_object_get(json_array_get(list, 0), "policies");
	assert_int_equal(json_array_size(rows), 2);
	assert_true(json_is_true(json_object_get(json_array_get(rows, 0), "acting")));
	row = json_array_get(rows, 1);
	assert_string_equal(text(row, "policy"), "always");
	assert_int_equal(json_integer_value(json_object_get(row, "warm_starts")), 2);
	assert_true(json_real_value(json_object_get(row, "cost_s")) == 100);
	assert_int_equal(json_integer_value(json_object_get(row, "lukewarm_starts")), 5);
	assert_true(json_real_value(json_object_get(row, "waste_gb_s")) == 45);
	assert_true(json_is_null(json_object_get(row, "cost_gb_s")));
	done(r);
	done(assert_error(ask("POST", "/v1/shadow", ""), 405, "wrong-method"));
	done(assert_error(ask("GET", "/v1/shadow?x=1", NULL), 400, "bad-request"));
}

static void one_function_comes_with_its_shadows(void **state)
{
	struct reply *r = ask("GET", "/v1/functions/busy", NULL);

	(void)state;
	assert_string_equal(text(json_object_get(r->json, "shadow"), "function"), "busy");
	done(r);
	r = ask("GET", "/v1/functions/broken", NULL);
	assert_true(json_is_null(json_object_get(r->json, "shadow")));
	done(r);
}

static void status_tells_of_hooks_journal_and_itself(void **state)
{
	struct reply *r = ask("GET", "/v1/status", NULL);
	const json_t *hooks = json_object_get(r->json, "hooks");

	(void)state;
	assert_int_equal(r->status, 200);
	assert_string_equal(text(r->json, "version"), "1");
	assert_string_equal(text(json_array_get(hooks, 1), "why_not"), "not asked for");
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(r->json, "journal"), "size")),
	    JOURNAL);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(r->json, "api"), "connections")), 1);
	done(r);
}

static void head_answers_without_a_body(void **state)
{
	struct reply *r = ask("HEAD", "/v1/functions", NULL);

	(void)state;
	assert_int_equal(r->status, 200);
	assert_int_equal(r->len, 0);
	done(r);
}

/* ---- errors */

static void an_unknown_function_is_answered_with_the_nearest(void **state)
{
	struct reply *r =
	    assert_error(ask("GET", "/v1/functions/resize-q", NULL), 404, "no-such-function");
	const json_t *e = json_object_get(r->json, "error"),
		     *nearest = json_object_get(e, "nearest");

	(void)state;
	assert_int_equal(json_array_size(nearest), 2);
	assert_string_equal(json_string_value(json_array_get(nearest, 0)), "resize-a");
	assert_non_null(strstr(text(e, "hint"), "did you mean resize-a, resize-b?"));
	done(r);
	r = assert_error(ask("POST", "/v1/functions/xyz/freeze", ""), 404, "no-such-function");
	nearest = json_object_get(json_object_get(r->json, "error"), "nearest");
	assert_int_equal(json_array_size(nearest), 0);
	done(r);
}

static void a_name_too_long_is_not_found(void **state)
{
	char path[600] = "/v1/functions/";

	(void)state;
	memset(path + strlen(path), 'a', 500);
	done(assert_error(ask("GET", path, NULL), 404, "no-such-function"));
}

static void unknown_paths_list_the_known_ones(void **state)
{
	static const char *const paths[] = {"/",
					    "/v1",
					    "/v2/status",
					    "/v1/status/",
					    "/v1/functions/",
					    "/v1/functionsx",
					    "/v1/function/a",
					    "//v1/status",
					    "/v1/%73tatus"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct reply *r = assert_error(ask("GET", paths[i], NULL), 404, "no-such-path");

		assert_true(json_array_size(json_object_get(json_object_get(r->json, "error"),
							    "accepted")) >= 10);
		done(r);
	}
}

static void wrong_methods_name_the_right_ones(void **state)
{
	static const struct {
		const char *method, *path, *allow;
	} table[] = {
	    {"POST", "/v1/status", "GET, HEAD"},
	    {"DELETE", "/v1/functions", "GET, HEAD"},
	    {"BREW", "/v1/events", "GET, HEAD"},
	    {"PUT", "/v1/functions/resize-a", "GET, HEAD"},
	    {"POST", "/v1/functions/resize-a/melt", "GET, HEAD"},
	    {"PUT", "/v1/functions/resize-a/freeze", "POST"},
	    {"POST", "/v1/functions/resize-a/policy", "PUT"},
	    {"GET", "/v1/functions/resize-a/freeze", "POST"},
	    {"GET", "/v1/functions/resize-a/policy", "PUT"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct reply *r =
		    assert_error(ask(table[i].method, table[i].path, NULL), 405, "wrong-method");

		assert_string_equal(r->allow, table[i].allow);
		done(r);
	}
}

static void bad_encodings_and_queries_are_refused(void **state)
{
	static const char *const paths[] = {
	    "/v1/functions/a%",         "/v1/functions/a%4",
	    "/v1/functions/a%zz",       "/v1/functions/a%00b",
	    "/v1/functions?x=1",        "/v1/functions/a?follow=1",
	    "/v1/events?follow=2",      "/v1/events?follow",
	    "/v1/events?since=-1",      "/v1/events?since=1x",
	    "/v1/events?since=",        "/v1/events?limit=99999999999999999999",
	    "/v1/events?function=",     "/v1/events?function=%",
	    "/v1/events?limit=1&nope=2"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		done(assert_error(ask("GET", paths[i], NULL), 400, "bad-request"));
}

static void bad_bodies_are_refused(void **state)
{
	static const char *const bodies[] = {"",
					     "x",
					     "{",
					     "[]",
					     "null",
					     "\"fixed:2s\"",
					     "{}",
					     "{\"policy\":1}",
					     "{\"policy\":[]}",
					     "{\"Policy\":\"none\"}",
					     "{\"policy\":\"none\",\"x\":1}",
					     "{\"policy\":\"none\",\"policy\":\"none\"}",
					     "{\"policy\":\"no\\u0000ne\"}",
					     "{\"policy\":\"\xff\"}",
					     "{\"policy\":\"none\"} x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		done(assert_error(ask("PUT", "/v1/functions/resize-a/policy", bodies[i]), 400,
				  "bad-request"));
	done(assert_error(ask("PUT", "/v1/functions/resize-a/policy", "{\"policy\":\"\"}"), 400,
			  "bad-policy"));
	done(assert_error(ask("POST", "/v1/functions/resize-a/freeze", "{\"now\":1}"), 400,
			  "bad-request"));
	assert_int_equal(server.agent.changes, 0);
}

static void bodies_too_large_are_refused(void **state)
{
	static const size_t sizes[] = {65537, 200000, 3000000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_free_ char *body = malloc(sizes[i]);

		memset(body, ' ', sizes[i]);
		done(assert_error(
		    ask_data("PUT", "/v1/functions/resize-a/policy", body, sizes[i], false), 413,
		    "too-large"));
	}
	assert_int_equal(server.agent.changes, 0);
}

static void a_chunked_body_too_large_is_refused(void **state)
{
	_cleanup_free_ char *body = malloc(200000);

	(void)state;
	memset(body, ' ', 200000);
	done(assert_error(ask_data("PUT", "/v1/functions/resize-a/policy", body, 200000, true), 413,
			  "too-large"));
}

/* ---- changes */

static void changes_reach_the_agent_with_their_caller(void **state)
{
	static const struct {
		const char *method, *action;
		enum api_change change;
	} table[] = {{"POST", "freeze", API_FREEZE},
		     {"POST", "thaw", API_THAW},
		     {"POST", "pin", API_PIN},
		     {"POST", "unpin", API_UNPIN}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char path[128];
		struct reply *r;

		snprintf(path, sizeof(path), "/v1/functions/%s/%s", ODD_URI, table[i].action);
		r = ask(table[i].method, path, i % 2 ? "{}" : NULL);
		assert_int_equal(r->status, 200);
		assert_true(json_is_true(json_object_get(r->json, "ok")));
		assert_string_equal(text(r->json, "function"), ODD);
		assert_int_equal(server.agent.change, table[i].change);
		assert_string_equal(server.agent.name, ODD);
		assert_int_equal(server.agent.peer.uid, getuid());
		assert_int_equal(server.agent.peer.pid, getpid());
		done(r);
	}
}

static void a_policy_is_set_and_taken_back(void **state)
{
	struct reply *r = ask("PUT", "/v1/functions/resize-a/policy", "{\"policy\":\"fixed:2s\"}");

	(void)state;
	assert_int_equal(r->status, 200);
	assert_string_equal(server.agent.spec, "fixed:2s");
	done(r);
	r = ask("PUT", "/v1/functions/resize-a/policy", "{\"policy\":null}");
	assert_int_equal(r->status, 200);
	assert_false(server.agent.has_spec);
	done(r);
}

static void refusals_of_the_agent_have_their_own_codes(void **state)
{
	struct reply *r =
	    assert_error(ask("POST", "/v1/functions/busy/freeze", NULL), 409, "not-now");

	(void)state;
	assert_string_equal(text(json_object_get(r->json, "error"), "message"), "about busy");
	assert_string_equal(text(json_object_get(r->json, "error"), "hint"), "wait");
	done(r);
	done(assert_error(ask("POST", "/v1/functions/broken/thaw", NULL), 500, "internal"));
	r = assert_error(ask("PUT", "/v1/functions/resize-a/policy", "{\"policy\":\"bogus\"}"), 400,
			 "bad-policy");
	assert_true(
	    json_array_size(json_object_get(json_object_get(r->json, "error"), "accepted")) > 0);
	done(r);
}

static void every_change_is_journalled_with_its_caller(void **state)
{
	const struct journal_entry *e;

	(void)state;
	done(ask("POST", "/v1/functions/resize-a/pin", NULL));
	done(ask("POST", "/v1/functions/busy/freeze", NULL));
	e = journal_at(1);
	assert_int_equal(e->action, JOURNAL_PIN);
	assert_int_equal(e->actor, JOURNAL_BY_API);
	assert_int_equal(e->uid, getuid());
	assert_int_equal(e->pid, getpid());
	assert_int_equal(e->error, 0);
	assert_string_equal(e->function, "resize-a");
	e = journal_at(2);
	assert_int_equal(e->error, EBUSY);
	assert_string_equal(e->reason, "about busy");
}

/* ---- peers */

struct stranger {
	gid_t gid;
	gid_t groups[40];
	size_t n_groups;
	const char *method, *path;
	struct reply *reply;
};

/* The raw system calls change this thread alone. */
static void *ask_as_stranger(void *arg)
{
	struct stranger *s = arg;

	if (syscall(SYS_setgroups, s->n_groups, s->groups) < 0 ||
	    syscall(SYS_setresgid, s->gid, s->gid, s->gid) < 0 ||
	    syscall(SYS_setresuid, 65534, 65534, 65534) < 0)
		return NULL;
	s->reply = ask(s->method, s->path, NULL);
	return NULL;
}

static struct reply *ask_as(struct stranger s)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, ask_as_stranger, &s), 0);
	pthread_join(thread, NULL);
	assert_non_null(s.reply);
	return s.reply;
}

static void only_root_and_the_group_may_change(void **state)
{
	const char *freeze = "/v1/functions/resize-a/freeze";
	struct stranger outsider = {.gid = 65534, .method = "POST", .path = freeze};
	struct stranger primary = {.gid = 1, .method = "POST", .path = freeze};
	struct stranger member = outsider;
	struct reply *r;

	(void)state;
	if (getuid() != 0) {
		print_message("skipped: needs root to become others\n");
		skip();
	}
	start_server("daemon");
	assert_int_equal(server.rc, 0);
	assert_int_equal(chmod(server.path, 0666), 0);
	r = assert_error(ask_as(outsider), 403, "not-allowed");
	assert_int_equal(server.agent.changes, 0);
	assert_int_equal(journal_at(1)->uid, 65534);
	assert_int_equal(journal_at(1)->error, EACCES);
	done(r);
	outsider.method = "GET";
	outsider.path = "/v1/functions";
	r = ask_as(outsider);
	assert_int_equal(r->status, 200);
	done(r);
	r = ask_as(primary);
	assert_int_equal(r->status, 200);
	done(r);
	for (gid_t g = 0; g < 39; g++)
		member.groups[member.n_groups++] = 70000 + g;
	member.groups[member.n_groups++] = 1;
	r = ask_as(member);
	assert_int_equal(r->status, 200);
	assert_int_equal(server.agent.changes, 2);
	done(r);
	stop(NULL);
}

/* ---- the socket */

static void the_socket_is_for_owner_and_group_alone(void **state)
{
	struct stat st;
	struct group *group = getgrnam("daemon");

	(void)state;
	start_server("daemon");
	assert_int_equal(server.rc, 0);
	assert_int_equal(stat(server.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	if (getuid() == 0)
		assert_int_equal(st.st_gid, group->gr_gid);
	stop(NULL);
}

static int bind_socket(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, server.path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void a_stale_socket_is_replaced(void **state)
{
	(void)state;
	on_server(close_api, NULL);
	close(bind_socket());
	on_server(open_api, NULL);
	assert_int_equal(server.rc, 0);
	done(ask("GET", "/v1/status", NULL));
}

static void a_socket_in_use_is_left_alone(void **state)
{
	int fd;

	(void)state;
	on_server(close_api, NULL);
	fd = bind_socket();
	on_server(open_api, NULL);
	assert_int_equal(server.rc, -EADDRINUSE);
	assert_non_null(strstr(server.err, server.path));
	assert_int_equal(access(server.path, F_OK), 0);
	close(fd);
	unlink(server.path);
}

static void what_is_no_socket_is_left_alone(void **state)
{
	(void)state;
	on_server(close_api, NULL);
	assert_int_equal(write_atomic(server.path, "x", 1, 0600), 0);
	on_server(open_api, NULL);
	assert_int_equal(server.rc, -EEXIST);
	assert_int_equal(access(server.path, F_OK), 0);
	unlink(server.path);
}

static void anothers_socket_is_not_removed_on_the_way_out(void **state)
{
	int fd;

	(void)state;
	unlink(server.path);
	fd = bind_socket();
	on_server(close_api, NULL);
	assert_int_equal(access(server.path, F_OK), 0);
	close(fd);
	unlink(server.path);
}

/* ---- events, over plain sockets */

static int plain_connect(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, server.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void plain_send(int fd, const char *path)
{
	char request[512];
	int n = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: hearth\r\n\r\n", path);

	assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
}

/* Read until the text has come; false: the other side ended before it did. */
static bool plain_expect(int fd, const char *wanted)
{
	_cleanup_free_ char *got = calloc(1, 1 << 20);
	uint64_t deadline = now_ns() + DEADLINE;
	size_t len = 0;

	while (!strstr(got, wanted)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (now_ns() > deadline)
			fail_msg("no '%s' in '%s'", wanted, got);
		if (poll(&p, 1, 100) <= 0)
			continue;
		n = read(fd, got + len, (1 << 20) - len - 1);
		if (n <= 0)
			return false;
		len += (size_t)n;
	}
	return true;
}

static void append(void *arg)
{
	journal_append(server.journal, arg);
}

static void note(const char *function, const char *reason)
{
	struct journal_note n = {.action = JOURNAL_HOLD, .function = function, .reason = reason};

	on_server(append, &n);
}

static void events_are_the_tail_of_the_journal_one_a_line(void **state)
{
	struct reply *r;

	(void)state;
	for (int i = 0; i < 10; i++)
		note(i % 2 ? "odd" : "even", "r");
	r = ask("GET", "/v1/events?limit=2&function=even", NULL);
	assert_int_equal(r->status, 200);
	assert_int_equal(strncmp(r->body, "{\"seq\":7,", 9), 0);
	assert_non_null(strstr(r->body, "\n{\"seq\":9,"));
	assert_int_equal(r->body[r->len - 1], '\n');
	done(r);
	r = ask("GET", "/v1/events?since=9", NULL);
	assert_int_equal(strncmp(r->body, "{\"seq\":10,", 10), 0);
	assert_non_null(r->json);
	done(r);
	r = ask("GET", "/v1/events?limit=0", NULL);
	assert_int_equal(r->len, 0);
	done(r);
}

static void events_tell_what_is_no_longer_held(void **state)
{
	struct reply *r;

	(void)state;
	for (int i = 0; i < JOURNAL + 5; i++)
		note("f", "r");
	r = ask("GET", "/v1/events?since=2", NULL);
	assert_int_equal(strncmp(r->body, "{\"lost\":3}\n{\"seq\":6,", 20), 0);
	done(r);
}

static void a_seq_of_an_earlier_run_gives_everything(void **state)
{
	struct reply *r;

	(void)state;
	note("f", "r");
	r = ask("GET", "/v1/events?since=5000", NULL);
	assert_int_equal(strncmp(r->body, "{\"seq\":1,", 9), 0);
	done(r);
}

static void followers_hear_of_news_at_once_and_all_of_it(void **state)
{
	int fds[12];
	char wanted[32];

	(void)state;
	note("a", "before");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = plain_connect();
		plain_send(fds[i],
			   i % 2 ? "/v1/events?follow=1&function=b" : "/v1/events?follow=1");
		assert_true(plain_expect(fds[i], i % 2 ? "\r\n\r\n" : "before"));
	}
	for (int i = 0; i < 40; i++) {
		snprintf(wanted, sizeof(wanted), "news %d.", i);
		note(i % 2 ? "a" : "b", wanted);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_true(plain_expect(fds[i], "news 38."));
	note("b", "the end");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_true(plain_expect(fds[i], "the end"));
		close(fds[i]);
	}
}

static json_int_t api_figure(const char *key)
{
	struct reply *r = ask("GET", "/v1/status", NULL);
	json_int_t n = json_integer_value(json_object_get(json_object_get(r->json, "api"), key));

	done(r);
	return n;
}

static void wait_figure(const char *key, json_int_t wanted)
{
	uint64_t deadline = now_ns() + DEADLINE;

	while (api_figure(key) != wanted) {
		if (now_ns() > deadline)
			fail_msg("%s is %lld, expected %lld", key, (long long)api_figure(key),
				 (long long)wanted);
		poll(NULL, 0, 20);
	}
}

/* ---- spans */

static void append_span(void *arg)
{
	ring_append(spans_ring(server.spans), arg);
}

static void add_span(struct span s)
{
	s.seq = ring_last(spans_ring(server.spans)) + 1;
	on_server(append_span, &s);
}

static void spans_are_told_with_how_they_began(void **state)
{
	struct reply *r;

	(void)state;
	add_span((struct span){.begin_ns = 1500000000,
			       .end_ns = 1750000000,
			       .start = HEARTH_START_LUKEWARM,
			       .memory_bytes = 5e7,
			       .function = "shop/cart"});
	add_span((struct span){.lost = 3, .function = "shop/pay", .memory_bytes = NAN});
	add_span(
	    (struct span){.begin_ns = 2, .end_ns = 2, .function = "mail", .memory_bytes = NAN});
	r = ask("GET", "/v1/spans?function=shop*", NULL);
	assert_int_equal(r->status, 200);
	assert_string_equal(
	    r->body, "{\"seq\":1,\"function\":\"shop/cart\",\"begin_at_s\":1.5,\"end_at_s\":1.75,"
		     "\"start\":\"lukewarm\",\"memory_bytes\":50000000.0}\n"
		     "{\"seq\":2,\"function\":\"shop/pay\",\"lost\":3}\n");
	done(r);
	r = ask("GET", "/v1/spans?since=2", NULL);
	assert_non_null(strstr(r->body, "\"start\":\"warm\",\"memory_bytes\":null}"));
	done(r);
	r = ask("GET", "/v1/status", NULL);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(r->json, "spans"), "used")), 3);
	done(r);
}

static void a_reader_is_told_how_many_spans_it_missed(void **state)
{
	struct reply *r;

	(void)state;
	for (int i = 0; i < JOURNAL + 5; i++)
		add_span((struct span){.function = "f"});
	r = ask("GET", "/v1/spans?since=2", NULL);
	assert_int_equal(strncmp(r->body, "{\"lost\":3}\n{\"seq\":6,", 20), 0);
	done(r);
}

static void a_reader_of_spans_hears_of_spans_alone(void **state)
{
	int spans = plain_connect(), events = plain_connect();

	(void)state;
	plain_send(spans, "/v1/spans?follow=1&limit=0");
	assert_true(plain_expect(spans, "\r\n\r\n"));
	plain_send(events, "/v1/events?follow=1&limit=0");
	assert_true(plain_expect(events, "\r\n\r\n"));
	note("f", "a decision");
	add_span((struct span){.function = "a span"});
	assert_true(plain_expect(spans, "{\"seq\":1,\"function\":\"a span\""));
	assert_true(plain_expect(events, "a decision"));
	close(spans);
	close(events);
}

static void streams_are_bounded_and_others_still_served(void **state)
{
	int fds[STREAM_MAX];
	struct reply *r;

	(void)state;
	for (size_t i = 0; i < STREAM_MAX; i++) {
		fds[i] = plain_connect();
		plain_send(fds[i], "/v1/events?follow=1");
		assert_true(plain_expect(fds[i], "\r\n\r\n"));
	}
	done(assert_error(ask("GET", "/v1/events?follow=1", NULL), 503, "busy"));
	r = ask("POST", "/v1/functions/resize-a/thaw", NULL);
	assert_int_equal(r->status, 200);
	done(r);
	for (size_t i = 0; i < STREAM_MAX; i++)
		close(fds[i]);
	wait_figure("streams", 0);
}

static void a_follower_that_left_is_forgotten_without_news(void **state)
{
	int fd = plain_connect();

	(void)state;
	plain_send(fd, "/v1/events?follow=1");
	assert_true(plain_expect(fd, "\r\n\r\n"));
	assert_int_equal(api_figure("streams"), 1);
	close(fd);
	wait_figure("streams", 0);
}

static void a_slow_reader_is_cut_off_and_counted(void **state)
{
	char reason[JOURNAL_REASON];
	uint64_t deadline = now_ns() + DEADLINE;
	int slow = plain_connect(), good = plain_connect();

	(void)state;
	memset(reason, 'x', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	plain_send(slow, "/v1/events?follow=1");
	assert_true(plain_expect(slow, "\r\n\r\n"));
	plain_send(good, "/v1/events?follow=1");
	assert_true(plain_expect(good, "\r\n\r\n"));
	while (api_figure("slow_readers") == 0) {
		assert_true(now_ns() < deadline);
		for (int i = 0; i < JOURNAL / 2; i++)
			note("f", reason);
		note("f", "mark");
		assert_true(plain_expect(good, "mark"));
	}
	assert_false(plain_expect(slow, "never comes"));
	wait_figure("streams", 1);
	note("f", "still here");
	assert_true(plain_expect(good, "still here"));
	close(slow);
	close(good);
}

static void nonsense_and_half_requests_do_no_harm(void **state)
{
	static const char *const bytes[] = {"\x16\x03\x01 tls?",
					    "GET\r\n\r\n",
					    "GET /v1/status HTTP/1.1",
					    "PUT /v1/functions/a/policy HTTP/1.1\r\nHost: h\r\n"
					    "Content-Length: 100\r\n\r\n{\"pol",
					    "GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
					    "\0\0\0\0"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		int fd = plain_connect();

		assert_true(send(fd, bytes[i], strlen(bytes[i]) + 1, MSG_NOSIGNAL) > 0);
		close(fd);
	}
	done(ask("GET", "/v1/functions", NULL));
	wait_figure("connections", 1);
}

static void closing_ends_open_streams(void **state)
{
	int fd = plain_connect();

	(void)state;
	plain_send(fd, "/v1/events?follow=1");
	assert_true(plain_expect(fd, "\r\n\r\n"));
	on_server(close_api, NULL);
	assert_false(plain_expect(fd, "never comes"));
	close(fd);
}

#define served(t) cmocka_unit_test_setup_teardown(t, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    served(functions_have_the_shape_that_scripts_depend_on),
	    served(one_function_comes_with_its_histogram),
	    served(names_may_hold_slashes_and_any_encoded_byte),
	    served(instances_are_those_of_all_functions),
	    served(images_are_shown_with_what_is_known),
	    served(shadows_are_those_of_functions_that_have_any),
	    served(one_function_comes_with_its_shadows),
	    served(status_tells_of_hooks_journal_and_itself),
	    served(head_answers_without_a_body),
	    served(an_unknown_function_is_answered_with_the_nearest),
	    served(a_name_too_long_is_not_found),
	    served(unknown_paths_list_the_known_ones),
	    served(wrong_methods_name_the_right_ones),
	    served(bad_encodings_and_queries_are_refused),
	    served(bad_bodies_are_refused),
	    served(bodies_too_large_are_refused),
	    served(a_chunked_body_too_large_is_refused),
	    served(changes_reach_the_agent_with_their_caller),
	    served(a_policy_is_set_and_taken_back),
	    served(refusals_of_the_agent_have_their_own_codes),
	    served(every_change_is_journalled_with_its_caller),
	    cmocka_unit_test(only_root_and_the_group_may_change),
	    cmocka_unit_test(the_socket_is_for_owner_and_group_alone),
	    served(a_stale_socket_is_replaced),
	    served(a_socket_in_use_is_left_alone),
	    served(what_is_no_socket_is_left_alone),
	    served(anothers_socket_is_not_removed_on_the_way_out),
	    served(events_are_the_tail_of_the_journal_one_a_line),
	    served(events_tell_what_is_no_longer_held),
	    served(a_seq_of_an_earlier_run_gives_everything),
	    served(followers_hear_of_news_at_once_and_all_of_it),
	    served(spans_are_told_with_how_they_began),
	    served(a_reader_is_told_how_many_spans_it_missed),
	    served(a_reader_of_spans_hears_of_spans_alone),
	    served(streams_are_bounded_and_others_still_served),
	    served(a_follower_that_left_is_forgotten_without_news),
	    served(a_slow_reader_is_cut_off_and_counted),
	    served(nonsense_and_half_requests_do_no_harm),
	    served(closing_ends_open_streams),
	};
	int rc;

	curl_global_init(CURL_GLOBAL_ALL);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return rc;
}
