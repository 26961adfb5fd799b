/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fork: born in the target cgroup, as a child of the image's parent. It is
 * clone3() itself, so what libc's fork() would mend in the child is mended here:
 * the cached thread id (the kernel writes it) and the list of robust locks.
 *
 * And the move of a spare into its function's cgroup: a process written to
 * cgroup.procs waits 5 to 15 ms for the kernel's other processors and leaves the
 * owner's right to do that unasked. A new process that takes the memory over
 * (CLONE_VM) is born there as any fork is, in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/socket.h>
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

/* What the kernel knows of this thread's place in libc; a child must say it again. */
struct thread_words {
	void *tid_address;
	void *robust;
	size_t robust_size;
};

static int read_thread_words(struct thread_words *words, char *error)
{
	*words = (struct thread_words){0};
	if (prctl(PR_GET_TID_ADDRESS, &words->tid_address) < 0)
		return zygote_fail(error, errno,
				   "PR_GET_TID_ADDRESS: %s (it needs a kernel with "
				   "CONFIG_CHECKPOINT_RESTORE)",
				   strerror(errno));
	syscall(SYS_get_robust_list, 0, &words->robust, &words->robust_size);
	return 0;
}

static struct clone_args args_of(const struct zygote_job *job, const struct thread_words *words)
{
	struct clone_args args = {
	    .flags = CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
	    .child_tid = (uintptr_t)words->tid_address,
	};

	if (job->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)job->cgroup_fd;
	}
	return args;
}

pid_t zygote_fork(const struct zygote_job *job, int *pidfd, char *error)
{
	struct thread_words words;
	int back, fd = -1, err = read_thread_words(&words, error);
	struct clone_args args;
	pid_t pid;

	if (!err)
		err = borrow_pid_namespace(job, &back, error);
	if (err)
		return err;
	args = args_of(job, &words);
	args.pidfd = (uintptr_t)&fd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	err = errno;
	if (pid == 0) {
		syscall(SYS_set_robust_list, words.robust, words.robust_size);
		return 0;
	}
	return_pid_namespace(back);
	if (pid < 0)
		return zygote_fail(error, err, "clone3: %s", reason_of(err));
	*pidfd = fd;
	return pid;
}

/* ---- move */

/* FORKED, which the kernel fills in: the pid, and the pidfd that goes with it. */
struct farewell {
	struct hearth_zygote_reply reply;
	struct iovec part;
	struct msghdr message;
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

static void write_farewell(struct farewell *f, struct clone_args *args)
{
	*f = (struct farewell){
	    .reply = {.type = HEARTH_ZYGOTE_FORKED, .protocol = HEARTH_ZYGOTE_PROTOCOL}};
	f->part = (struct iovec){.iov_base = &f->reply, .iov_len = sizeof(f->reply)};
	f->control.head = (struct cmsghdr){
	    .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	f->message = (struct msghdr){.msg_iov = &f->part,
				     .msg_iovlen = 1,
				     .msg_control = f->control.bytes,
				     .msg_controllen = sizeof(f->control.bytes)};
	args->flags |= CLONE_VM | CLONE_PARENT_SETTID;
	args->pidfd = (uintptr_t)CMSG_DATA(&f->control.head);
	args->parent_tid = (uintptr_t)&f->reply.pid;
}

/*
 * clone3(); in the parent sendmsg() and exit_group() at once. Child and parent are on one
 * stack, so the parent does not touch it. 0 in the child, or -errno.
 */
static long clone_and_leave(const struct clone_args *args, int conn, const struct msghdr *message)
{
#if defined(__x86_64__)
	register long to __asm__("r12") = conn;
	register const struct msghdr *what __asm__("r13") = message;
	long result = SYS_clone3;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jle 1f\n\t"
			 "mov %[sendmsg], %%eax\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "mov %%r13, %%rsi\n\t"
			 "mov %[nosignal], %%edx\n\t"
			 "syscall\n\t"
			 "mov %[exit], %%eax\n\t"
			 "xor %%edi, %%edi\n\t"
			 "syscall\n"
			 "1:"
			 : "+a"(result)
			 : "D"(args), "S"(sizeof(*args)), "r"(to),
			   "r"(what), [sendmsg] "i"(SYS_sendmsg), [nosignal] "i"(MSG_NOSIGNAL),
			   [exit] "i"(SYS_exit_group)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long to __asm__("x19") = conn;
	register const struct msghdr *what __asm__("x20") = message;
	register long number __asm__("x8") = SYS_clone3;
	register long result __asm__("x0") = (long)args;
	register long size __asm__("x1") = sizeof(*args);

	__asm__ volatile("svc #0\n\t"
			 "cmp x0, #0\n\t"
			 "b.le 1f\n\t"
			 "mov x8, %[sendmsg]\n\t"
			 "mov x0, x19\n\t"
			 "mov x1, x20\n\t"
			 "mov x2, %[nosignal]\n\t"
			 "svc #0\n\t"
			 "mov x8, %[exit]\n\t"
			 "mov x0, #0\n\t"
			 "svc #0\n"
			 "1:"
			 : "+r"(result), "+r"(number), "+r"(size)
			 : "r"(to), "r"(what), [sendmsg] "i"(SYS_sendmsg),
			   [nosignal] "i"(MSG_NOSIGNAL), [exit] "i"(SYS_exit_group)
			 : "x2", "memory", "cc");
	return result;
#else
	(void)args, (void)conn, (void)message;
	return -ENOSYS;
#endif
}

static struct rseq *rseq_area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Else the kernel would write the parent's processor where the child's is. */
static bool unregister_rseq(void)
{
	return __rseq_size && syscall(SYS_rseq, rseq_area(), sizeof(struct rseq),
				      RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0;
}

static void register_rseq(void)
{
	if (__rseq_size && syscall(SYS_rseq, rseq_area(), sizeof(struct rseq), 0, RSEQ_SIG) < 0)
		rseq_area()->cpu_id = (uint32_t)RSEQ_CPU_ID_REGISTRATION_FAILED;
}

int zygote_move(const struct zygote_job *job, int conn, char *error)
{
	static struct farewell farewell; /* in use until the parent is gone */
	struct thread_words words;
	sigset_t all, before;
	int back, err = read_thread_words(&words, error);
	struct clone_args args;
	bool unregistered;
	long result;

	if (!err)
		err = borrow_pid_namespace(job, &back, error);
	if (err)
		return err;
	args = args_of(job, &words);
	write_farewell(&farewell, &args);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before); /* no handler on the stack of two */
	/* its end is to write nothing into memory that is the child's by then */
	unregistered = unregister_rseq();
	syscall(SYS_set_tid_address, NULL);
	syscall(SYS_set_robust_list, NULL, words.robust_size);
	result = clone_and_leave(&args, conn, &farewell.message);
	if (result == 0 || unregistered)
		register_rseq();
	if (result)
		syscall(SYS_set_tid_address, words.tid_address);
	syscall(SYS_set_robust_list, words.robust, words.robust_size);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (result == 0)
		return 0;
	return_pid_namespace(back);
	return zygote_fail(error, (int)-result, "clone3: %s", reason_of((int)-result));
}
