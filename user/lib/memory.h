/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a cgroup keeps, nested cgroups included. With the memory controller the
 * kernel's own account is read, in tens of microseconds; without it, that of
 * its processes. A cgroup that vanished is -ENOENT.
 */
#ifndef HEARTH_LIB_MEMORY_H
#define HEARTH_LIB_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/swap.h"

struct memory_use {
	uint64_t anon_bytes;     /* resident, anonymous */
	uint64_t file_bytes;     /* resident, of files and shared memory */
	uint64_t swap_bytes;     /* paged out, uncompressed: what a wake may have to bring back */
	uint64_t zswapped_bytes; /* the part of it that zswap holds, uncompressed */
	uint64_t zswap_bytes;    /* RAM that zswap needs for that part; included in current */
	uint64_t kernel_bytes;   /* page tables, stacks, slab, zswap's copies */
	uint64_t current_bytes;  /* all of the above that is RAM */
	bool accounted;          /* by the controller; else kernel and zswap are unknown: 0 */
};

/*
 * What a loop over all instances can pay for: what is resident (current where the
 * controller is on, else the sum of its processes), and what is in swap.
 */
int memory_glance(int dirfd, uint64_t *resident_bytes, uint64_t *swap_bytes);

/* By memory.stat and its like. -EOPNOTSUPP if the controller is off here. */
int memory_of_cgroup(int dirfd, struct memory_use *out);

/*
 * By smaps_rollup of every process below: each of its pages is looked at, so
 * this takes milliseconds per 100 MB. A page shared with others counts in
 * parts. Processes that vanish are left out.
 */
int memory_of_processes(int dirfd, struct memory_use *out);

/*
 * What a process has in common with those that it was forked from or has forked:
 * its anonymous memory, in swap too, less its proportional part of that.
 */
int memory_shared_by_fork(pid_t pid, uint64_t *bytes);

/* The better of the two that works here. */
int memory_read(int dirfd, struct memory_use *out);

/* One number each, for loops that cannot pay for more; -EOPNOTSUPP as above. */
int memory_current(int dirfd, uint64_t *bytes);
int memory_swapped(int dirfd, uint64_t *bytes); /* 0 bytes where the kernel has no swap */

/* The host's RAM, as far as the kernel hands it out. */
uint64_t memory_total(void);

/* Bytes that a reclaim could return: what is resident and not the kernel's. */
static inline uint64_t memory_resident(const struct memory_use *m)
{
	return m->anon_bytes + m->file_bytes;
}

/* RAM that zswap and zram keep of its swapped bytes: by account, else by ratio. */
uint64_t memory_kept(const struct memory_use *m, const struct swap_use *swap);

/* RAM it costs the host: what is resident, the kernel's part, and what is kept. */
uint64_t memory_cost(const struct memory_use *m, const struct swap_use *swap);

#endif
