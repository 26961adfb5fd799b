/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "images/api_internal.h"
#include "images/closing.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/util.h"

#define MESSAGE_MAX (160u << 10) /* of a request: argv and env of a function, quoted */
#define CONNS_MAX   2048
#define CONNS_SHARE 512 /* of one user but root */
#define FDS_MAX     253 /* the kernel takes no more in a message, and drops none on its way here */
#define BACKLOG     512
#define REST_MS     100 /* without a descriptor for who comes */

/* ---- connections */

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	closing_fds(c->manager, c->uid, &c->fd, 1);
	json_decref(c->later);
	json_decref(c->saved);
	free(c);
}

static void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	DL_DELETE(c->manager->conns, c);
	uv_poll_stop(&c->poll);
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

static bool send_json(int socket, const json_t *answer, int fd)
{
	_cleanup_free_ char *text = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(9));
	struct iovec iov = {.iov_base = text, .iov_len = text ? strlen(text) : 0};
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (!text)
		return false;
	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

void api_answer(struct manager *m, uint64_t conn, json_t *answer, int fd, bool last)
{
	struct conn *c;

	DL_SEARCH_SCALAR(m->conns, c, id, conn);
	if (c && (!send_json(c->fd, answer, fd) || last))
		conn_close(c);
	json_decref(answer);
}

void api_fail(struct manager *m, uint64_t conn, int err, const char *text)
{
	char plain[HEARTH_ZYGOTE_ERROR + 64];

	snprintf(plain, sizeof(plain), "%s", *text ? text : strerror(-err));
	text_make_plain(plain);
	api_answer(m, conn,
		   json_pack("{s:s s:s}", "error", plain, "code", strerrorname_np(-err) ?: "EIO"),
		   -1, true);
}

/* Every descriptor of a message. */
static int take_fds(struct msghdr *message, int *fds)
{
	int n = 0, fd;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < FDS_MAX)
				fds[n++] = fd;
		}
	}
	return n;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	static char text[MESSAGE_MAX];
	struct conn *c = poll->data;
	struct manager *m = c->manager;
	uid_t uid = c->uid;
	int fds[FDS_MAX];
	char control[CMSG_SPACE(sizeof(fds))];
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t size;
	int n;

	(void)events;
	size = status < 0 ? 0 : recvmsg(c->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	n = size >= 0 ? take_fds(&message, fds) : 0; /* also with an empty message */
	if (size <= 0 || c->asked) {
		conn_close(c); /* it went away: what it had asked for goes on */
	} else if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || n > API_FDS) {
		api_fail(m, c->id, -EMSGSIZE,
			 n > API_FDS ? "more descriptors than there are names for"
			 : message.msg_flags & MSG_TRUNC ? "the request is too long"
							 : "no room for the descriptors here");
	} else {
		c->asked = true;
		api_take(c, text, (size_t)size, fds, n);
	}
	closing_fds(m, uid, fds, (size_t)n);
}

/* ---- the socket */

static const char TOO_MANY[] =
    "{\"error\":\"too many connections at once, maybe your own: close some\",\"code\":\"EUSERS\"}";

/* Who opens many leaves room for others. */
static bool has_room(const struct manager *m, uid_t uid)
{
	const struct conn *c;
	size_t all = 0, own = 0;

	DL_FOREACH (m->conns, c) {
		all++;
		own += c->uid == uid;
	}
	return all < CONNS_MAX && (!uid || own < CONNS_SHARE);
}

static void on_connection(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *timer)
{
	struct manager *m = timer->data;

	uv_poll_start(&m->listener, UV_READABLE, on_connection);
}

/* The socket stays readable: who comes waits in the backlog, and we do not ask again at once. */
static void rest(struct manager *m, int err)
{
	if (!m->short_of_fds)
		log_warn("%s: %s: who connects waits", m->settings->socket, strerror(err));
	m->short_of_fds = true;
	uv_poll_stop(&m->listener);
	uv_timer_start(&m->rest_timer, on_rested, REST_MS, 0);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct manager *m = poll->data;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = status < 0 ? -1 : accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *c = NULL;

	(void)events;
	if (fd < 0 && status >= 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		rest(m, errno);
	if (fd < 0)
		return;
	m->short_of_fds = false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		peer.uid = (uid_t)-1;
	else if (has_room(m, peer.uid))
		c = calloc(1, sizeof(*c));
	else
		send(fd, TOO_MANY, sizeof(TOO_MANY) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (!c || uv_poll_init(&m->loop, &c->poll, fd)) {
		free(c);
		closing_fds(m, peer.uid, &fd, 1);
		return;
	}
	c->manager = m;
	c->id = ++m->conn_serial;
	c->fd = fd;
	c->uid = peer.uid;
	c->poll.data = c;
	DL_APPEND(m->conns, c);
	uv_poll_start(&c->poll, UV_READABLE | UV_DISCONNECT, on_readable);
}

/* Of one that was killed a child may not have closed the socket yet: nobody will serve there. */
static bool is_served(const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return errno == EAGAIN; /* so many wait for it */
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || !peer.pid ||
	       kill(peer.pid, 0) == 0 || errno != ESRCH;
}

int api_open(struct manager *m)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = m->settings->socket;
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (is_served(&address))
		return -EADDRINUSE;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	/* anybody may ask; who gets an answer is decided by uid */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	m->listen_fd = fd;
	m->listener.data = m->rest_timer.data = m;
	uv_timer_init(&m->loop, &m->rest_timer);
	err = uv_poll_init(&m->loop, &m->listener, fd);
	return err ? err : uv_poll_start(&m->listener, UV_READABLE, on_connection);
}

void api_close(struct manager *m)
{
	uv_close((uv_handle_t *)&m->listener, NULL);
	uv_close((uv_handle_t *)&m->rest_timer, NULL);
	close(m->listen_fd);
	unlink(m->settings->socket);
}
