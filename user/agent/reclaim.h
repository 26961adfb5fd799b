/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes memory from one frozen instance: blocking, in batches of about 5 ms, on
 * a worker thread. Three methods, the first that works here:
 *   1. memory.reclaim; without swap as `swappiness=0`, where the kernel has it;
 *   2. process_madvise(MADV_PAGEOUT) on private mappings of its processes;
 *   3. memory.high lowered for the length of a batch.
 *
 * Invariant: before each batch the cgroup is seen frozen and not cancelled; at
 * most one batch runs on after either changes. memory.swap.max is never
 * changed, memory.high only between a note and its removal (lib/memory_high.h).
 */
#ifndef HEARTH_RECLAIM_H
#define HEARTH_RECLAIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/memory.h"

enum reclaim_method {
	RECLAIM_NONE, /* nothing was to be done */
	RECLAIM_CGROUP,
	RECLAIM_MADVISE,
	RECLAIM_SQUEEZE,
};

const char *reclaim_method_name(enum reclaim_method m);

#define RECLAIM_ALL UINT64_MAX

struct reclaim_options {
	uint64_t want_bytes;        /* stop when so much is returned; RECLAIM_ALL: all there is */
	bool swap;                  /* anonymous memory may go too; false: file pages only */
	uint64_t batch_bytes;       /* of the first batch; 0: the default. Adapts to about 5 ms */
	uint64_t swap_bytes_per_s;  /* most anonymous bytes per second; 0: no cap */
	const _Atomic bool *cancel; /* may be NULL. After setting it, send the thread a signal */
};

struct reclaim_result {
	enum reclaim_method method;
	struct memory_use before, after;
	uint64_t returned_bytes; /* drop of what is resident */
	uint64_t kept_bytes;     /* RAM that zswap or zram keep of it: returned - kept is free */
	uint64_t took_ns;
	unsigned int batches;
	bool cancelled; /* cancelled, or no longer frozen */
	bool partial;   /* nothing more came before want_bytes were returned; never of all */
	int error;      /* negative errno that ended it after it began; 0: none */
};

/*
 * 0: *out says what was done, however little. -EBUSY: not frozen, nothing done.
 * -ENOENT: gone, or dirfd is not cgroup cgid. -EOPNOTSUPP: no method works here.
 *
 * The caller's thread must have a handler without SA_RESTART for the signal that
 * goes with a cancel: it interrupts the kernel in the middle of a batch of
 * method 1 and 3. Method 2 is cancelled between batches.
 *
 * Without the controller, pages that several processes map stay (MADV_PAGEOUT
 * leaves them), and so does shared memory.
 */
int reclaim_run(int dirfd, uint64_t cgid, const struct reclaim_options *options,
		struct reclaim_result *out);

#endif
