/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Swap for a test: what the host has, else an unused zram0 that is set up here and
 * reset by swap_done. One test at a time: a lock file. Includes come before it.
 */
#ifndef HEARTH_TEST_SWAP_FIXTURE_H
#define HEARTH_TEST_SWAP_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/swap.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/util.h"

#define ZRAM      "/sys/block/zram0"
#define SWAP_LOCK "/tmp/hearth-zram.lock"

static int swap_lock_fd = -1;
static bool swap_is_ours;

static uint64_t swap_free_bytes(void)
{
	unsigned long long kb = 0;
	char text[8192];
	const char *p;

	if (read_file_at(AT_FDCWD, "/proc/meminfo", text, sizeof(text)) < 0)
		return 0;
	p = strstr(text, "SwapFree:");
	return p && sscanf(p, "SwapFree: %llu", &kb) == 1 ? kb * 1024 : 0;
}

static bool swap_lock(void)
{
	uint64_t deadline = now_ns() + 120 * NSEC_PER_SEC;

	swap_lock_fd = open(SWAP_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	while (swap_lock_fd >= 0 && flock(swap_lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (now_ns() > deadline)
			return false;
		usleep(10000);
	}
	return swap_lock_fd >= 0;
}

/* NULL: there is at least so much swap now; else why not. */
static const char *swap_init(uint64_t bytes)
{
	char size[32];

	if (geteuid() != 0)
		return "needs root: sets up swap and freezes a cgroup";
	if (!swap_lock())
		return "another test holds the swap lock";
	if (swap_free_bytes() >= bytes)
		return NULL;
	if (read_file_at(AT_FDCWD, ZRAM "/disksize", size, sizeof(size)) < 0 || atoll(size))
		return "too little swap, and no unused zram0";
	snprintf(size, sizeof(size), "%llu", (unsigned long long)(bytes + (4 << 20)));
	write_file_at(AT_FDCWD, ZRAM "/comp_algorithm", "lz4");
	if (write_file_at(AT_FDCWD, ZRAM "/disksize", size) < 0 ||
	    system("mkswap /dev/zram0 >/dev/null") != 0 || swapon("/dev/zram0", 0) < 0) {
		write_file_at(AT_FDCWD, ZRAM "/reset", "1");
		return "zram0 cannot be used as swap";
	}
	swap_is_ours = true;
	return NULL;
}

static void swap_done(void)
{
	if (swap_is_ours && swapoff("/dev/zram0") == 0)
		write_file_at(AT_FDCWD, ZRAM "/reset", "1");
	swap_is_ours = false;
	if (swap_lock_fd >= 0)
		close(swap_lock_fd);
	swap_lock_fd = -1;
}

#endif
