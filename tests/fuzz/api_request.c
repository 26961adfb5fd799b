/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Any request line and body given to the API's parser are understood, within
 * their limits, or refused with a proper status and message. Input: method,
 * URI and body, divided by newlines. libFuzzer entry point; built with
 * -DSTANDALONE it feeds itself mutated requests: api_request [ROUNDS [SEED]].
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what, const char *input)
{
	if (ok)
		return;
	fprintf(stderr, "%s: \"%s\"\n", what, input);
	abort();
}

static void check_refusal(const struct api_misroute *why, const char *input)
{
	check(why->status >= 400 && why->status < 600, "status", input);
	check(why->code && *why->code && why->message[0], "no message", input);
	check((why->status == 405) == (why->allow != NULL), "Allow", input);
}

static void try_body(enum api_change change, const char *body, size_t len)
{
	char *exact = malloc(len ? len : 1);
	struct api_misroute why;
	char spec[API_SPEC];

	memcpy(exact, body, len);
	if (api_body_parse(change, exact, len, spec, &why) < 0)
		check_refusal(&why, body);
	else
		check(change == API_POLICY || spec[0] == '\0', "spec for no policy", body);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text, *method, *uri;
	struct api_misroute why;
	struct api_route route;

	memcpy(text, data, size);
	text[size] = '\0';
	method = strsep(&rest, "\n");
	uri = rest ? strsep(&rest, "\n") : method;
	if (api_route_parse(method, uri, &route, &why) < 0) {
		check_refusal(&why, uri);
	} else {
		bool named = route.endpoint == API_FUNCTION || route.endpoint == API_CHANGE;

		check(strnlen(route.name, API_NAME) < API_NAME, "name", uri);
		check(!named || route.name[0], "empty name", uri);
		api_route_other_method(route.name);
	}
	for (int change = API_FREEZE; rest && change <= API_POLICY; change++)
		try_body((enum api_change)change, rest, size - (size_t)(rest - text));
	free(text);
	return 0;
}

#ifdef STANDALONE
static const char *const seeds[] = {
    "GET\n/v1/status",
    "GET\n/v1/functions/ns%2Fpod/img",
    "HEAD\n/v1/events?since=12&function=a%20b&limit=3&follow=1",
    "GET\n/v1/spans?function=shop%2A&follow=1&limit=0",
    "POST\n/v1/functions/a/freeze\n{}",
    "PUT\n/v1/functions/a/b/policy\n{\"policy\":\"fixed:2s\"}",
    "PUT\n/v1/functions/a/policy\n{\"policy\":null}",
};

/* One seed with a few bytes replaced, doubled or taken out. */
static size_t mutate(char *out, size_t most)
{
	static const char bytes[] = "0129/%?&=#.afGET{}[]\",:\\u\n\xff";
	size_t len = (size_t)snprintf(out, most / 2, "%s",
				      seeds[(size_t)rand() % (sizeof(seeds) / sizeof(*seeds))]);

	for (int edits = rand() % 6; edits && len; edits--) {
		size_t at = (size_t)rand() % len;

		switch (rand() % 3) {
		case 0:
			out[at] = bytes[(size_t)rand() % (sizeof(bytes) - 1)];
			break;
		case 1:
			memmove(out + at, out + at + 1, --len - at);
			break;
		default:
			if (len + 1 < most)
				memmove(out + at + 1, out + at, len++ - at);
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 20000;
	char text[512];

	srand(argc > 2 ? (unsigned int)atol(argv[2]) : 1);
	for (long i = 0; i < rounds; i++)
		LLVMFuzzerTestOneInput((const uint8_t *)text, mutate(text, sizeof(text)));
	printf("%ld requests\n", rounds);
	return 0;
}
#endif
