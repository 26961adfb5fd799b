/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A log of fixed size: entries of one size, numbered 1, 2, ...; the newest push
 * out the oldest. An append is O(1) and never fails; whoever reads keeps the
 * number of the last entry read and sees by ring_oldest() what was pushed out.
 */
#ifndef HEARTH_LIB_RING_H
#define HEARTH_LIB_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

/* At least one entry. NULL without memory; pages are touched as entries come. */
struct ring *ring_new(size_t size, size_t entry_bytes);
void ring_free(struct ring *r);

/* Copy an entry in, then tell the subscriber. Returns its number. */
uint64_t ring_append(struct ring *r, const void *entry);

/* Held entries are oldest .. last (both 0 while empty). */
uint64_t ring_oldest(const struct ring *r);
uint64_t ring_last(const struct ring *r);
size_t ring_size(const struct ring *r);

/* NULL if seq is no longer or not yet held. Valid until the next append. */
const void *ring_get(const struct ring *r, uint64_t seq);

/* Is the entry about the name? */
typedef bool (*ring_about_fn)(const void *entry, const char *name);

/* First held entry after *seq that is about name (NULL: any), and its number. NULL: none. */
const void *ring_next(const struct ring *r, uint64_t *seq, ring_about_fn about, const char *name);

/* Number after which exactly the newest `limit` entries about name follow. */
uint64_t ring_tail(const struct ring *r, size_t limit, ring_about_fn about, const char *name);

/* Called after each append, from within it; one subscriber, NULL ends it. */
typedef void (*ring_notify_fn)(const struct ring *r, void *arg);
void ring_subscribe(struct ring *r, ring_notify_fn fn, void *arg);

#endif
