/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Swap for a test: a zram of its own, preferred over what the host has, removed at
 * the end. open_swap and close_swap fit cmocka's group set-up and tear-down. One
 * test of a host at a time: a lock file, for others may want "no swap", or a ratio
 * of their own.
 */
#ifndef HEARTH_TEST_SWAP_FIXTURE_H
#define HEARTH_TEST_SWAP_FIXTURE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/swap.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/util.h"

#define SWAP_LOCK "/tmp/hearth-zram.lock"

static int swap_lock_fd = -1, swap_zram = -1;
static char swap_device[32];

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

static bool swap_add(void)
{
	char text[128], path[64];

	if (read_file_at(AT_FDCWD, "/sys/class/zram-control/hot_add", text, sizeof(text)) < 0)
		return false;
	swap_zram = atoi(text);
	snprintf(swap_device, sizeof(swap_device), "/dev/zram%d", swap_zram);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", swap_zram);
	snprintf(text, sizeof(text), "mkswap -q %s", swap_device);
	return write_file_at(AT_FDCWD, path, "512M") >= 0 && system(text) == 0 &&
	       swapon(swap_device, SWAP_FLAG_PREFER | 1000) == 0;
}

static const char *no_swap; /* what is missing, or NULL: there are 512 MB */

static int open_swap(void **state)
{
	(void)state;
	if (!swap_lock())
		no_swap = "the lock " SWAP_LOCK ", which somebody holds";
	else if (!swap_add())
		no_swap = "a zram of its own (root, CONFIG_ZRAM)";
	return 0;
}

static int close_swap(void **state)
{
	char number[16];

	(void)state;
	if (swap_zram >= 0) {
		swapoff(swap_device);
		snprintf(number, sizeof(number), "%d", swap_zram);
		write_file_at(AT_FDCWD, "/sys/class/zram-control/hot_remove", number);
	}
	if (swap_lock_fd >= 0)
		close(swap_lock_fd);
	return 0;
}

#endif
