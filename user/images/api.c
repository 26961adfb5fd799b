/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "images/api.h"
#include "images/image.h"
#include "images/instance.h"
#include "lib/log.h"
#include "lib/util.h"

#define MESSAGE_MAX (160u << 10) /* of a request: argv and env of a function, quoted */
#define CONNS_MAX   2048
#define BACKLOG     512

struct conn {
	struct manager *manager;
	uint64_t id;
	int fd;
	uv_poll_t poll;
	uid_t uid;
	bool asked;
	bool closing;
	const struct image *built; /* tell it when this build is over */
	json_t *later;             /* its request, to be answered once memory is measured */
	struct conn *prev, *next;
};

struct request {
	struct manager *m;
	struct conn *conn;
	json_t *body;
	struct image *image;
	int fds[API_FDS]; /* -1: none */
};

/* ---- connections */

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	close(c->fd);
	json_decref(c->later);
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
	api_answer(m, conn,
		   json_pack("{s:s s:s}", "error", *text ? text : strerror(-err), "code",
			     strerrorname_np(-err) ?: "EIO"),
		   -1, true);
}

/* ---- requests */

/* The answer is about memory: it waits while that is being measured. */
static bool postpone(struct request *r)
{
	if (usage_measure(r->m))
		r->conn->later = json_incref(r->body);
	return r->conn->later;
}

static int do_ls(struct request *r, char *error)
{
	struct image *image;
	json_t *list;

	(void)error;
	if (postpone(r))
		return 0;
	list = json_array();
	DL_FOREACH (r->m->images, image) {
		if (!r->conn->uid || image->settings->uid == r->conn->uid)
			json_array_append_new(list, image_json(image));
	}
	api_answer(r->m, r->conn->id, json_pack("{s:o}", "images", list), -1, true);
	return 0;
}

static int do_show(struct request *r, char *error)
{
	(void)error;
	if (!postpone(r))
		api_answer(r->m, r->conn->id, image_json(r->image), -1, true);
	return 0;
}

static void tell_built(struct request *r)
{
	if (r->image->state == IMAGE_RESIDENT || r->image->state == IMAGE_FROZEN)
		api_answer(r->m, r->conn->id, image_json(r->image), -1, true);
	else
		r->conn->built = r->image;
}

static int do_build(struct request *r, char *error)
{
	int err = image_build(r->image, true);

	if (!err)
		tell_built(r);
	else
		snprintf(error, HEARTH_ZYGOTE_ERROR, "%.250s",
			 err == -EAGAIN ? "the last one is about to end" : r->image->error);
	return err;
}

void image_built(struct image *image)
{
	struct manager *m = image->manager;
	struct conn *c, *next;

	DL_FOREACH_SAFE(m->conns, c, next)
	{
		if (c->built != image)
			continue;
		if (image->state == IMAGE_RESIDENT)
			api_answer(m, c->id, image_json(image), -1, true);
		else
			api_fail(m, c->id, -ECHILD,
				 *image->error ? image->error : "evicted while it was built");
	}
}

static int do_evict(struct request *r, char *error)
{
	int err = image_evict(r->image);

	if (err == -EBUSY)
		snprintf(error, HEARTH_ZYGOTE_ERROR,
			 "%u instances that it forked still run: their memory is shared with it",
			 r->image->children);
	else if (err == -ENOENT)
		snprintf(error, HEARTH_ZYGOTE_ERROR, "it is not built");
	else
		api_answer(r->m, r->conn->id, image_json(r->image), -1, true);
	return err;
}

static int do_run(struct request *r, char *error)
{
	return instance_start(r->image, r->conn->id, r->body, r->conn->uid, r->fds, error);
}

static const struct {
	const char *name;
	bool image;
	int (*run)(struct request *r, char *error);
} verbs[] = {
    {"ls", false, do_ls},      {"show", true, do_show}, {"build", true, do_build},
    {"evict", true, do_evict}, {"run", true, do_run},
};

static int find_image(struct request *r, char *error)
{
	const char *name = json_string_value(json_object_get(r->body, "image"));

	r->image = name ? manager_find(r->m, name) : NULL;
	if (!r->image) {
		snprintf(error, HEARTH_ZYGOTE_ERROR, "no image '%.64s' is declared",
			 name ? name : "");
		return -ENOENT;
	}
	if (!r->conn->uid || r->conn->uid == r->image->settings->uid)
		return 0;
	snprintf(error, HEARTH_ZYGOTE_ERROR, "image '%s' is uid %u's, not uid %u's", name,
		 r->image->settings->uid, r->conn->uid);
	return -EACCES;
}

