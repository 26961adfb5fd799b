/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * memory.high of a cgroup, lowered for a moment. The value to put back is noted
 * in an attribute of the cgroup first, so that whoever comes after a process that
 * died in between can put it back. Allocates nothing and does not log.
 */
#ifndef HEARTH_LIB_MEMORY_HIGH_H
#define HEARTH_LIB_MEMORY_HIGH_H

#include <stdint.h>

/*
 * Lower it to bytes, which takes the memory there and then, and put it back at
 * once. 0 or -errno; -EEXIST: somebody's note is there, recover first.
 */
int memory_high_squeeze(int dirfd, uint64_t bytes);

/* 1: put back what a note says, 0: there is none, or -errno. */
int memory_high_recover(int dirfd);

#endif
