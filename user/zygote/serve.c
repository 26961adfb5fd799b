/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The image's loop: a connection, a request, a fork, a reply. It never waits for
 * one client or one instance: a message comes whole or not at all, and what an
 * instance has to say it says itself. Who comes when there is no descriptor left
 * waits in the backlog, as when all places are taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "zygote/internal.h"

#define CONNS       64   /* connected, but have not asked yet; the others wait in the backlog */
#define PATIENCE_MS 1000 /* after which one of them must give way, when all are taken */

struct image {
	const struct hearth_zygote_options *options;
	struct pollfd polls[1 + CONNS]; /* [0] listens */
	int64_t since_ms[1 + CONNS];
	nfds_t n;
	bool short_of_fds;
	uint64_t forks;
	unsigned n_fds;
};

static _Alignas(16) char message[HEARTH_ZYGOTE_MAX_BYTES];

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void forget(struct image *image, nfds_t i)
{
	image->n--;
	image->polls[i] = image->polls[image->n];
	image->since_ms[i] = image->since_ms[image->n];
}

static int check_peer(int conn, uid_t owner, char *error)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return zygote_fail(error, errno, "SO_PEERCRED: %s", strerror(errno));
	if (owner == (uid_t)-1)
		owner = geteuid();
	if (peer.uid != 0 && peer.uid != owner)
		return zygote_fail(error, EACCES, "uid %u may not ask: the image is uid %u's",
				   peer.uid, owner);
	return 0;
}

static bool is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

/* 0: taken; else nobody waits, or nobody can be taken now. */
static int take_connection(struct image *image)
{
	char error[HEARTH_ZYGOTE_ERROR];
	int conn = accept4(image->polls[0].fd, NULL, NULL, SOCK_CLOEXEC);
	int err;

	image->short_of_fds = conn < 0 && is_shortage(errno);
	if (conn < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ||
			       image->short_of_fds
			   ? -EAGAIN
			   : -errno;
	err = check_peer(conn, image->options->owner, error);
	if (err) {
		zygote_reply_failure(conn, err, 0, error);
		close(conn);
		return 0;
	}
	image->polls[image->n] = (struct pollfd){.fd = conn, .events = POLLIN};
	image->since_ms[image->n++] = now_ms();
	return 0;
}

static void make_room(struct image *image)
{
	nfds_t oldest = 1;

	for (nfds_t i = 2; i < image->n; i++)
		if (image->since_ms[i] < image->since_ms[oldest])
			oldest = i;
	if (image->n == 1 || now_ms() - image->since_ms[oldest] < PATIENCE_MS)
		return;
	zygote_reply_failure(image->polls[oldest].fd, ETIMEDOUT, 0,
			     "no request came, and others wait");
	close(image->polls[oldest].fd);
	forget(image, oldest);
}

static const char *runtime_of(const struct hearth_zygote_options *options)
{
	return options->runtime ? options->runtime : program_invocation_short_name;
}

static void tell_ready(struct image *image, int conn)
{
	struct hearth_zygote_reply reply = {.type = HEARTH_ZYGOTE_READY,
					    .protocol = HEARTH_ZYGOTE_PROTOCOL,
					    .pid = getpid(),
					    .threads = 1,
					    .fds = image->n_fds,
					    .forks = image->forks};

	snprintf(reply.text, HEARTH_ZYGOTE_RUNTIME, "%s", runtime_of(image->options));
	zygote_reply(conn, &reply, -1);
}

/* An instance nobody knows of would run for ever. */
static void tell_forked(int conn, pid_t pid, int pidfd)
{
	struct hearth_zygote_reply reply = {
	    .type = HEARTH_ZYGOTE_FORKED, .protocol = HEARTH_ZYGOTE_PROTOCOL, .pid = pid};

	if (zygote_reply(conn, &reply, pidfd) < 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	close(pidfd);
}

static int become_instance(struct image *image, struct zygote_job *job, int conn,
			   struct hearth_zygote_child *out)
{
	char error[HEARTH_ZYGOTE_ERROR] = "";
	struct hearth_zygote_child child = {0};
	int err = zygote_child_setup(job, image->options, &conn, &child, error);

	if (err) {
		zygote_reply_failure(conn, err, getpid(), error);
		_exit(HEARTH_ZYGOTE_EXIT);
	}
	if (image->options->after_fork)
		image->options->after_fork(image->options->arg);
	*out = child;
	return 1;
}

/* Forked ahead: all that it has of the image is its memory and what it may keep. */
static int become_spare(struct image *image, int conn, struct hearth_zygote_child *out)
{
	char error[HEARTH_ZYGOTE_ERROR] = "";
	struct zygote_job job;
	int err;

	setsid();
	/* a frozen one does not see its connection end; what it goes over into does not inherit
	 * this */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	zygote_close_from(ZYGOTE_STDIO, conn, image->options);
	if (image->options->warm)
		image->options->warm(image->options->arg);
	err = zygote_await_claim(conn, &job, error);
	if (err == 0)
		_exit(0);
	if (err > 0)
		err = zygote_move(&job, conn, error);
	if (err == 0)
		return become_instance(image, &job, conn, out);
	zygote_reply_failure(conn, err, 0, error);
	_exit(HEARTH_ZYGOTE_EXIT);
}

/* Who has given up may have started it elsewhere by now. */
static bool is_gone(int conn)
{
	struct pollfd poller = {.fd = conn};

	return poll(&poller, 1, 0) > 0 && poller.revents & (POLLHUP | POLLERR);
}

/* 1 in the instance, 0 in the image. */
static int serve_connection(struct image *image, int conn, struct hearth_zygote_child *out)
{
	char error[HEARTH_ZYGOTE_ERROR];
	struct zygote_job job = {.cgroup_fd = -1};
	ssize_t got = zygote_receive(conn, message, sizeof(message), job.fds, &job.n_fds, error);
	int err = got < 0 ? (int)got : 0, pidfd;

	if (got == 0 || is_gone(conn)) {
		zygote_close_fds(&job);
		return 0;
	}
	if (!err)
		err = zygote_parse(message, (size_t)got, &job, error);
	if (!err && job.wire.type == HEARTH_ZYGOTE_INFO) {
		tell_ready(image, conn);
	} else if (!err) {
		pid_t pid = zygote_fork(&job, &pidfd, error);

		if (pid == 0)
			return job.wire.type == HEARTH_ZYGOTE_SPARE
				   ? become_spare(image, conn, out)
				   : become_instance(image, &job, conn, out);
		err = pid < 0 ? pid : 0;
		if (!err)
			tell_forked(conn, pid, pidfd);
		image->forks += !err;
	}
	if (err)
		zygote_reply_failure(conn, err, 0, error);
	zygote_close_fds(&job);
	return 0;
}

static void refuse_all(struct image *image, const char *why)
{
	do {
		while (image->n > 1) {
			int conn = image->polls[1].fd;

			forget(image, 1);
			zygote_reply_failure(conn, EBUSY, 0, why);
			close(conn);
		}
	} while (take_connection(image) == 0);
}

static int serve_round(struct image *image, struct hearth_zygote_child *out, char *error)
{
	bool full = image->n == 1 + CONNS || image->short_of_fds;

	image->polls[0].events = full ? 0 : POLLIN;
	if (poll(image->polls, image->n, full ? PATIENCE_MS / 5 : -1) < 0)
		return zygote_fail(error, errno, "poll: %s", strerror(errno));
	for (nfds_t i = image->n; i-- > 1;) {
		int conn = image->polls[i].fd;

		if (!image->polls[i].revents)
			continue;
		forget(image, i); /* an instance closes whatever it does not know */
		if (serve_connection(image, conn, out))
			return 1;
		close(conn);
	}
	if (full)
		make_room(image);
	while (image->n < 1 + CONNS) {
		int err = take_connection(image);

		if (err == -EAGAIN)
			break;
		if (err)
			return zygote_fail(error, -err, "accept: %s", strerror(-err));
	}
	return 0;
}

/* What a closed stdin, stdout or stderr would become: a socket of ours. */
static void fill_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd < ZYGOTE_STDIO);
	if (fd >= 0)
		close(fd);
}

