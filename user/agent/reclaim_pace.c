/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Arithmetic only; saturating where sizes may be "all". */
#include "agent/reclaim_pace.h"
#include "lib/util.h"

#define PAGE UINT64_C(4096) /* of bytes asked: a larger page size only rounds up more */

static uint64_t clamp(uint64_t v)
{
	return MIN(MAX(v, PACE_MIN), PACE_MAX);
}

static uint64_t scaled(uint64_t v, double factor)
{
	return clamp((uint64_t)((double)v * factor));
}

void pace_init(struct pace *p, uint64_t want_bytes, uint64_t first_bytes, uint64_t rate,
	       uint64_t now)
{
	*p = (struct pace){
	    .want_bytes = want_bytes,
	    .rate = rate,
	    .begun_ns = now,
	    .batch_bytes = clamp(first_bytes ? first_bytes : PACE_FIRST),
	};
}

uint64_t pace_next(const struct pace *p)
{
	uint64_t left = p->want_bytes - MIN(p->want_bytes, p->returned_bytes);

	return (MIN(left, p->batch_bytes) + PAGE - 1) / PAGE * PAGE;
}

uint64_t pace_wait_ns(const struct pace *p, uint64_t now)
{
	uint64_t due;

	if (!p->rate)
		return 0;
	due = p->begun_ns + s_to_ns((double)p->swapped_bytes / (double)p->rate);
	return due > now ? due - now : 0;
}

void pace_done(struct pace *p, const struct pace_batch *b)
{
	uint64_t took = MAX(b->took_ns, UINT64_C(1));
	double factor = (double)PACE_TARGET_NS / (double)took;

	/* A batch cut down to what was left can say "too much", but not "too little". */
	if (factor < 1)
		p->batch_bytes = scaled(MIN(b->asked_bytes, p->batch_bytes), MAX(factor, 0.5));
	else if (b->asked_bytes >= p->batch_bytes)
		p->batch_bytes = scaled(p->batch_bytes, MIN(factor, 1.25));
	p->returned_bytes += b->returned_bytes;
	p->swapped_bytes += b->swapped_bytes;
	p->batches++;
	if (b->returned_bytes < b->asked_bytes / PACE_IDLE_SHARE)
		p->idle++;
	else
		p->idle = 0;
}

bool pace_exhausted(const struct pace *p)
{
	return p->idle >= PACE_IDLE_MAX;
}
