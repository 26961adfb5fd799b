/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a request asks for: method, URI and body -> plain data. Pure, so that
 * it can be tested and fuzzed without a server. Strict: what is not understood
 * is an error, never ignored.
 */
#ifndef HEARTH_API_ROUTE_H
#define HEARTH_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/api.h"

#define API_NAME       JOURNAL_FUNCTION
#define API_SPEC       512          /* longest policy spec */
#define API_EVENTS     100          /* default ?limit= */
#define API_BODY_BYTES (64u * 1024) /* longest body */

enum api_endpoint {
	API_STATUS,
	API_FUNCTIONS,
	API_FUNCTION,
	API_INSTANCES,
	API_SHADOW,
	API_IMAGES,
	API_EVENT_LOG,
	API_SPANS,
	API_CHANGE
};

struct api_route {
	enum api_endpoint endpoint;
	enum api_change change; /* API_CHANGE */
	char name[API_NAME];    /* API_FUNCTION, API_CHANGE; streams: "" = all */
	/* API_EVENT_LOG, API_SPANS */
	bool follow;
	bool has_since;
	uint64_t since;
	size_t limit;
};

/* Why a request was not understood; all texts are static but message. */
struct api_misroute {
	unsigned int status;
	const char *code;
	char message[256];
	const char *hint;
	const char *accepted; /* words separated by '|', NULL: nothing to list */
	const char *allow;    /* methods, status 405 only */
};

/* uri: as it came, percent-encoded, with its query. 0 or -EINVAL with why. */
int api_route_parse(const char *method, const char *uri, struct api_route *out,
		    struct api_misroute *why);

/*
 * The body of a change. API_POLICY: {"policy":"SPEC"}, or null: spec[0] = 0.
 * Others take no body or {}. 0 or -EINVAL with why.
 */
int api_body_parse(enum api_change change, const char *body, size_t len, char spec[API_SPEC],
		   struct api_misroute *why);

/* For a name nobody has: the method, if it reads as NAME/freeze and the like; else NULL. */
const char *api_route_other_method(const char *name);

#endif
