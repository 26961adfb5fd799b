/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How the wake thread tells the main thread what it did: a lock-free ring with
 * one producer and one consumer. A push never waits, allocates or makes a
 * system call; when the main thread lags, notes are dropped and counted.
 */
#ifndef HEARTH_WAKE_RING_H
#define HEARTH_WAKE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define WAKE_RING_SLOTS 1024u /* power of two; a burst of wakes between two ticks */

struct wake_note {
	uint64_t asked_ns; /* the kernel's event; 0: found by the scan */
	uint64_t done_ns;  /* thawed, or gave up */
	uint64_t cgid;
	uint32_t slot;
	uint32_t gen;
	uint32_t cause; /* enum hearth_wake_cause, 0: found by the scan */
	int32_t error;  /* positive errno of the thaw, 0 = it worked */
};

struct wake_ring {
	_Alignas(64) _Atomic uint32_t head; /* next to write: wake thread */
	_Atomic uint64_t dropped;
	_Alignas(64) _Atomic uint32_t tail; /* next to read: main thread */
	struct wake_note slots[WAKE_RING_SLOTS];
};

void wake_ring_init(struct wake_ring *r);

/* Wake thread. False if the ring is full: counted. */
bool wake_ring_push(struct wake_ring *r, const struct wake_note *note);

/* Main thread. False if there is nothing to read. */
bool wake_ring_pop(struct wake_ring *r, struct wake_note *out);

uint64_t wake_ring_dropped(const struct wake_ring *r);

#endif
