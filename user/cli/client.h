/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * HTTP over the agent's Unix socket: requests, JSON answers, line streams.
 * Knows nothing of what the answers mean and prints nothing (agent.h does).
 */
#ifndef HEARTH_CLIENT_H
#define HEARTH_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct client;

/* timeout_ms bounds each request but not a stream. 0, -ENOMEM or -EIO. */
int client_new(const char *socket, long timeout_ms, struct client **out);
void client_free(struct client *c);

/*
 * One request; body may be NULL. The HTTP status (> 0) with the answer in *out,
 * NULL if it was not JSON; or -ENOENT, -ECONNREFUSED, -EACCES, ... when there was
 * no connection, -ETIMEDOUT, -EPROTO when the other end does not speak HTTP.
 */
int client_call(struct client *c, const char *method, const char *path, const json_t *body,
		json_t **out);

/* Which lines of a stream to read. */
struct client_query {
	const char *path;     /* NULL: the decisions of the journal */
	const char *function; /* NULL: of all */
	int limit;            /* the newest so many */
	int64_t since;        /* instead of limit: all after this one; -1: not used */
	bool follow;          /* and all that come, until the reader has enough */
	/* Asked every second, after each signal and with arg; false: enough. NULL: never. */
	bool (*go_on)(void *arg);
};

/* Called for every line that is JSON; false ends the stream. */
typedef bool (*client_line_fn)(json_t *line, void *arg);

/*
 * Read a stream. The HTTP status when the stream ended (with the answer of a
 * refusal in *out, else NULL), or -errno as above. The timeout bounds it unless
 * it follows.
 */
int client_stream(struct client *c, const struct client_query *query, client_line_fn fn, void *arg,
		  json_t **out);

/* The same into an array; *out is the refusal if the status is not 200. */
int client_events(struct client *c, const struct client_query *query, json_t **out);

/* "/v1/functions/NAME" + suffix with NAME percent-encoded; free() it. */
char *client_function_path(const char *name, const char *suffix);

#endif
