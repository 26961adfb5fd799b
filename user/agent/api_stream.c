/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A stream is either being written by the server, which pulls lines through
 * produce(), or suspended because it has told all there is. Only the second
 * kind is resumed, and only from the main loop.
 */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "agent/api_stream.h"
#include "lib/util.h"

#define BLOCK 16384 /* bytes asked for at a time */

struct stream {
	struct stream_set *set;
	const struct stream_source *source;
	struct MHD_Connection *conn;
	struct stream *prev, *next;
	int fd;
	uint64_t seq;        /* told up to here */
	uint64_t last;       /* where to end, unless it follows */
	char name[API_NAME]; /* "": all functions */
	bool follow;
	bool suspended;
	bool gone;  /* cut off, or its client left */
	char *line; /* being sent */
	size_t line_at, line_len;
};

static int set_line(struct stream *s, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	if (!text)
		return -1;
	s->line_len = strlen(text) + 1;
	text[s->line_len - 1] = '\n'; /* in place of the terminator */
	s->line = text;
	s->line_at = 0;
	return 0;
}

/* The next line into s->line: 1, 0 if there is none now, -1 without memory. */
static int next_line(struct stream *s)
{
	const struct ring *r = s->source->ring;
	uint64_t oldest = ring_oldest(r), seq = s->seq;
	const void *e;

	if (s->seq + 1 < oldest) {
		uint64_t lost = oldest - s->seq - 1;

		s->seq = oldest - 1;
		return set_line(s, json_pack("{s:I}", "lost", (json_int_t)lost)) < 0 ? -1 : 1;
	}
	e = ring_next(r, &seq, s->source->about, s->name[0] ? s->name : NULL);
	if (!e || (!s->follow && seq > s->last)) {
		s->seq = MAX(s->seq, ring_last(r));
		return 0;
	}
	s->seq = seq;
	return set_line(s, s->source->json(e)) < 0 ? -1 : 1;
}

static size_t take(struct stream *s, char *buf, size_t max)
{
	size_t n = MIN(max, s->line_len - s->line_at);

	memcpy(buf, s->line + s->line_at, n);
	s->line_at += n;
	if (s->line_at == s->line_len) {
		free(s->line);
		s->line = NULL;
	}
	return n;
}

static ssize_t produce(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = arg;
	size_t n = 0;
	int more = 1;

	(void)pos;
	if (s->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	while (n < max && more > 0) {
		if (!s->line)
			more = next_line(s);
		if (s->line)
			n += take(s, buf + n, max - n);
	}
	if (n > 0)
		return (ssize_t)n;
	if (more < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!s->follow || s->set->closing)
		return MHD_CONTENT_READER_END_OF_STREAM;
	s->suspended = true;
	MHD_suspend_connection(s->conn);
	return 0;
}

static void release(void *arg)
{
	struct stream *s = arg;

	DL_DELETE(s->set->streams, s);
	s->set->count--;
	free(s->line);
	free(s);
}

static void init_cursor(struct stream *s, const struct api_route *route)
{
	const struct ring *r = s->source->ring;

	s->last = ring_last(r);
	if (route->has_since) /* a seq not reached yet is one of an earlier run */
		s->seq = route->since <= s->last ? route->since : 0;
	else
		s->seq = ring_tail(r, route->limit, s->source->about, s->name[0] ? s->name : NULL);
}

struct MHD_Response *stream_open(struct stream_set *set, const struct stream_source *source,
				 struct MHD_Connection *conn, const struct api_route *route)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct stream *s = set->count < STREAM_MAX && info ? calloc(1, sizeof(*s)) : NULL;
	struct MHD_Response *response;

	if (!s)
		return NULL;
	s->set = set;
	s->source = source;
	s->conn = conn;
	s->fd = info->connect_fd;
	s->follow = route->follow;
	memcpy(s->name, route->name, sizeof(s->name));
	init_cursor(s, route);
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, produce, s, release);
	if (!response) {
		free(s);
		return NULL;
	}
	DL_APPEND(set->streams, s);
	set->count++;
	return response;
}

static bool resume(struct stream *s)
{
	if (!s->suspended)
		return false;
	s->suspended = false;
	MHD_resume_connection(s->conn);
	return true;
}

static bool ready_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) > 0 && (p.revents & (events | POLLHUP | POLLERR));
}

/* What it has not read is overwritten, and it still takes nothing. */
static bool hopeless(const struct stream *s)
{
	return !s->gone && !s->suspended && s->seq + 1 < ring_oldest(s->source->ring) &&
	       !ready_for(s->fd, POLLOUT);
}

bool stream_grew(struct stream_set *set, const struct ring *ring)
{
	struct stream *s;
	bool resumed = false;

	DL_FOREACH (set->streams, s) {
		if (s->source->ring != ring)
			continue;
		if (hopeless(s)) {
			s->gone = true;
			set->slow_readers++;
			shutdown(s->fd, SHUT_RDWR);
		}
		resumed |= resume(s);
	}
	return resumed;
}

bool stream_reap(struct stream_set *set)
{
	struct stream *s;
	bool resumed = false;

	DL_FOREACH (set->streams, s) {
		if (!s->suspended || !ready_for(s->fd, 0))
			continue;
		s->gone = true;
		resumed |= resume(s);
	}
	return resumed;
}

void stream_end_all(struct stream_set *set)
{
	struct stream *s;

	set->closing = true;
	DL_FOREACH (set->streams, s) {
		resume(s);
	}
}
