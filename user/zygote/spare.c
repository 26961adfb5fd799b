/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A spare: a process that is ready and waits on one connection for the request that
 * claims it. One forked by an image goes over into a new process (fork.c); one of a
 * runtime with threads becomes the instance itself and is moved by who claims it.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "zygote/internal.h"

/* 1: it has something to say; 0: it is gone. */
static int wait_for_word(int conn)
{
	struct pollfd poller = {.fd = conn, .events = POLLIN};

	while (poll(&poller, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return 1;
}

int zygote_await_claim(int conn, struct zygote_job *job, char *error)
{
	static _Alignas(
	    16) char message[HEARTH_ZYGOTE_MAX_BYTES]; /* its strings are the instance's */
	struct hearth_zygote_reply waiting = {
	    .type = HEARTH_ZYGOTE_WAITING, .protocol = HEARTH_ZYGOTE_PROTOCOL, .pid = getpid()};
	ssize_t got;
	int err = zygote_reply(conn, &waiting, -1);

	*job = (struct zygote_job){.cgroup_fd = -1, .namespace_fd = -1, .stdio = {-1, -1, -1}};
	if (err || wait_for_word(conn) < 0)
		return 0;
	got = zygote_receive(conn, message, sizeof(message), job->fds, &job->n_fds, error);
	if (got == 0 || got == -ECONNRESET)
		return 0;
	err = got < 0 ? (int)got : zygote_parse(message, (size_t)got, job, error);
	if (!err && job->wire.type != HEARTH_ZYGOTE_REQUEST)
		err = zygote_fail(error, EINVAL, "a spare is claimed by a request, not by type %u",
				  job->wire.type);
	if (!err)
		return 1;
	zygote_close_fds(job);
	return err;
}

/* Each of these is of one thread, or has no room among descriptors that are in use. */
static int refuse_more(const struct zygote_job *job, char *error)
{
	if (job->cgroup_fd < 0 && job->namespace_fd < 0 && !job->wire.n_extra &&
	    !job->wire.n_filter &&
	    !(job->wire.flags & (HEARTH_ZYGOTE_SET_IDS | HEARTH_ZYGOTE_NO_NEW_PRIVS)))
		return 0;
	return zygote_fail(error, EINVAL,
			   "a spare with threads takes stdio, argv, env and a directory: start it "
			   "with the ids, namespaces and filters that it is to have");
}

static int become(struct zygote_job *job, int conn, struct hearth_zygote_child *out, char *error)
{
	struct hearth_zygote_child child = {.conn = conn};
	int err = refuse_more(job, error);

	if (!err)
		prctl(PR_SET_PDEATHSIG, 0);
	for (int i = 0; !err && i < ZYGOTE_STDIO; i++)
		if (job->stdio[i] >= 0 && dup2(job->stdio[i], i) < 0)
			err = zygote_fail(error, errno, "descriptors: %s", strerror(errno));
	if (!err)
		err = zygote_take_words(job, &child, error);
	if (!err)
		*out = child;
	return err;
}

int hearth_zygote_wait_claim(int conn, struct hearth_zygote_child *out, char *error)
{
	char why[HEARTH_ZYGOTE_ERROR] = "";
	struct zygote_job job;
	int err = zygote_await_claim(conn, &job, why);

	if (err == 0)
		return 0;
	if (err > 0)
		err = become(&job, conn, out, why);
	zygote_close_fds(&job);
	if (!err)
		return 1;
	zygote_reply_failure(conn, err, getpid(), why);
	return zygote_fail(error, -err, "%s", why);
}
