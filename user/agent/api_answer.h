/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the API says: from a complete request to its response. Asks the agent
 * through struct api_ops; checks who may change; journals every change.
 */
#ifndef HEARTH_API_ANSWER_H
#define HEARTH_API_ANSWER_H

#include <microhttpd.h>

#include "agent/api.h"
#include "agent/api_socket.h"
#include "agent/api_stream.h"

/* All that answers are made of. */
struct api_site {
	struct api_params params;
	struct api_socket socket;
	struct MHD_Daemon *daemon;
	struct stream_source events, spans;
	struct stream_set streams;
};

/* Set up the sources of streams from site->params. */
void api_answer_sources(struct api_site *site);

struct api_request {
	const char *method;
	const char *uri;  /* as it came, percent-encoded */
	const char *body; /* not terminated */
	size_t body_len;
};

/* MHD_NO closes the connection: no memory for an answer. */
enum MHD_Result api_answer(struct api_site *site, struct MHD_Connection *conn,
			   const struct api_request *req);

enum MHD_Result api_answer_too_large(struct MHD_Connection *conn);

#endif
