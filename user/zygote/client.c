/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The other side of the socket. Every wait has a deadline: an image may be
 * frozen, dead or busy loading, an instance may hang in its hooks.
 */
#include <errno.h>
#include <linux/filter.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "zygote/internal.h"

#define BACKLOG   4096 /* the kernel lowers it to somaxconn */
#define CONNECT_S 5    /* for a place in the backlog of an image that is frozen */

static int open_socket(const char *path, struct sockaddr_un *address, char *error)
{
	int fd;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path))
		return zygote_fail(error, ENAMETOOLONG, "%.100s...: at most %zu bytes", path,
				   sizeof(address->sun_path) - 1);
	strcpy(address->sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	return fd < 0 ? zygote_fail(error, errno, "socket: %s", strerror(errno)) : fd;
}

int hearth_zygote_connect(const char *path, char *error)
{
	struct timeval patience = {.tv_sec = CONNECT_S};
	struct sockaddr_un address;
	int fd = open_socket(path, &address, error);

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	int err = errno;
	close(fd);
	return zygote_fail(error, err, "%.160s: %s", path,
			   err == ECONNREFUSED ? "no image listens there" : strerror(err));
}

int hearth_zygote_listen(const char *path, char *error)
{
	struct sockaddr_un address;
	int err = 0, fd = hearth_zygote_connect(path, error);

	if (fd >= 0) {
		close(fd);
		return zygote_fail(error, EADDRINUSE, "%.160s: an image listens there", path);
	}
	if (fd == -ECONNREFUSED)
		unlink(path);
	fd = open_socket(path, &address, error);
	if (fd < 0)
		return fd;
	if (fchmod(fd, 0600) < 0 || /* bind() takes it over, without the umask */
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
		err = errno;
	if (!err)
		return fd;
	close(fd);
	return zygote_fail(error, err, "%.160s: %s", path, strerror(err));
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_readable(int conn, int64_t deadline_ms, char *error)
{
	struct pollfd poller = {.fd = conn, .events = POLLIN};

	for (;;) {
		int64_t left = deadline_ms - now_ms();
		int n = poll(&poller, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (n == 0)
			return zygote_fail(error, ETIMEDOUT,
					   "no answer in time: is it frozen, or still loading?");
		if (errno != EINTR)
			return zygote_fail(error, errno, "poll: %s", strerror(errno));
	}
}

/* The next reply; *fd is the pidfd that came with it, or -1. */
static int receive_reply(int conn, int64_t deadline_ms, struct hearth_zygote_reply *reply, int *fd,
			 char *error)
{
	struct zygote_job job = {0};
	ssize_t got = -EAGAIN;
	int err;

	/* Unread data at the other end resets the connection: that is told before the last words.
	 */
	for (int resets = 0; got == -EAGAIN || (got == -ECONNRESET && resets++ == 0);) {
		err = wait_readable(conn, deadline_ms, error);
		if (err)
			return err;
		got = zygote_receive(conn, reply, sizeof(*reply), job.fds, &job.n_fds, error);
	}
	*fd = job.n_fds == 1 ? job.fds[0] : -1;
	if (*fd < 0)
		zygote_close_fds(&job);
	if (got == sizeof(*reply) && reply->protocol == HEARTH_ZYGOTE_PROTOCOL) {
		reply->text[sizeof(reply->text) - 1] = '\0';
		return 0;
	}
	if (*fd >= 0)
		close(*fd);
	if (got > 0)
		return zygote_fail(error, EPROTO, "not a reply of protocol %u",
				   HEARTH_ZYGOTE_PROTOCOL);
	return got == 0 || got == -ECONNRESET ? -ECONNRESET : (int)got;
}

static int failure_of(const struct hearth_zygote_reply *reply, char *error)
{
	return zygote_fail(error, reply->error > 0 ? reply->error : EPROTO, "%s", reply->text);
}

/* An image that refused may have closed already: what it said is still to be read. */
static int send_request(int conn, const void *data, size_t size, const int *fds, size_t n_fds,
			char *error)
{
	int err = zygote_send(conn, data, size, fds, n_fds);

	if (!err || err == -EPIPE || err == -ECONNRESET)
		return 0;
	return zygote_fail(error, -err, "sending the request: %s", strerror(-err));
}

int hearth_zygote_ready(int conn, int timeout_ms, struct hearth_zygote_info *out, char *error)
{
	struct hearth_zygote_wire wire = {.type = HEARTH_ZYGOTE_INFO,
					  .protocol = HEARTH_ZYGOTE_PROTOCOL};
	struct hearth_zygote_reply reply;
	int fd, err = send_request(conn, &wire, sizeof(wire), NULL, 0, error);

	if (!err)
		err = receive_reply(conn, now_ms() + timeout_ms, &reply, &fd, error);
	close(conn);
	if (err == -ECONNRESET)
		return zygote_fail(error, ECONNRESET, "the image ended before it was ready");
	if (err)
		return err;
	if (fd >= 0)
		close(fd);
	if (reply.type == HEARTH_ZYGOTE_FAILED)
		return failure_of(&reply, error);
	if (reply.type != HEARTH_ZYGOTE_READY)
		return zygote_fail(error, EPROTO, "reply %u is not READY", reply.type);
	*out = (struct hearth_zygote_info){
	    .pid = reply.pid, .threads = reply.threads, .fds = reply.fds, .forks = reply.forks};
	snprintf(out->runtime, sizeof(out->runtime), "%.*s", HEARTH_ZYGOTE_RUNTIME - 1, reply.text);
	return 0;
}

/* ---- a request as a message */

struct message {
	char *data;
	size_t size;
	bool too_long;
};

static void add(struct message *m, const void *data, size_t size)
{
	if (size > HEARTH_ZYGOTE_MAX_BYTES - m->size) {
		m->too_long = true;
		return;
	}
	if (size)
		memcpy(m->data + m->size, data, size);
	m->size += size;
}

static uint32_t add_strings(struct message *m, char *const *list)
{
	uint32_t n = 0;

	for (; list && list[n]; n++)
		add(m, list[n], strlen(list[n]) + 1);
	return n;
}

static int collect_fds(const struct hearth_zygote_request *r, struct hearth_zygote_wire *wire,
		       int *fds)
{
	const int all[] = {r->cgroup_fd, r->namespace_fd, r->stdio[0], r->stdio[1], r->stdio[2]};
	int n = 0;

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (all[i] < 0)
			continue;
		wire->fds |= 1u << i;
		fds[n++] = all[i];
	}
	wire->n_extra = (uint32_t)r->n_extra;
	for (size_t i = 0; i < r->n_extra; i++)
		fds[n++] = r->extra_fds[i];
	return n;
}

static void write_message(const struct hearth_zygote_request *r, struct hearth_zygote_wire *wire,
			  struct message *m)
{
	wire->type = HEARTH_ZYGOTE_REQUEST;
	wire->protocol = HEARTH_ZYGOTE_PROTOCOL;
	wire->namespaces = r->namespaces;
	wire->flags = (r->set_ids ? HEARTH_ZYGOTE_SET_IDS : 0) |
		      (r->no_new_privs ? HEARTH_ZYGOTE_NO_NEW_PRIVS : 0) |
		      (r->env ? HEARTH_ZYGOTE_SET_ENV : 0) |
		      (r->directory ? HEARTH_ZYGOTE_SET_DIR : 0);
	wire->uid = r->uid;
	wire->gid = r->gid;
	wire->n_filter = (uint32_t)r->n_filter;
	m->size = sizeof(*wire);
	add(m, r->filter, r->n_filter * sizeof(struct sock_filter));
	wire->argc = add_strings(m, r->argv);
	wire->n_env = add_strings(m, r->env);
	if (r->directory)
		add(m, r->directory, strlen(r->directory) + 1);
	memcpy(m->data, wire, sizeof(*wire));
}

static int ask(int conn, const struct hearth_zygote_request *r, char *error)
{
	struct hearth_zygote_wire wire = {0};
	struct message m = {0};
	int fds[ZYGOTE_MAX_FDS], n_fds, err;

	if (r->n_extra > HEARTH_ZYGOTE_MAX_EXTRA || r->n_filter > BPF_MAXINSNS)
		return zygote_fail(error, EINVAL,
				   "at most %d extra descriptors and %d filter instructions",
				   HEARTH_ZYGOTE_MAX_EXTRA, BPF_MAXINSNS);
	m.data = malloc(HEARTH_ZYGOTE_MAX_BYTES);
	if (!m.data)
		return zygote_fail(error, ENOMEM, "no memory for a request");
	n_fds = collect_fds(r, &wire, fds);
	write_message(r, &wire, &m);
	err = m.too_long
		  ? zygote_fail(error, EMSGSIZE, "argv, env, filter and directory exceed %d bytes",
				HEARTH_ZYGOTE_MAX_BYTES)
		  : send_request(conn, m.data, m.size, fds, (size_t)n_fds, error);
	free(m.data);
	return err;
}

/* What the instance itself said. */
static void note_word(struct hearth_zygote_instance *instance,
		      const struct hearth_zygote_reply *reply)
{
	if (reply->type == HEARTH_ZYGOTE_STARTED || reply->type == HEARTH_ZYGOTE_WAITING)
		instance->status = 1;
	else
		instance->status = failure_of(reply, instance->failure);
}

/* err: of the asking. Consumes conn on failure. */
static int await_fork(int conn, int err, int64_t deadline_ms, struct hearth_zygote_instance *out,
		      char *error)
{
	struct hearth_zygote_instance instance = {.conn = conn, .pidfd = -1};
	struct hearth_zygote_reply reply;
	int fd;

	while (!err && instance.pidfd < 0) {
		err = receive_reply(conn, deadline_ms, &reply, &fd, error);
		if (err == -ECONNRESET && instance.status > 0)
			err = zygote_fail(error, ETIMEDOUT,
					  "it has begun, but the image ended before it said so");
		else if (err == -ECONNRESET)
			zygote_fail(error, ECONNRESET, "the image ended while it was asked");
		if (err)
			break;
		if (reply.type == HEARTH_ZYGOTE_FORKED && fd >= 0) {
			instance.pid = reply.pid;
			instance.pidfd = fd;
			continue;
		}
		if (fd >= 0)
			close(fd);
		if (reply.type == HEARTH_ZYGOTE_FAILED && !reply.pid)
			err = failure_of(&reply, error);
		else
			note_word(&instance, &reply);
	}
	if (err) {
		close(conn);
		return err;
	}
	*out = instance;
	return 0;
}

int hearth_zygote_request(int conn, const struct hearth_zygote_request *request, int timeout_ms,
			  struct hearth_zygote_instance *out, char *error)
{
	int64_t deadline_ms = now_ms() + timeout_ms;

	return await_fork(conn, ask(conn, request, error), deadline_ms, out, error);
}

int hearth_zygote_spare(int conn, int cgroup_fd, int timeout_ms, struct hearth_zygote_instance *out,
			char *error)
{
	struct hearth_zygote_wire wire = {.type = HEARTH_ZYGOTE_SPARE,
					  .protocol = HEARTH_ZYGOTE_PROTOCOL,
					  .fds = cgroup_fd >= 0 ? HEARTH_ZYGOTE_CGROUP : 0};
	int64_t deadline_ms = now_ms() + timeout_ms;
	int err = send_request(conn, &wire, sizeof(wire), &cgroup_fd, cgroup_fd >= 0, error);

	return await_fork(conn, err, deadline_ms, out, error);
}

/* Its first own word, once; -ETIMEDOUT: none yet. */
static int await_word(struct hearth_zygote_instance *instance, int timeout_ms, char *error)
{
	struct hearth_zygote_reply reply;
	int fd = -1, err;

	if (instance->status)
		return 0;
	err = receive_reply(instance->conn, now_ms() + timeout_ms, &reply, &fd, error);
	if (err == -ETIMEDOUT)
		return err;
	if (!err)
		note_word(instance, &reply);
	else
		instance->status =
		    zygote_fail(instance->failure, -err, "%s",
				err == -ECONNRESET ? "it ended without a word" : strerror(-err));
	if (fd >= 0)
		close(fd);
	return 0;
}

int hearth_zygote_wait_spare(struct hearth_zygote_instance *spare, int timeout_ms, char *error)
{
	int err = await_word(spare, timeout_ms, error);

	if (!err && spare->status == 1)
		return 0;
	if (!err)
		err = zygote_fail(error, -spare->status, "%s", spare->failure);
	close(spare->conn);
	spare->conn = -1;
	return err;
}

int hearth_zygote_claim(struct hearth_zygote_instance *spare,
			const struct hearth_zygote_request *request, char *error)
{
	struct pollfd poller = {.fd = spare->conn};
	int err;

	if (request->cgroup_fd >= 0 || request->namespace_fd >= 0 || request->n_extra ||
	    request->n_filter || request->set_ids || request->no_new_privs)
		return zygote_fail(error, EINVAL,
				   "a spare with threads takes stdio, argv, env and a directory");
	if (poll(&poller, 1, 0) > 0 && poller.revents & (POLLHUP | POLLERR))
		return zygote_fail(error, EPIPE, "the spare has ended");
	err = ask(spare->conn, request, error);
	if (!err)
		spare->status = 0;
	return err;
}

int hearth_zygote_wait_started(struct hearth_zygote_instance *instance, int timeout_ms, char *error)
{
	int err = await_word(instance, timeout_ms, error);

	if (err)
		return err;
	if (instance->conn >= 0)
		close(instance->conn);
	instance->conn = -1;
	return instance->status == 1
		   ? 0
		   : zygote_fail(error, -instance->status, "%s", instance->failure);
}

void hearth_zygote_release(struct hearth_zygote_instance *instance)
{
	if (instance->conn >= 0)
		close(instance->conn);
	if (instance->pidfd >= 0)
		close(instance->pidfd);
	instance->conn = instance->pidfd = -1;
}
