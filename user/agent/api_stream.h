/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * GET /v1/events and /v1/spans: readers of a ring, each with a cursor of its
 * own. The server asks a reader for bytes only when its socket takes them, so a
 * slow one costs nothing; one that fell behind the whole ring is cut off.
 */
#ifndef HEARTH_API_STREAM_H
#define HEARTH_API_STREAM_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/api_route.h"
#include "lib/ring.h"

#define STREAM_MAX 32u /* open at once; half of the connections stay for others */

struct stream;

/* A ring as lines of JSON. */
struct stream_source {
	const struct ring *ring;
	ring_about_fn about; /* picks entries by the name that was asked for */
	json_t *(*json)(const void *entry);
};

struct stream_set {
	struct stream *streams;
	unsigned int count;
	uint64_t slow_readers; /* cut off so far */
	bool closing;
};

/*
 * The response to a request for a source, which outlives it. NULL: too many
 * streams or no memory.
 */
struct MHD_Response *stream_open(struct stream_set *set, const struct stream_source *source,
				 struct MHD_Connection *conn, const struct api_route *route);

/*
 * The ring has grown: its readers that wait go on, hopeless ones are cut off.
 * True if the server has to run for it: resumed streams make no fd readable.
 */
bool stream_grew(struct stream_set *set, const struct ring *ring);

/* End the streams that wait for news while their client has left. As above. */
bool stream_reap(struct stream_set *set);

/* End them all: before the server stops. */
void stream_end_all(struct stream_set *set);

#endif
