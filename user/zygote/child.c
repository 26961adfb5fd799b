/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a fresh instance does before its runtime goes on, in this order: session,
 * namespaces, descriptors, ids, directory, environment, confinement. It holds no
 * descriptor of the image afterwards but those that options->keep_fds names.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zygote/internal.h"

static int step_failed(char *error, const char *step)
{
	return zygote_fail(error, errno, "%s: %s", step, strerror(errno));
}

static int join_namespaces(const struct zygote_job *job, char *error)
{
	uint32_t flags = job->wire.namespaces & ~(uint32_t)CLONE_NEWPID;

	if (flags && setns(job->namespace_fd, (int)flags) < 0)
		return step_failed(error, "setns to the sandbox");
	return 0;
}

static bool is_kept(int fd, const struct hearth_zygote_options *options)
{
	for (size_t i = 0; i < options->n_keep_fds; i++)
		if (options->keep_fds[i] == fd)
			return true;
	return false;
}

int zygote_close_from(int first, int conn, const struct hearth_zygote_options *options)
{
	int end = conn;

	for (size_t i = 0; i < options->n_keep_fds; i++)
		if (options->keep_fds[i] > end)
			end = options->keep_fds[i];
	for (int fd = first; fd <= end; fd++)
		if (fd != conn && !is_kept(fd, options))
			close(fd);
	return close_range((unsigned)end + 1, ~0U, 0);
}

/* To the numbers they will have, by way of numbers beyond all of those. */
static int place_fds(const struct zygote_job *job, const struct hearth_zygote_options *options,
		     int *conn, char *error)
{
	int n_extra = (int)job->wire.n_extra, first = ZYGOTE_STDIO + n_extra, slot = first;
	int moved[ZYGOTE_STDIO + HEARTH_ZYGOTE_MAX_EXTRA], beyond;

	for (size_t i = 0; i < options->n_keep_fds; i++)
		if (options->keep_fds[i] >= ZYGOTE_STDIO && options->keep_fds[i] < first)
			return zygote_fail(error, EINVAL,
					   "descriptor %d is kept by the image, so it takes at "
					   "most %d extra ones",
					   options->keep_fds[i],
					   options->keep_fds[i] - ZYGOTE_STDIO);
	while (is_kept(slot, options))
		slot++;
	beyond = slot + 1;
	for (int i = 0; i < first; i++) {
		int fd = i < ZYGOTE_STDIO ? job->stdio[i] : job->extra[i - ZYGOTE_STDIO];

		moved[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, beyond);
		if (fd >= 0 && moved[i] < 0)
			return step_failed(error, "descriptors");
	}
	int mine = fcntl(*conn, F_DUPFD_CLOEXEC, beyond);
	if (mine < 0 || dup3(mine, slot, O_CLOEXEC) < 0)
		return step_failed(error, "descriptors");
	*conn = slot;
	for (int i = 0; i < first; i++)
		if (moved[i] >= 0 && dup2(moved[i], i) < 0)
			return step_failed(error, "descriptors");
	return zygote_close_from(first, slot, options) < 0 ? step_failed(error, "close_range") : 0;
}

/* No group but gid; who may not call setgroups() must have none already. */
static bool drop_groups(gid_t gid)
{
	gid_t groups[64];
	int n;

	if (setgroups(0, NULL) == 0)
		return true;
	n = errno == EPERM ? getgroups(64, groups) : -1;
	for (int i = 0; i < n; i++)
		if (groups[i] != gid)
			n = -1;
	if (n < 0)
		errno = EPERM;
	return n >= 0;
}

static int set_ids(const struct hearth_zygote_wire *wire, char *error)
{
	if (!(wire->flags & HEARTH_ZYGOTE_SET_IDS))
		return 0;
	if (!drop_groups(wire->gid))
		return step_failed(error, "setgroups");
	if (setresgid(wire->gid, wire->gid, wire->gid) < 0)
		return step_failed(error, "setresgid");
	if (setresuid(wire->uid, wire->uid, wire->uid) < 0)
		return step_failed(error, "setresuid");
	/* as after an exec; else its own /proc/self would not be its own */
	return prctl(PR_SET_DUMPABLE, 1) < 0 ? step_failed(error, "PR_SET_DUMPABLE") : 0;
}

/* n strings from *p on; the list ends with NULL. */
static char **take_strings(const char **p, uint32_t n)
{
	char **list = calloc((size_t)n + 1, sizeof(*list));

	for (uint32_t i = 0; list && i < n; i++) {
		list[i] = (char *)*p;
		*p += strlen(*p) + 1;
	}
	return list;
}

int zygote_take_words(const struct zygote_job *job, struct hearth_zygote_child *out, char *error)
{
	const struct hearth_zygote_wire *wire = &job->wire;
	const char *p = job->strings;

	out->argc = (int)wire->argc;
	out->argv = take_strings(&p, wire->argc);
	out->env = take_strings(&p, wire->n_env);
	if (!out->argv || !out->env)
		return zygote_fail(error, ENOMEM, "no memory for %u strings",
				   wire->argc + wire->n_env);
	if (wire->flags & HEARTH_ZYGOTE_SET_DIR && chdir(p) < 0)
		return zygote_fail(error, errno, "directory %.128s: %s", p, strerror(errno));
	if (wire->flags & HEARTH_ZYGOTE_SET_ENV) {
		environ = out->env;
	} else {
		free(out->env);
		out->env = NULL;
	}
	return 0;
}

static int confine(const struct zygote_job *job, char *error)
{
	struct sock_fprog program = {.len = (unsigned short)job->wire.n_filter};
	struct sock_filter *filter;
	int err = 0;

	if ((job->wire.flags & HEARTH_ZYGOTE_NO_NEW_PRIVS || program.len) &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return step_failed(error, "PR_SET_NO_NEW_PRIVS");
	if (!program.len)
		return 0;
	filter = calloc(program.len, sizeof(*filter)); /* the message may not be aligned */
	if (!filter)
		return zygote_fail(error, ENOMEM, "no memory for the seccomp filter");
	memcpy(filter, job->filter, program.len * sizeof(*filter));
	program.filter = filter;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		err = step_failed(error, "seccomp filter");
	free(filter);
	return err;
}

int zygote_child_setup(const struct zygote_job *job, const struct hearth_zygote_options *options,
		       int *conn, struct hearth_zygote_child *out, char *error)
{
	int err;

	setsid(); /* it is no part of the image's job */
	err = join_namespaces(job, error);
	if (!err)
		err = place_fds(job, options, conn, error);
	if (!err)
		err = set_ids(&job->wire, error);
	if (!err)
		err = zygote_take_words(job, out, error);
	if (!err)
		err = confine(job, error);
	out->n_extra = (int)job->wire.n_extra;
	out->conn = *conn;
	return err;
}
