/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events carry the low bits of the function's busy_spans, so a gap in the
 * numbers is the number of spans nobody told of. A span whose end was not told
 * yet (two CPUs raced), or never (no rule names its instance any more), still
 * has one: the next busy edge says how long the function had been idle.
 */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/registry.h"
#include "agent/spans.h"
#include "lib/clock.h"
#include "lib/memory.h"
#include "lib/util.h"

#define MEMORY_NS NSEC_PER_SEC /* between two looks at a function's memory */

struct spans {
	struct ring *ring;
	uint64_t wall_offset_ns;
};

struct spans *spans_new(size_t size, uint64_t wall_offset_ns)
{
	struct spans *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->wall_offset_ns = wall_offset_ns;
	s->ring = ring_new(size, sizeof(struct span));
	if (s->ring)
		return s;
	free(s);
	return NULL;
}

void spans_free(struct spans *s)
{
	if (!s)
		return;
	ring_free(s->ring);
	free(s);
}

struct ring *spans_ring(const struct spans *s)
{
	return s->ring;
}

bool spans_about(const void *entry, const char *glob)
{
	return !fnmatch(glob, ((const struct span *)entry)->function, FNM_NOESCAPE);
}

const char *spans_start_name(enum hearth_start start)
{
	static const char *const NAMES[] = {
	    [HEARTH_START_WARM] = "warm",
	    [HEARTH_START_COLD] = "cold",
	    [HEARTH_START_LUKEWARM] = "lukewarm",
	};

	return (size_t)start < ARRAY_SIZE(NAMES) ? NAMES[start] : "warm";
}

double spans_memory(struct function *fn)
{
	struct span_track *t = &fn->span;
	uint64_t now = now_ns(), bytes, swapped;
	const struct instance *i;
	double sum = NAN;

	if (t->memory_at_ns && now < t->memory_at_ns + MEMORY_NS)
		return t->memory_bytes;
	for (i = fn->instances; i; i = i->next)
		if (!memory_glance(i->fd, &bytes, &swapped))
			sum = (isnan(sum) ? 0 : sum) + (double)bytes;
	if (!t->memory_at_ns || fn->instances)
		t->memory_bytes = sum;
	t->memory_at_ns = now;
	return t->memory_bytes;
}

static void put(struct spans *s, const struct function *fn, struct span *span)
{
	span->seq = ring_last(s->ring) + 1;
	snprintf(span->function, sizeof(span->function), "%s", fn->name);
	ring_append(s->ring, span);
}

static void tell(struct spans *s, struct function *fn, uint64_t end_ns)
{
	struct span_track *t = &fn->span;
	struct span span = {
	    .begin_ns = t->begin_ns + s->wall_offset_ns,
	    /* Hooks read two clocks, one coarser by a few ms. */
	    .end_ns = MAX(end_ns, t->begin_ns) + s->wall_offset_ns,
	    .memory_bytes = spans_memory(fn),
	    .start = t->start,
	};

	t->open = false;
	put(s, fn, &span);
}

static void tell_lost(struct spans *s, struct function *fn, int n)
{
	if (n > 0)
		put(s, fn, &(struct span){.lost = (uint64_t)n, .memory_bytes = NAN});
}

/* How far one number is ahead of another; negative: it is an older one. */
static int ahead(uint16_t a, uint16_t b)
{
	return (int16_t)(a - b);
}

static void on_busy(struct spans *s, struct function *fn, const struct hearth_event *ev)
{
	struct span_track *t = &fn->span;
	int unseen = ahead(ev->span, t->last);

	if (unseen <= 0 && t->begin_ns)
		return; /* overtaken by a later one: it was told as lost */
	if (t->open && unseen == 1)
		tell(s, fn, ev->ts_ns - ev->value);
	tell_lost(s, fn, MAX(unseen - 1, 0) + t->open);
	t->last = ev->span;
	t->open = true;
	t->begin_ns = ev->ts_ns;
	t->start = ev->start;
}

static void on_idle(struct spans *s, struct function *fn, const struct hearth_event *ev)
{
	struct span_track *t = &fn->span;
	int unseen = ahead(ev->span, t->last);

	if (t->open && !unseen)
		return tell(s, fn, ev->ts_ns);
	if (unseen <= 0 && t->begin_ns)
		return; /* overtaken by the next begin, which told it */
	/* Its begin was told to nobody, or to the agent before this one. */
	tell_lost(s, fn, unseen > 0 ? unseen + t->open : 1);
	t->last = ev->span;
	t->open = false;
}

void spans_event(struct spans *s, struct function *fn, const struct hearth_event *ev)
{
	if (ev->type == HEARTH_EV_BUSY)
		on_busy(s, fn, ev);
	else if (ev->type == HEARTH_EV_IDLE)
		on_idle(s, fn, ev);
}

void spans_start(struct function *fn, const struct hearth_function *slot)
{
	fn->span = (struct span_track){.last = (uint16_t)slot->busy_spans};
}

void spans_count(struct function *all, const struct hearth_function *slots)
{
	struct function *fn, *tmp;

	HASH_ITER (hh, all, fn, tmp) {
		fn->span.counted_idle = slots[fn->index].busy <= 0;
		fn->span.counted = (uint16_t)slots[fn->index].busy_spans;
	}
}

void spans_settle(struct spans *s, struct function *all)
{
	struct function *fn, *tmp;

	HASH_ITER (hh, all, fn, tmp) {
		struct span_track *t = &fn->span;
		int unseen = ahead(t->counted, t->last);

		/* The newest may still run: its end will be told, and counted then. */
		if (unseen > 0 && !t->counted_idle)
			unseen--;
		if (unseen < 0 || (!unseen && !(t->open && t->counted_idle)))
			continue;
		tell_lost(s, fn, unseen + t->open);
		t->last += (uint16_t)unseen;
		t->open = false;
	}
}
