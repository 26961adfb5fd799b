/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Paths are split on the '/' as sent, then decoded: a name may hold any byte
 * but NUL. Which methods a path knows comes from the tables here alone.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api_route.h"
#include "lib/util.h"

#define FUNCTIONS "/v1/functions"
#define PATHS                                                                                      \
	"GET /v1/status|GET /v1/functions|GET /v1/functions/NAME|GET /v1/instances|"               \
	"GET /v1/events|GET /v1/spans|GET /v1/shadow|GET /v1/images|POST "                         \
	"/v1/functions/NAME/freeze|"                                                               \
	"POST /v1/functions/NAME/thaw|POST /v1/functions/NAME/pin|"                                \
	"POST /v1/functions/NAME/unpin|PUT /v1/functions/NAME/policy"

static const struct {
	const char *path;
	enum api_endpoint endpoint;
} views[] = {
    {"/v1/status", API_STATUS}, {FUNCTIONS, API_FUNCTIONS},    {"/v1/instances", API_INSTANCES},
    {"/v1/shadow", API_SHADOW}, {"/v1/events", API_EVENT_LOG}, {"/v1/spans", API_SPANS},
    {"/v1/images", API_IMAGES},
};

static const struct {
	const char *name;
	const char *method;
} changes[] = {
    [API_FREEZE] = {"freeze", "POST"},   [API_THAW] = {"thaw", "POST"},
    [API_RECLAIM] = {"reclaim", "POST"}, [API_EVICT] = {"evict", "POST"},
    [API_PREWARM] = {"prewarm", "POST"}, [API_PIN] = {"pin", "POST"},
    [API_UNPIN] = {"unpin", "POST"},     [API_POLICY] = {"policy", "PUT"},
};

static int refuse(struct api_misroute *why, unsigned int status, const char *code,
		  const char *accepted, const char *fmt, ...) _printf_(5, 6);

static int refuse(struct api_misroute *why, unsigned int status, const char *code,
		  const char *accepted, const char *fmt, ...)
{
	va_list args;

	*why = (struct api_misroute){.status = status, .code = code, .accepted = accepted};
	va_start(args, fmt);
	vsnprintf(why->message, sizeof(why->message), fmt, args);
	va_end(args);
	return -EINVAL;
}

static int bad_request(struct api_misroute *why, const char *accepted, const char *message)
{
	return refuse(why, 400, "bad-request", accepted, "%s", message);
}

static int wrong_method(struct api_misroute *why, const char *method, const char *allow)
{
	refuse(why, 405, "wrong-method", allow, "this path does not know %.32s", method);
	why->allow = allow;
	return -EINVAL;
}

static bool reads(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* text[len] into out, terminated. -EINVAL: bad encoding, -ENAMETOOLONG. */
static int decode(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '%') {
			int high = i + 2 < len ? nibble(text[i + 1]) : -1;
			int low = i + 2 < len ? nibble(text[i + 2]) : -1;

			if (high < 0 || low < 0 || high + low == 0)
				return -EINVAL;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (n + 1 >= size)
			return -ENAMETOOLONG;
		out[n++] = c;
	}
	out[n] = '\0';
	return 0;
}

static int decode_name(const char *text, size_t len, struct api_route *out,
		       struct api_misroute *why)
{
	int rc = decode(text, len, out->name, sizeof(out->name));

	if (rc == -ENAMETOOLONG)
		return refuse(why, 404, "no-such-function", NULL,
			      "no function is called that: names have at most %d bytes",
			      API_NAME - 1);
	if (rc < 0 || out->name[0] == '\0')
		return bad_request(why, NULL, "the name is empty or not percent-encoded properly");
	return 0;
}

/* ---- the query */

static bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9' || strlen(text) > 18)
		return false;
	*out = strtoull(text, &end, 10);
	return *end == '\0';
}

static int parse_pair(const char *key, const char *value, struct api_route *out,
		      struct api_misroute *why)
{
	uint64_t n;

	if (strcmp(key, "function") == 0)
		return decode_name(value, strlen(value), out, why);
	if (strcmp(key, "follow") == 0 && (!strcmp(value, "0") || !strcmp(value, "1"))) {
		out->follow = *value == '1';
		return 0;
	}
	if (strcmp(key, "since") == 0 && parse_number(value, &n)) {
		out->has_since = true;
		out->since = n;
		return 0;
	}
	if (strcmp(key, "limit") == 0 && parse_number(value, &n)) {
		out->limit = n;
		return 0;
	}
	return refuse(why, 400, "bad-request", "follow=0|follow=1|since=SEQ|limit=N|function=NAME",
		      "the query has an unknown or bad '%.64s'", key);
}

