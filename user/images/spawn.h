/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Start a program inside a cgroup: born there, with the owner's ids and no
 * descriptor but those named. The child of a process with threads: between
 * clone3() and execve() it makes nothing but plain system calls.
 */
#ifndef HEARTH_IMAGES_SPAWN_H
#define HEARTH_IMAGES_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define SPAWN_FD     3   /* what keep_fd becomes */
#define SPAWN_FAILED 126 /* exit status if a step before the exec failed; 127: the exec did */

struct spawn {
	int cgroup_fd;
	int stdio[3]; /* -1: /dev/null */
	int keep_fd;  /* -1: none */
	uid_t uid;
	gid_t gid;
	const char *directory; /* NULL: "/" */
	char *const *argv;     /* argv[0] is a path */
	char *const *env;
	bool die_with_parent;       /* SIGKILL when this process ends */
	uint64_t address_bytes;     /* RLIMIT_AS; 0: as it is here */
	const struct rlimit *files; /* RLIMIT_NOFILE: it may have been raised here */
};

/* 0 or what clone3 said. What fails later is a line on stdio[2] and the exit status. */
int spawn(const struct spawn *s, pid_t *pid, int *pidfd);
/* That, in words. */
const char *spawn_reason(int err);

#endif
