/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * procfs readers. /proc/PID/stat is parsed from its last ')', because the
 * command name in front of it may contain anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/proc.h"
#include "lib/util.h"

static int gone(int rc)
{
	return rc == -ENOENT ? -ESRCH : rc;
}

int proc_pidfd_open(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

static ssize_t read_proc(const char *procroot, pid_t pid, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/%d/%s", procroot, (int)pid, name) >=
	    sizeof(path))
		return -ENAMETOOLONG;
	return gone((int)read_file_at(AT_FDCWD, path, buf, size));
}

/* Fields 3 (state) and 22 (start time) of /proc/PID/stat. */
static int read_stat(const char *procroot, pid_t pid, char *state, uint64_t *ticks)
{
	char buf[4096];
	ssize_t n = read_proc(procroot, pid, "stat", buf, sizeof(buf));
	const char *p;

	if (n < 0)
		return (int)n;
	p = strrchr(buf, ')');
	if (!p || sscanf(p + 1,
			 " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
			 " %*s %" SCNu64,
			 state, ticks) != 2)
		return -EPROTO;
	return 0;
}

int proc_state(const char *procroot, pid_t pid, char *state)
{
	uint64_t ticks;

	return read_stat(procroot, pid, state, &ticks);
}

int proc_start_time(const char *procroot, pid_t pid, uint64_t *ticks)
{
	char state;

	return read_stat(procroot, pid, &state, ticks);
}

int proc_cgroup_v2_path(const char *procroot, pid_t pid, char *path, size_t size)
{
	char buf[2 * PATH_MAX];
	ssize_t n = read_proc(procroot, pid, "cgroup", buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	for (char *line = buf; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if ((size_t)snprintf(path, size, "%s", line + 4) >= size)
			return -ENAMETOOLONG;
		return 0;
	}
	return -ENODATA;
}
