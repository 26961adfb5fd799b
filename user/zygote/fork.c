/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fork: born in the target cgroup, as a child of the image's parent. It is
 * clone3() itself, so what libc's fork() would mend in the child is mended here:
 * the cached thread id (the kernel writes it) and the list of robust locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zygote/internal.h"

static const struct {
	int err;
	const char *why;
} reasons[] = {
    {EACCES, "no write access to cgroup.procs of the target cgroup and of the ancestor it "
	     "shares with the image: delegate one subtree to the owner"},
    {EBUSY, "the target cgroup has controllers enabled for its children: name a leaf"},
    {ENODEV, "the target cgroup was removed"},
    {ENOENT, "the target cgroup was removed"},
    {EOPNOTSUPP, "the target cgroup is threaded"},
    {EAGAIN, "the limit of processes is reached (pids.max or RLIMIT_NPROC)"},
    {EINVAL, "refused by the kernel: is the image the first process of its pid namespace?"},
    {ENOSYS, "this kernel or a seccomp filter of the image has no clone3"},
};

static const char *reason_of(int err)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reasons[i].err == err)
			return reasons[i].why;
	return strerror(err);
}

/* A pid namespace is entered by birth: the image asks for it and then asks for its own again. */
static int borrow_pid_namespace(const struct zygote_job *job, int *back, char *error)
{
	*back = -1;
	if (!(job->wire.namespaces & CLONE_NEWPID))
		return 0;
	*back = open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
	if (*back < 0)
		return zygote_fail(error, errno, "pid_for_children: %s", strerror(errno));
	if (setns(job->namespace_fd, CLONE_NEWPID) == 0)
		return 0;
	int err = errno;
	close(*back);
	return zygote_fail(error, err, "setns to the pid namespace: %s", strerror(err));
}

static void return_pid_namespace(int back)
{
	if (back < 0)
		return;
	if (setns(back, CLONE_NEWPID) < 0)
		abort(); /* every later instance would be born in a stranger's namespace */
	close(back);
}

pid_t zygote_fork(const struct zygote_job *job, int *pidfd, char *error)
{
	void *tid_address = NULL, *robust = NULL;
	size_t robust_size = 0;
	int back, err, fd = -1;
	pid_t pid;

	if (prctl(PR_GET_TID_ADDRESS, &tid_address) < 0)
		return zygote_fail(error, errno,
				   "PR_GET_TID_ADDRESS: %s (it needs a kernel with "
				   "CONFIG_CHECKPOINT_RESTORE)",
				   strerror(errno));
	syscall(SYS_get_robust_list, 0, &robust, &robust_size);
	err = borrow_pid_namespace(job, &back, error);
	if (err)
		return err;
	struct clone_args args = {
	    .flags = CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
	    .pidfd = (uintptr_t)&fd,
	    .child_tid = (uintptr_t)tid_address,
	};
	if (job->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)job->cgroup_fd;
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	err = errno;
	if (pid == 0) {
		syscall(SYS_set_robust_list, robust, robust_size);
		return 0;
	}
	return_pid_namespace(back);
	if (pid < 0)
		return zygote_fail(error, err, "clone3: %s", reason_of(err));
	*pidfd = fd;
	return pid;
}
