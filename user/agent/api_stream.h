/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * GET /v1/events: readers of the journal, each with a cursor of its own. The
 * server asks a reader for bytes only when its socket takes them, so a slow
 * one costs nothing; one that fell behind the whole journal is cut off.
 */
#ifndef HEARTH_API_STREAM_H
#define HEARTH_API_STREAM_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/api_route.h"
#include "agent/journal.h"

#define STREAM_MAX 32u /* open at once; half of the connections stay for others */

struct stream;

struct stream_set {
	struct journal *journal;
	struct stream *streams;
	unsigned int count;
	uint64_t slow_readers; /* cut off so far */
	bool closing;
};

/* The response to an event request. NULL: too many streams or no memory. */
struct MHD_Response *stream_open(struct stream_set *set, struct MHD_Connection *conn,
				 const struct api_route *route);

/*
 * The journal has grown: readers that wait go on, hopeless ones are cut off.
 * True if the server has to run for it: resumed streams make no fd readable.
 */
bool stream_journal_grew(struct stream_set *set);

/* End the streams that wait for news while their client has left. As above. */
bool stream_reap(struct stream_set *set);

/* End them all: before the server stops. */
void stream_end_all(struct stream_set *set);

#endif
