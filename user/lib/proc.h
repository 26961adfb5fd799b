/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few facts about processes that are read from procfs. A process that is
 * gone is a normal result: -ESRCH. procroot is "/proc" outside tests.
 */
#ifndef HEARTH_LIB_PROC_H
#define HEARTH_LIB_PROC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A pidfd (close-on-exec) or -errno. */
int proc_pidfd_open(pid_t pid);

/* One letter as in proc(5): R S D T t Z X I. */
int proc_state(const char *procroot, pid_t pid, char *state);

/* Clock ticks from boot to the start: with the pid it names one process for ever. */
int proc_start_time(const char *procroot, pid_t pid, uint64_t *ticks);

/*
 * The process's cgroup2 path without leading slash ("" = the root), as seen from
 * the reader's cgroup namespace. -ENODATA if it has none.
 */
int proc_cgroup_v2_path(const char *procroot, pid_t pid, char *path, size_t size);

#endif
