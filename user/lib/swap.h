/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The host's swap as one snapshot. zram and zswap keep swapped bytes in RAM,
 * compressed: they count as memory, and the ratio says with how much of it.
 */
#ifndef HEARTH_LIB_SWAP_H
#define HEARTH_LIB_SWAP_H

#include <stdbool.h>
#include <stdint.h>

struct swap_use {
	uint64_t total_bytes;
	uint64_t free_bytes;
	uint64_t disk_bytes;      /* size of the swaps that are no zram */
	uint64_t disk_used_bytes; /* paged out to them; zswap may hold some of it */
	unsigned int zrams;       /* active swaps on zram */
	uint64_t zram_orig_bytes; /* stored in them, uncompressed */
	uint64_t zram_compressed_bytes;
	uint64_t zram_ram_bytes;   /* RAM they take for it, fragmentation included */
	uint64_t zram_limit_bytes; /* most RAM they may take together; 0: one has no limit */
	bool zswap;                /* new swapped pages go to zswap first */
	uint64_t zswap_orig_bytes; /* stored in it, uncompressed */
	uint64_t zswap_ram_bytes;
	bool next_is_disk; /* the next byte goes to disk: of free swaps, the highest priority */
};

/* Roots are "/proc" and "/sys" outside tests. 0 or -errno; no swap is not an error. */
int swap_read(const char *procroot, const char *sysroot, struct swap_use *out);

/*
 * RAM that one more swapped byte keeps, 0..1: 0 for disk; what zswap or zram
 * have measured, if they hold enough to tell, else SWAP_RATIO_UNMEASURED.
 * below_zswap: of a byte that zswap does not hold.
 */
double swap_ratio(const struct swap_use *s, bool below_zswap);

#define SWAP_RATIO_UNMEASURED 0.4 /* lzo on mixed heaps keeps between a third and a half */

#endif