int hearth_zygote_serve(int fd, const struct hearth_zygote_options *options,
			struct hearth_zygote_child *out, char *error)
{
	static const struct hearth_zygote_options defaults = {.owner = (uid_t)-1};
	static struct image image; /* a signal ends the call, but no connection */
	char why[HEARTH_ZYGOTE_ERROR] = "";
	int flags, err;

	image.options = options ? options : &defaults;
	image.polls[0] = (struct pollfd){.fd = fd, .events = POLLIN};
	if (!image.n)
		image.n = 1;
	fill_stdio();
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return zygote_fail(error, errno, "listening socket: %s", strerror(errno));
	err = zygote_check(image.polls, image.n, image.options, &image.n_fds, why);
	if (err)
		refuse_all(&image, why);
	while (!err)
		err = serve_round(&image, out, why);
	if (err == 1) {
		image = (struct image){0}; /* the instance has closed them, and may serve itself */
		return 1;
	}
	return zygote_fail(error, -err, "%s", why);
}

void hearth_zygote_started(struct hearth_zygote_child *child, const char *why)
{
	struct hearth_zygote_reply reply = {
	    .type = HEARTH_ZYGOTE_STARTED, .protocol = HEARTH_ZYGOTE_PROTOCOL, .pid = getpid()};

	if (child->conn < 0)
		return;
	if (why)
		zygote_reply_failure(child->conn, ENOEXEC, getpid(), why);
	else
		zygote_reply(child->conn, &reply, -1);
	close(child->conn);
	child->conn = -1;
}
