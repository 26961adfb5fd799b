/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Entry seq lives in slot seq % size, so looking one up needs no search. Rings
 * are small enough that filtering by name is a plain scan.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/ring.h"

struct ring {
	char *slots;
	size_t size, bytes;
	uint64_t last; /* newest entry, 0 = none */
	ring_notify_fn notify;
	void *notify_arg;
};

struct ring *ring_new(size_t size, size_t entry_bytes)
{
	struct ring *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->size = size ? size : 1;
	r->bytes = entry_bytes;
	r->slots = calloc(r->size, r->bytes);
	if (!r->slots) {
		free(r);
		return NULL;
	}
	return r;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	free(r->slots);
	free(r);
}

static char *slot_of(const struct ring *r, uint64_t seq)
{
	return r->slots + (seq % r->size) * r->bytes;
}

uint64_t ring_append(struct ring *r, const void *entry)
{
	memcpy(slot_of(r, ++r->last), entry, r->bytes);
	if (r->notify)
		r->notify(r, r->notify_arg);
	return r->last;
}

uint64_t ring_last(const struct ring *r)
{
	return r->last;
}

uint64_t ring_oldest(const struct ring *r)
{
	if (r->last <= r->size)
		return r->last ? 1 : 0;
	return r->last - r->size + 1;
}

size_t ring_size(const struct ring *r)
{
	return r->size;
}

const void *ring_get(const struct ring *r, uint64_t seq)
{
	if (seq == 0 || seq > r->last || seq < ring_oldest(r))
		return NULL;
	return slot_of(r, seq);
}

const void *ring_next(const struct ring *r, uint64_t *seq, ring_about_fn about, const char *name)
{
	uint64_t oldest = ring_oldest(r), at;

	if (*seq >= r->last)
		return NULL;
	for (at = *seq + 1 < oldest ? oldest : *seq + 1; at <= r->last; at++) {
		const void *entry = slot_of(r, at);

		if (!name || about(entry, name)) {
			*seq = at;
			return entry;
		}
	}
	return NULL;
}

uint64_t ring_tail(const struct ring *r, size_t limit, ring_about_fn about, const char *name)
{
	uint64_t oldest = ring_oldest(r), seq = r->last;

	for (; limit > 0 && seq >= oldest && seq > 0; seq--)
		if (!name || about(slot_of(r, seq), name))
			limit--;
	return seq;
}

void ring_subscribe(struct ring *r, ring_notify_fn fn, void *arg)
{
	r->notify = fn;
	r->notify_arg = arg;
}