static int dispatch(struct request *r, char *error)
{
	const char *what = json_string_value(json_object_get(r->body, "do"));
	int err;

	if (r->m->ending)
		return -ESHUTDOWN;
	for (size_t i = 0; what && i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, what))
			continue;
		err = verbs[i].image ? find_image(r, error) : 0;
		return err ? err : verbs[i].run(r, error);
	}
	snprintf(error, HEARTH_ZYGOTE_ERROR, "do: accepted: ls, show, build, evict, run");
	return -EINVAL;
}

void api_measured(struct manager *m)
{
	struct conn *c, *next;

	DL_FOREACH_SAFE(m->conns, c, next)
	{
		char error[HEARTH_ZYGOTE_ERROR] = "";
		struct request r = {.m = m, .conn = c, .body = c->later};
		uint64_t id = c->id;
		int err;

		if (!r.body)
			continue;
		c->later = NULL;
		err = dispatch(&r, error);
		if (err)
			api_fail(m, id, err, error);
		json_decref(r.body);
	}
}

/* Descriptors come in the order in which `fds` names them. */
static int sort_fds(struct request *r, int *came, int n, char *error)
{
	static const char *const names[API_FDS] = {"cgroup", "stdin", "stdout", "stderr"};
	json_t *list = json_object_get(r->body, "fds"), *word;
	size_t i;

	json_array_foreach (list, i, word) {
		const char *name = json_string_value(word);

		for (int j = 0; name && (int)i < n && j < API_FDS; j++)
			if (!strcmp(names[j], name) && r->fds[j] < 0)
				r->fds[j] = steal_fd(&came[i]);
	}
	if ((size_t)n != json_array_size(list))
		goto wrong;
	for (int j = 0; j < n; j++)
		if (came[j] >= 0)
			goto wrong;
	return 0;
wrong:
	snprintf(error, HEARTH_ZYGOTE_ERROR,
		 "fds: accepted: a name (cgroup, stdin, stdout, stderr) for each descriptor sent");
	return -EINVAL;
}

static void answer(struct conn *c, const char *text, size_t size, int *came, int n)
{
	char error[HEARTH_ZYGOTE_ERROR] = "";
	json_error_t why;
	struct request r = {.m = c->manager, .conn = c, .fds = {-1, -1, -1, -1}};
	uint64_t id = c->id;
	int err;

	r.body = json_loadb(text, size, 0, &why);
	if (!json_is_object(r.body)) {
		snprintf(error, sizeof(error), "not a JSON object: %.160s", why.text);
		err = -EINVAL;
	} else {
		err = sort_fds(&r, came, n, error);
		if (!err)
			err = dispatch(&r, error);
	}
	for (int i = 0; i < API_FDS; i++)
		if (r.fds[i] >= 0)
			close(r.fds[i]);
	json_decref(r.body);
	if (err)
		api_fail(c->manager, id, err, error);
}

/* Every descriptor of a message, closed again if there are too many. */
static int take_fds(struct msghdr *message, int *fds)
{
	int n = 0, fd;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < API_FDS)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	static char text[MESSAGE_MAX];
	struct conn *c = poll->data;
	int fds[API_FDS] = {-1, -1, -1, -1};
	char control[CMSG_SPACE(API_FDS * sizeof(int))];
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
	n = size > 0 ? take_fds(&message, fds) : 0;
	if (size <= 0 || c->asked) {
		conn_close(c); /* it went away: what it had asked for goes on */
	} else if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		api_fail(c->manager, c->id, -EMSGSIZE, "the request is too long");
	} else {
		c->asked = true;
		answer(c, text, (size_t)size, fds, n);
	}
	for (int i = 0; i < API_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* ---- the socket */

static size_t count_conns(const struct manager *m)
{
	struct conn *c;
	size_t n;

	DL_COUNT(m->conns, c, n);
	return n;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct manager *m = poll->data;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = status < 0 ? -1 : accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *c = NULL;

	(void)events;
	if (fd < 0)
		return;
	if (count_conns(m) < CONNS_MAX &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
		c = calloc(1, sizeof(*c));
	if (!c || uv_poll_init(&m->loop, &c->poll, fd)) {
		free(c);
		close(fd);
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

int api_open(struct manager *m)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = m->settings->socket;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path)) {
		close(fd);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		close(fd);
		return -EADDRINUSE;
	}
	unlink(path);
	/* anybody may ask; who gets an answer is decided by uid */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	m->listen_fd = fd;
	m->listener.data = m;
	err = uv_poll_init(&m->loop, &m->listener, fd);
	return err ? err : uv_poll_start(&m->listener, UV_READABLE, on_connection);
}

void api_close(struct manager *m)
{
	uv_close((uv_handle_t *)&m->listener, NULL);
	close(m->listen_fd);
	unlink(m->settings->socket);
}
