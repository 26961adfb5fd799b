/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * File access to the cgroup2 tree through directory fds. Cgroups are compared
 * by id, never by path. One that vanished is a normal result: every function
 * says -ENOENT then, whatever the kernel said (ENOENT, ENODEV, ESTALE).
 */
#ifndef HEARTH_LIB_CGROUP_H
#define HEARTH_LIB_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Find the cgroup2 mount in PROCROOT/self/mountinfo and open it. A mount of the
 * whole hierarchy is preferred to one of a part. -ENOENT if there is none,
 * -ENAMETOOLONG if its path does not fit.
 */
int cgroup_root_open(const char *procroot, int *fd, char *path, size_t path_size);

/* Directory fd of a cgroup by path below rootfd ("" = the root itself), or -errno. */
int cgroup_open(int rootfd, const char *path);

/* Directory fd of a cgroup by id, or -errno. Needs CAP_DAC_READ_SEARCH. */
int cgroup_open_by_id(int rootfd, uint64_t id);

int cgroup_id_of_fd(int fd, uint64_t *id);

/* Path below rootfd without leading slash ("" = the root itself). */
int cgroup_path_of_fd(int rootfd, int fd, char *path, size_t size);

/*
 * Called for a cgroup before its children. The fd is closed after the call and
 * its children. 0: go on, > 0: leave its children out, < 0: stop the walk with it.
 */
typedef int (*cgroup_walk_fn)(int fd, uint64_t id, const char *path, void *arg);

/* Visit `path` below rootfd and all its descendants; those that vanish are left out. */
int cgroup_walk(int rootfd, const char *path, cgroup_walk_fn fn, void *arg);

int cgroup_freeze_write(int fd, bool freeze);
int cgroup_read_freeze(int fd);    /* what was asked for: 0, 1 or -errno */
int cgroup_read_frozen(int fd);    /* what is: 0, 1 or -errno */
int cgroup_read_populated(int fd); /* has live tasks, also below: 0, 1 or -errno */
int cgroup_cpu_usec(int fd, uint64_t *usec);

/* SIGKILL for every process, also below and also frozen ones. It does not wait for them. */
int cgroup_kill(int fd);

/* Call fn for every process; a nonzero result stops and is returned. */
typedef int (*cgroup_proc_fn)(pid_t pid, void *arg);
int cgroup_procs(int fd, cgroup_proc_fn fn, void *arg);

#endif
