/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Messages with descriptors, and a request taken apart. Nothing of a message is
 * believed: each count is checked against what came.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "zygote/internal.h"

#define KNOWN_FDS                                                                                  \
	(HEARTH_ZYGOTE_CGROUP | HEARTH_ZYGOTE_PIDFD | HEARTH_ZYGOTE_STDIN | HEARTH_ZYGOTE_STDOUT | \
	 HEARTH_ZYGOTE_STDERR)
#define KNOWN_FLAGS                                                                                \
	(HEARTH_ZYGOTE_SET_IDS | HEARTH_ZYGOTE_NO_NEW_PRIVS | HEARTH_ZYGOTE_SET_ENV |              \
	 HEARTH_ZYGOTE_SET_DIR)

int zygote_fail(char *error, int err, const char *fmt, ...)
{
	va_list args;

	if (error) {
		va_start(args, fmt);
		vsnprintf(error, HEARTH_ZYGOTE_ERROR, fmt, args);
		va_end(args);
	}
	return -err;
}

int zygote_send(int conn, const void *data, size_t size, const int *fds, size_t n_fds)
{
	char control[CMSG_SPACE(sizeof(int) * ZYGOTE_MAX_FDS)] = {0};
	struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct cmsghdr *head;

	if (n_fds) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(head), fds, sizeof(int) * n_fds);
	}
	while (sendmsg(conn, &message, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int zygote_reply(int conn, const struct hearth_zygote_reply *reply, int fd)
{
	return zygote_send(conn, reply, sizeof(*reply), &fd, fd >= 0);
}

int zygote_reply_failure(int conn, int err, pid_t pid, const char *why)
{
	struct hearth_zygote_reply reply = {.type = HEARTH_ZYGOTE_FAILED,
					    .protocol = HEARTH_ZYGOTE_PROTOCOL,
					    .error = err < 0 ? -err : err,
					    .pid = pid};

	snprintf(reply.text, sizeof(reply.text), "%s", why);
	return zygote_reply(conn, &reply, -1);
}

static void take_fds(struct msghdr *message, int *fds, int *n_fds)
{
	struct cmsghdr *head;

	for (head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		*n_fds = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(head), sizeof(int) * (size_t)*n_fds);
	}
}

ssize_t zygote_receive(int conn, void *data, size_t size, int *fds, int *n_fds, char *error)
{
	char control[CMSG_SPACE(sizeof(int) * ZYGOTE_MAX_FDS)];
	struct iovec part = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t got;

	*n_fds = 0;
	do {
		got = recvmsg(conn, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return zygote_fail(error, errno, "recvmsg: %s", strerror(errno));
	take_fds(&message, fds, n_fds);
	if (message.msg_flags & MSG_TRUNC)
		return zygote_fail(error, EMSGSIZE, "message of more than %zu bytes", size);
	if (message.msg_flags & MSG_CTRUNC)
		return zygote_fail(error, EINVAL,
				   "more than %d descriptors, or no room for them here",
				   ZYGOTE_MAX_FDS);
	return got;
}

void zygote_close_fds(struct zygote_job *job)
{
	for (int i = 0; i < job->n_fds; i++)
		close(job->fds[i]);
	job->n_fds = 0;
}

static int next_fd(struct zygote_job *job, uint32_t bit, int *used)
{
	return job->wire.fds & bit ? job->fds[(*used)++] : -1;
}

static int name_fds(struct zygote_job *job, char *error)
{
	const struct hearth_zygote_wire *wire = &job->wire;
	unsigned announced;
	struct statfs what;
	int used = 0;

	if (wire->fds & ~KNOWN_FDS || wire->n_extra > HEARTH_ZYGOTE_MAX_EXTRA)
		return zygote_fail(error, EINVAL,
				   "unknown kind of descriptor (0x%x), or more than %d extra ones",
				   wire->fds & ~KNOWN_FDS, HEARTH_ZYGOTE_MAX_EXTRA);
	announced = (unsigned)__builtin_popcount(wire->fds) + wire->n_extra;
	if (announced != (unsigned)job->n_fds)
		return zygote_fail(error, EINVAL, "%u descriptors announced, %d came", announced,
				   job->n_fds);
	job->cgroup_fd = next_fd(job, HEARTH_ZYGOTE_CGROUP, &used);
	job->namespace_fd = next_fd(job, HEARTH_ZYGOTE_PIDFD, &used);
	for (int i = 0; i < ZYGOTE_STDIO; i++)
		job->stdio[i] = next_fd(job, (uint32_t)HEARTH_ZYGOTE_STDIN << i, &used);
	job->extra = job->fds + used;
	if (job->cgroup_fd >= 0 &&
	    (fstatfs(job->cgroup_fd, &what) < 0 || what.f_type != CGROUP2_SUPER_MAGIC))
		return zygote_fail(error, EINVAL,
				   "the cgroup descriptor is not of a cgroup2 directory");
	if ((job->namespace_fd >= 0) != (wire->namespaces != 0))
		return zygote_fail(error, EINVAL,
				   "namespaces to join and the pidfd to join them of go together");
	return 0;
}

static int name_spare_fds(struct zygote_job *job, char *error)
{
	if (job->wire.fds & ~(uint32_t)HEARTH_ZYGOTE_CGROUP || job->wire.n_extra)
		return zygote_fail(error, EINVAL,
				   "a spare has a cgroup: other descriptors come with its claim");
	return name_fds(job, error);
}

static int find_strings(const char *data, size_t size, struct zygote_job *job, char *error)
{
	const struct hearth_zygote_wire *wire = &job->wire;
	size_t filter = (size_t)wire->n_filter * sizeof(struct sock_filter), found = 0;
	uint64_t wanted =
	    (uint64_t)wire->argc + wire->n_env + (wire->flags & HEARTH_ZYGOTE_SET_DIR ? 1 : 0);

	if (wire->n_filter > BPF_MAXINSNS || filter > size)
		return zygote_fail(
		    error, EINVAL,
		    "a filter of %u instructions: at most %d, and all in the message",
		    wire->n_filter, BPF_MAXINSNS);
	job->filter = data;
	job->strings = data + filter;
	for (const char *p = job->strings; p < data + size; p++)
		found += *p == '\0';
	if (found != wanted || !wire->argc || (size > filter && data[size - 1]))
		return zygote_fail(error, EINVAL,
				   "%llu strings announced, %zu came; argv has one or more",
				   (unsigned long long)wanted, found);
	return 0;
}

int zygote_parse(const char *data, size_t size, struct zygote_job *job, char *error)
{
	if (size < sizeof(job->wire))
		return zygote_fail(error, EINVAL, "a message of %zu bytes: %zu are the least", size,
				   sizeof(job->wire));
	memcpy(&job->wire, data, sizeof(job->wire));
	if (job->wire.protocol != HEARTH_ZYGOTE_PROTOCOL)
		return zygote_fail(error, EPROTO, "protocol %u: this image speaks %u",
				   job->wire.protocol, HEARTH_ZYGOTE_PROTOCOL);
	if (job->wire.type == HEARTH_ZYGOTE_INFO)
		return 0;
	if (job->wire.type == HEARTH_ZYGOTE_SPARE)
		return name_spare_fds(job, error);
	if (job->wire.type != HEARTH_ZYGOTE_REQUEST || job->wire.flags & ~KNOWN_FLAGS)
		return zygote_fail(error, EINVAL, "message type %u with flags 0x%x: not known here",
				   job->wire.type, job->wire.flags);
	int err = name_fds(job, error);
	return err ? err
		   : find_strings(data + sizeof(job->wire), size - sizeof(job->wire), job, error);
}
