/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * File locks that a frozen process holds while somebody waits for them: the
 * freeze would stop the waiter too, so it is undone.
 */
#ifndef HEARTH_LOCKS_H
#define HEARTH_LOCKS_H

#include <sys/types.h>

/*
 * The holder of a lock in PROCROOT/locks that others wait for and that lives in
 * the cgroup `path` or below, other than its own processes waiting on each
 * other; 0: there is none, or the file cannot be read.
 */
pid_t locks_blocking(const char *procroot, const char *path);

#endif
