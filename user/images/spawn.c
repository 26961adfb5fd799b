/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "images/spawn.h"

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return; /* nobody left to tell */
}

static void give_up(const char *step, int status)
{
	say("hearth-images: ");
	say(step);
	say(" failed\n");
	_exit(status);
}

/* Beyond the numbers they are to have, then down to them. */
static int place_fds(const struct spawn *s)
{
	int moved[SPAWN_FD + 1], n = s->keep_fd >= 0 ? SPAWN_FD + 1 : SPAWN_FD;

	for (int i = 0; i < n; i++) {
		int fd = i < SPAWN_FD ? s->stdio[i] : s->keep_fd;

		moved[i] = fd >= 0 ? fcntl(fd, F_DUPFD, SPAWN_FD + 1) : open("/dev/null", O_RDWR);
		if (moved[i] >= 0 && moved[i] <= SPAWN_FD)
			moved[i] = fcntl(moved[i], F_DUPFD, SPAWN_FD + 1);
		if (moved[i] < 0)
			return -1;
	}
	for (int i = 0; i < n; i++)
		if (dup2(moved[i], i) < 0)
			return -1;
	return close_range((unsigned int)n, ~0U, 0);
}

/* Not libc's: that would tell the other threads, of which the child has none. */
static int set_ids(const struct spawn *s)
{
	if (geteuid() == s->uid)
		return 0;
	if (syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, s->gid, s->gid, s->gid) < 0)
		return -1;
	return (int)syscall(SYS_setresuid, s->uid, s->uid, s->uid);
}

static void set_limits(const struct spawn *s)
{
	struct rlimit memory = {.rlim_cur = s->address_bytes, .rlim_max = s->address_bytes};

	if (setrlimit(RLIMIT_NOFILE, s->files) < 0)
		give_up("limit of its descriptors", SPAWN_FAILED);
	if (s->address_bytes && setrlimit(RLIMIT_AS, &memory) < 0)
		give_up("limit of its memory", SPAWN_FAILED);
}

static void become(const struct spawn *s, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (place_fds(s) < 0)
		give_up("descriptors", SPAWN_FAILED);
	set_limits(s);
	if (set_ids(s) < 0)
		give_up("change to its owner", SPAWN_FAILED);
	/* after the change of ids, which forgets it */
	if (s->die_with_parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		give_up("tie to its manager", SPAWN_FAILED);
	if (chdir(s->directory ? s->directory : "/") < 0)
		give_up("change to its directory", SPAWN_FAILED);
	execve(s->argv[0], s->argv, s->env);
	give_up(s->argv[0], 127);
}

const char *spawn_reason(int err)
{
	return err == -EAGAIN ? "the limit of processes is reached (owner_processes in the "
				"configuration of hearth-images, or another)"
			      : strerror(-err);
}

int spawn(const struct spawn *s, pid_t *pid, int *pidfd)
{
	pid_t parent = getpid(), child;
	int fd = -1;
	struct clone_args args = {
	    .flags = CLONE_PIDFD | CLONE_INTO_CGROUP,
	    .pidfd = (uintptr_t)&fd,
	    .exit_signal = SIGCHLD,
	    .cgroup = (uint64_t)s->cgroup_fd,
	};

	child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (child < 0)
		return -errno;
	if (child == 0)
		become(s, parent);
	*pid = child;
	*pidfd = fd;
	return 0;
}
