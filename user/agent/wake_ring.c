/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * head and tail run freely and wrap; head - tail is the fill. The release
 * store of one side pairs with the acquire load of the other, so a slot is
 * never read before it is written nor overwritten before it is read.
 */
#include "agent/wake_ring.h"

_Static_assert((WAKE_RING_SLOTS & (WAKE_RING_SLOTS - 1)) == 0, "power of two");

void wake_ring_init(struct wake_ring *r)
{
	atomic_init(&r->head, 0);
	atomic_init(&r->tail, 0);
	atomic_init(&r->dropped, 0);
}

bool wake_ring_push(struct wake_ring *r, const struct wake_note *note)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);

	if (head - tail == WAKE_RING_SLOTS) {
		atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
		return false;
	}
	r->slots[head % WAKE_RING_SLOTS] = *note;
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return true;
}

bool wake_ring_pop(struct wake_ring *r, struct wake_note *out)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);

	if (head == tail)
		return false;
	*out = r->slots[tail % WAKE_RING_SLOTS];
	atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	return true;
}

uint64_t wake_ring_dropped(const struct wake_ring *r)
{
	return atomic_load_explicit(&r->dropped, memory_order_relaxed);
}
