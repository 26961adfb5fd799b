/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "images/verify.h"
#include "lib/util.h"

/* As the kernel knows it; -1 if the descriptor is something else, or that process is gone. */
static pid_t pid_of(int pidfd)
{
	char path[64], line[128];
	_cleanup_fclose_ FILE *file = NULL;
	int pid = -1;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Pid: %d", &pid) == 1)
			break;
	return pid;
}

/* It is not reaped before we know of it, so its number is its own. */
static bool is_ours(const struct hearth_zygote_instance *instance, uid_t owner)
{
	char path[32];
	siginfo_t info;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", instance->pid);
	return pid_of(instance->pidfd) == instance->pid &&
	       waitid(P_PIDFD, (id_t)instance->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       stat(path, &st) == 0 && st.st_uid == owner;
}

int verify_instance(struct hearth_zygote_instance *instance, uid_t owner, char *error)
{
	if (is_ours(instance, owner))
		return 0;
	snprintf(error, HEARTH_ZYGOTE_ERROR,
		 "the image says that it has forked process %d: that is no child of its owner's",
		 instance->pid);
	hearth_zygote_release(instance);
	*instance = (struct hearth_zygote_instance){.conn = -1, .pidfd = -1};
	return -EBADMSG;
}
