/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth-load: replays rows of an invocation trace as HTTP requests, each row
 * to one function, and counts what came back. Every arrival of the trace is
 * sent exactly once and never again: `sent` is what a server must have seen.
 */
#ifndef HEARTH_DEMO_LOAD_H
#define HEARTH_DEMO_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

/* What a request found when it was sent: only the first two are compared. */
enum found {
	FOUND_FROZEN, /* the instance's cgroup was frozen */
	FOUND_WARM,   /* thawed, and nothing else in flight */
	FOUND_BUSY,
	FOUND_KINDS
};

struct samples {
	uint32_t *us;
	size_t n, size;
};

struct conn;

struct target {
	char name[64];
	struct sockaddr_storage addr;
	char path[108]; /* Unix socket; empty: TCP */
	bool keep_alive;
	unsigned int row; /* of the trace, from 0 */
	int events_fd;    /* cgroup.events of its instance */
	char *request;
	size_t request_len;
	unsigned int inflight;
	struct conn *idle; /* most recently used first */
	uint64_t sent, ok, failed;
	char error[128]; /* of the first failure */
	struct samples latency[FOUND_KINDS];
};

struct arrival {
	uint64_t at_ns; /* since the start of the replay */
	uint32_t target;
};

struct window {
	double from_s, span_s; /* stretch of the trace */
	double speed;          /* trace seconds per second */
	unsigned int seed;
};

/* targets.c: reads the targets file; ends the program with a message if it is bad. */
struct target *targets_read(const char *path, size_t *n);
void targets_free(struct target *t, size_t n);

/* schedule.c: arrivals of the targets' rows in time order; ends the program on a bad trace. */
struct arrival *schedule_make(const char *trace, const struct target *t, size_t n_targets,
			      const struct window *w, size_t *n);

/* exchange.c: sends one request now; closes what is idle. */
void exchange_send(uv_loop_t *loop, struct target *t);
void exchange_close_idle(struct target *t);

/* report.c: the result as JSON on stdout. */
void report_add(struct samples *s, uint64_t ns);
int report_print(struct target *t, size_t n, double seconds);

#endif
