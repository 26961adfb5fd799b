/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * /proc/locks lists a holder as "7: FLOCK ADVISORY WRITE 123 ..." and each
 * waiter behind it as "7: -> FLOCK ADVISORY WRITE 456 ...".
 */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/locks.h"
#include "lib/proc.h"
#include "lib/util.h"

static bool lives_in(const char *procroot, pid_t pid, const char *path)
{
	size_t n = strlen(path);
	char found[PATH_MAX];

	return pid > 0 && !proc_cgroup_v2_path(procroot, pid, found, sizeof(found)) &&
	       !strncmp(found, path, n) && (found[n] == '\0' || found[n] == '/');
}

/* The line's process; waits: it is a waiter's. False: not a line of a lock. */
static bool parse_line(const char *line, bool *waits, pid_t *pid)
{
	const char *rest = strchr(line, ':');
	int found;

	if (!rest)
		return false;
	rest += 1 + strspn(rest + 1, " ");
	*waits = !strncmp(rest, "->", 2);
	if (*waits)
		rest += 2;
	if (sscanf(rest, " %*s %*s %*s %d", &found) != 1)
		return false;
	*pid = found;
	return true;
}

pid_t locks_blocking(const char *procroot, const char *path)
{
	_cleanup_fclose_ FILE *f = NULL;
	pid_t holder = 0, pid;
	char name[PATH_MAX], line[512];
	bool waits;

	snprintf(name, sizeof(name), "%s/locks", procroot);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (!parse_line(line, &waits, &pid))
			continue;
		if (!waits)
			holder = pid;
		else if (lives_in(procroot, holder, path) && !lives_in(procroot, pid, path))
			return holder;
	}
	return 0;
}
