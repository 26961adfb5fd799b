/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libcurl with its Unix socket option; one easy handle, so the connection is kept. */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "lib/util.h"

#define ANSWER_MAX (64u << 20) /* far above 2048 functions with histograms */
#define HOST       "http://hearth"

struct client {
	CURL *curl;
	struct curl_slist *json_header;
	long timeout_ms;
};

/* What came in: a whole answer, or lines handed on as they are complete. */
struct inbox {
	char *data;
	size_t len, size;
	client_line_fn fn;
	bool (*go_on)(void *arg);
	void *arg;
	CURL *curl;
	bool endless; /* follows a stream */
	bool ended;   /* by the reader, not by an error */
	bool too_large;
};

int client_new(const char *socket, long timeout_ms, struct client **out)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->timeout_ms = timeout_ms;
	c->curl = curl_easy_init();
	c->json_header = curl_slist_append(NULL, "Content-Type: application/json");
	if (!c->curl || !c->json_header ||
	    curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, socket)) {
		client_free(c);
		return -EIO;
	}
	*out = c;
	return 0;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	curl_slist_free_all(c->json_header);
	curl_easy_cleanup(c->curl);
	free(c);
}

static bool inbox_add(struct inbox *in, const char *data, size_t len)
{
	if (in->len + len > ANSWER_MAX) {
		in->too_large = true;
		return false;
	}
	if (in->len + len + 1 > in->size) {
		size_t size = 2 * (in->len + len) + 4096;
		char *bigger = realloc(in->data, size);

		if (!bigger)
			return false;
		in->data = bigger;
		in->size = size;
	}
	memcpy(in->data + in->len, data, len);
	in->len += len;
	in->data[in->len] = '\0';
	return true;
}

/* Hand on every complete line; what is left of the last one stays. */
static bool inbox_lines(struct inbox *in)
{
	char *line = in->data, *end;
	bool go_on = true;

	while (go_on && (end = memchr(line, '\n', in->data + in->len - line))) {
		json_t *json = json_loadb(line, end - line, 0, NULL);

		if (json)
			go_on = in->fn(json, in->arg);
		json_decref(json);
		line = end + 1;
	}
	in->len -= line - in->data;
	memmove(in->data, line, in->len);
	in->ended = !go_on;
	return go_on;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct inbox *in = arg;
	long status = 0;

	if (!inbox_add(in, data, size * n))
		return 0;
	curl_easy_getinfo(in->curl, CURLINFO_RESPONSE_CODE, &status);
	if (in->fn && status == 200 && !inbox_lines(in))
		return 0;
	return size * n;
}

/* libcurl asks once a second, and whenever a signal or data came. */
static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
		       curl_off_t ulnow)
{
	struct inbox *in = arg;

	(void)dltotal;
	(void)dlnow;
	(void)ultotal;
	(void)ulnow;
	if (in->go_on && !in->go_on(in->arg))
		in->ended = true;
	return in->ended;
}

static int curl_errno(CURL *curl, CURLcode code)
{
	long os_errno = 0;

	switch (code) {
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
		return os_errno ? -(int)os_errno : -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

static void set_up(struct client *c, const char *method, const char *url, struct inbox *in)
{
	CURL *curl = c->curl;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, c->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, in->endless ? 0L : c->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, in);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, in);
}

static int perform(struct client *c, const char *method, const char *path, const char *body,
		   struct inbox *in)
{
	_cleanup_free_ char *url = NULL;
	long status = 0;
	CURLcode code;

	if (asprintf(&url, HOST "%s", path) < 0)
		return -ENOMEM;
	in->curl = c->curl;
	set_up(c, method, url, in);
	curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, body ? c->json_header : NULL);
	if (body)
		curl_easy_setopt(c->curl, CURLOPT_COPYPOSTFIELDS, body);
	code = curl_easy_perform(c->curl);
	if (in->too_large)
		return -EMSGSIZE;
	if (code && !in->ended)
		return curl_errno(c->curl, code);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	return status > 0 ? (int)status : -EPROTO;
}

int client_call(struct client *c, const char *method, const char *path, const json_t *body,
		json_t **out)
{
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct inbox in = {0};
	int status;

	if (body && !text)
		return -ENOMEM;
	status = perform(c, method, path, text, &in);
	if (status > 0)
		*out = in.data ? json_loadb(in.data, in.len, 0, NULL) : NULL;
	free(in.data);
	return status;
}

static char *query_path(const struct client_query *q)
{
	char *function = q->function ? curl_easy_escape(NULL, q->function, 0) : NULL;
	const char *key = q->since >= 0 ? "since" : "limit";
	char *path;
	int n = asprintf(&path, "%s?%s=%" PRId64 "%s%s%s", q->path ? q->path : "/v1/events", key,
			 q->since >= 0 ? q->since : q->limit, q->follow ? "&follow=1" : "",
			 function ? "&function=" : "", function ? function : "");

	curl_free(function);
	return n < 0 ? NULL : path;
}

int client_stream(struct client *c, const struct client_query *query, client_line_fn fn, void *arg,
		  json_t **out)
{
	struct inbox in = {.fn = fn, .go_on = query->go_on, .arg = arg, .endless = query->follow};
	_cleanup_free_ char *path = query_path(query);
	int status;

	if (!path)
		return -ENOMEM;
	status = perform(c, "GET", path, NULL, &in);
	if (status > 0)
		*out = status != 200 && in.data ? json_loadb(in.data, in.len, 0, NULL) : NULL;
	free(in.data);
	return status;
}

static bool append(json_t *line, void *arg)
{
	return !json_array_append(arg, line);
}

int client_events(struct client *c, const struct client_query *query, json_t **out)
{
	json_t *events = json_array(), *refusal = NULL;
	int status = client_stream(c, query, append, events, &refusal);

	if (status == 200) {
		*out = events;
		return status;
	}
	json_decref(events);
	if (status > 0)
		*out = refusal;
	return status;
}

char *client_function_path(const char *name, const char *suffix)
{
	char *escaped = curl_easy_escape(NULL, name, 0), *path = NULL;

	if (escaped && asprintf(&path, "/v1/functions/%s%s", escaped, suffix) < 0)
		path = NULL;
	curl_free(escaped);
	return path;
}