static int parse_query(const char *query, struct api_route *out, struct api_misroute *why)
{
	_cleanup_free_ char *copy = strdup(query);
	char *rest = copy, *pair;

	if (!copy)
		return refuse(why, 503, "busy", NULL, "out of memory");
	while ((pair = strsep(&rest, "&"))) {
		char *value = strchr(pair, '=');
		int rc;

		if (*pair == '\0')
			continue;
		if (value)
			*value++ = '\0';
		rc = parse_pair(pair, value ? value : "", out, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the path */

static int find_change(const char *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		if (strlen(changes[i].name) == len && memcmp(changes[i].name, word, len) == 0)
			return (int)i;
	return -1;
}

const char *api_route_other_method(const char *name)
{
	const char *slash = strrchr(name, '/');
	int change = slash && slash > name ? find_change(slash + 1, strlen(slash + 1)) : -1;

	return change < 0 ? NULL : changes[change].method;
}

/* path: what follows "/v1/functions/". */
static int parse_function(const char *method, const char *path, size_t len, struct api_route *out,
			  struct api_misroute *why)
{
	const char *slash = memrchr(path, '/', len);
	size_t head = slash ? (size_t)(slash - path) : 0;
	int change = slash ? find_change(slash + 1, len - head - 1) : -1;

	if (reads(method)) {
		out->endpoint = API_FUNCTION;
		return decode_name(path, len, out, why);
	}
	if (change < 0)
		return wrong_method(why, method, "GET, HEAD");
	if (strcmp(method, changes[change].method) != 0)
		return wrong_method(why, method, changes[change].method);
	out->endpoint = API_CHANGE;
	out->change = (enum api_change)change;
	return decode_name(path, head, out, why);
}

int api_route_parse(const char *method, const char *uri, struct api_route *out,
		    struct api_misroute *why)
{
	const char *query = strchrnul(uri, '?');
	size_t len = (size_t)(query - uri), prefix = strlen(FUNCTIONS) + 1;

	*out = (struct api_route){.limit = API_EVENTS};
	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		if (strlen(views[i].path) != len || memcmp(views[i].path, uri, len) != 0)
			continue;
		if (!reads(method))
			return wrong_method(why, method, "GET, HEAD");
		out->endpoint = views[i].endpoint;
		if ((out->endpoint == API_EVENT_LOG || out->endpoint == API_SPANS) && *query)
			return parse_query(query + 1, out, why);
		return *query ? bad_request(why, NULL, "this path takes no query") : 0;
	}
	if (len <= prefix || memcmp(uri, FUNCTIONS "/", prefix) != 0)
		return refuse(why, 404, "no-such-path", PATHS, "no such path");
	if (*query)
		return bad_request(why, NULL, "this path takes no query");
	return parse_function(method, uri + prefix, len - prefix, out, why);
}

/* ---- the body */

static int parse_policy(const json_t *o, char spec[API_SPEC], struct api_misroute *why)
{
	const char *accepted = "{\"policy\":\"SPEC\"}|{\"policy\":null}";
	const json_t *policy = json_object_get(o, "policy");
	const char *text = json_string_value(policy);

	if (json_object_size(o) != 1 || !policy || (!text && !json_is_null(policy)))
		return bad_request(why, accepted, "the body must hold 'policy' and nothing else");
	if (text && (*text == '\0' || strlen(text) >= API_SPEC))
		return refuse(why, 400, "bad-policy", NULL, "a policy spec has 1 to %d bytes",
			      API_SPEC - 1);
	strcpy(spec, text ? text : "");
	return 0;
}

int api_body_parse(enum api_change change, const char *body, size_t len, char spec[API_SPEC],
		   struct api_misroute *why)
{
	json_error_t err;
	json_t *o;
	int rc = 0;

	spec[0] = '\0';
	if (len == 0 && change != API_POLICY)
		return 0;
	o = json_loadb(body, len, JSON_REJECT_DUPLICATES, &err);
	if (!o)
		return refuse(why, 400, "bad-request", NULL, "the body is not JSON: %s", err.text);
	if (!json_is_object(o))
		rc = bad_request(why, NULL, "the body must be a JSON object");
	else if (change == API_POLICY)
		rc = parse_policy(o, spec, why);
	else if (json_object_size(o) > 0)
		rc = bad_request(why, "no body|{}", "this call takes no body");
	json_decref(o);
	return rc;
}
