/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard: a small separate process in a cgroup of its own that thaws all
 * that hearthd froze when hearthd dies, is stopped or hangs, within a second.
 * Invariant: it undoes only freezes that the guard table names.
 *
 * hearthd spawns it (same executable, `hearthd --guard ...`) and freezes
 * nothing unless guard_alive() says GUARD_WATCHING. No message is needed at
 * exit: hearthd thaws, exits, and the guard follows.
 */
#ifndef HEARTH_GUARD_H
#define HEARTH_GUARD_H

#include <stdint.h>
#include <sys/types.h>

#include "agent/guard_table.h"

struct guard_options {
	const char *run_dir; /* its guard.table exists already */
	int priority;        /* SCHED_FIFO priority, 0 = stay with the normal scheduler */
};

/*
 * Start a guard for this process. Does not wait for it: it becomes
 * GUARD_WATCHING once it is in place (at once, unless a predecessor's guard
 * still has to finish). The caller owns the pidfd.
 */
int guard_spawn(const struct guard_options *o, pid_t *pid, int *pidfd);

enum guard_health {
	GUARD_DEAD,     /* exited (and reaped): close the pidfd, spawn another, freeze nothing */
	GUARD_STARTING, /* not in place yet, stuck, or has not heard us: freeze nothing */
	GUARD_WATCHING,
};

/* Never blocks; cheap enough to ask before every freeze. */
enum guard_health guard_alive(const struct guard_table *t, pid_t pid, int pidfd);

/*
 * The whole of `hearthd --thaw` (ExecStopPost): thaw what a dead hearthd left
 * behind, and remove the cgroup of a dead guard. Says what it did. 0 or -errno.
 */
int guard_thaw_leftovers(const char *run_dir);

/* main() of the guard, called when argv[1] is "--guard". Returns the exit status. */
int guard_main(int argc, char **argv);

#endif
