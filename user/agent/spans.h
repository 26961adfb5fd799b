/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Busy spans of functions, as they close: what `hearth record` writes down. A
 * ring of the newest; nobody who reads it can hold the agent up. Invariant: for
 * every function, spans told plus spans told as lost are all that the kernel
 * counted, in order.
 */
#ifndef HEARTH_SPANS_H
#define HEARTH_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hearth/event.h"
#include "lib/ring.h"

struct function;

#define SPANS_KEPT 8192 /* more than one full events ring holds while the load is even */

struct span {
	uint64_t seq;      /* its number in the ring */
	uint64_t begin_ns; /* Unix time */
	uint64_t end_ns;
	uint64_t lost;       /* > 0: so many spans of the function are missing here */
	double memory_bytes; /* of all its instances; NAN: unknown */
	enum hearth_start start;
	char function[128];
};

/* What is known of a function's current span. */
struct span_track {
	uint64_t begin_ns;     /* 0: no begin seen yet */
	uint64_t memory_at_ns; /* 0: never looked */
	double memory_bytes;
	uint16_t last; /* number of the newest span told, or open; low bits of busy_spans */
	uint16_t counted;
	bool counted_idle;
	bool open;
	enum hearth_start start;
};

struct spans;

/* wall_offset_ns: Unix time minus monotonic time. NULL without memory. */
struct spans *spans_new(size_t size, uint64_t wall_offset_ns);
void spans_free(struct spans *s);

/* The ring of struct span. */
struct ring *spans_ring(const struct spans *s);

/* For the ring: is the entry about a function that the glob names? */
bool spans_about(const void *entry, const char *glob);

/* Take note of a HEARTH_EV_BUSY or HEARTH_EV_IDLE; others are ignored. */
void spans_event(struct spans *s, struct function *fn, const struct hearth_event *ev);

/* The function begins here: its kernel counter may come from an earlier agent. */
void spans_start(struct function *fn, const struct hearth_function *slot);

/*
 * Kernel events were dropped: keep the counters in mind, empty the events ring,
 * then tell what never came as lost.
 */
void spans_count(struct function *all, const struct hearth_function *slots);
void spans_settle(struct spans *s, struct function *all);

/* Of all its instances, read at most once a second; without one, what was found last. */
double spans_memory(struct function *fn);

/* "cold", "warm", "lukewarm" */
const char *spans_start_name(enum hearth_start start);

#endif
