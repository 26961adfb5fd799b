/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/images_data.h"
#include "agent/images_view.h"
#include "lib/clock.h"
#include "lib/util.h"

#define ASK_MS      1000                /* between two questions while somebody looks */
#define ANSWER_MS   5000                /* the manager may measure before it answers */
#define WATCHED_NS  (30 * NSEC_PER_SEC) /* a look keeps the questions going so long */
#define ANSWER_MAX  (512u << 10)
#define NOBODY_HERE "no image manager here"

/* One question, for one part of the list; it is freed when the loop has let go of it. */
struct talk {
	uv_poll_t poll;
	struct images_view *view;
	int fd;
};

struct images_view {
	uv_loop_t *loop;
	char *socket;     /* "": there is none */
	uv_timer_t timer; /* the next question, or the end of our patience with this one */
	struct talk *talk;
	uint64_t looked_ns;
	struct images_data data;
	struct images_data coming; /* the parts of the next list so far */
	double as_of_s;
	char why_not[256]; /* "": it answered */
};

static void on_timer(uv_timer_t *timer);
static void ask_part(struct images_view *v);

static void free_talk(uv_handle_t *poll)
{
	free(container_of((uv_poll_t *)poll, struct talk, poll));
}

static void hang_up(struct images_view *v)
{
	struct talk *t = v->talk;

	v->talk = NULL;
	if (!t)
		return;
	uv_close((uv_handle_t *)&t->poll, free_talk);
	close(t->fd);
}

static void forget(struct images_view *v)
{
	images_data_done(&v->data);
	v->as_of_s = NAN;
}

/* The question is over; the next one comes if somebody looked lately. */
static void settle(struct images_view *v)
{
	hang_up(v);
	images_data_done(&v->coming);
	if (v->looked_ns && now_ns() < v->looked_ns + WATCHED_NS)
		uv_timer_start(&v->timer, on_timer, ASK_MS, 0);
	else
		uv_timer_stop(&v->timer);
}

__attribute__((format(printf, 2, 3))) static void fail(struct images_view *v, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(v->why_not, sizeof(v->why_not), fmt, args);
	va_end(args);
	settle(v);
}

static void take(struct images_view *v, const char *text, size_t len)
{
	bool more;
	int err = images_data_add(&v->coming, text, len, &more);

	if (err)
		return fail(v, "%s: %s", v->socket,
			    err == -EPROTO ? "what answers is no image manager" : strerror(-err));
	if (more) {
		hang_up(v);
		return ask_part(v);
	}
	images_data_done(&v->data);
	v->data = v->coming;
	v->coming = (struct images_data){0};
	v->as_of_s = ns_to_s(unix_ns());
	v->why_not[0] = '\0';
	settle(v);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct talk *t = container_of(poll, struct talk, poll);
	_cleanup_free_ char *text = malloc(ANSWER_MAX);
	struct images_view *v = t->view;
	ssize_t n;

	(void)events;
	if (status || !text)
		return fail(v, "%s: %s", v->socket, status ? uv_strerror(status) : "no memory");
	n = recv(t->fd, text, ANSWER_MAX, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		fail(v, "%s: %s", v->socket, strerror(errno));
	else if (n == 0)
		fail(v, "%s: it ended before it had answered", v->socket);
	else
		take(v, text, (size_t)n);
}

/* Neither connecting nor sending waits: both are done at once, or refused. */
static int open_talk(struct images_view *v, int *out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char question[64];

	snprintf(question, sizeof(question), "{\"do\":\"ls\",\"skip\":%zu}", v->coming.n);
	if (fd < 0)
		return -errno;
	if (strlen(v->socket) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, v->socket);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, question, strlen(question), MSG_NOSIGNAL) < 0)
		return -errno;
	*out = steal_fd(&fd);
	return 0;
}

static void ask_part(struct images_view *v)
{
	int fd = -1, err = v->socket[0] ? open_talk(v, &fd) : -ENOENT;
	struct talk *t;

	if (err == -ENOENT || err == -ECONNREFUSED) {
		forget(v);
		return fail(v, NOBODY_HERE);
	}
	if (err)
		return fail(v, "%s: %s", v->socket, strerror(-err));
	t = calloc(1, sizeof(*t));
	err = t ? uv_poll_init(v->loop, &t->poll, fd) : -ENOMEM;
	if (err) {
		close(fd);
		free(t);
		return fail(v, "%s: %s", v->socket, strerror(-err));
	}
	t->view = v;
	t->fd = fd;
	v->talk = t;
	uv_poll_start(&t->poll, UV_READABLE, on_readable);
	uv_timer_start(&v->timer, on_timer, ANSWER_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct images_view *v = container_of(timer, struct images_view, timer);

	if (v->talk)
		fail(v, "%s: no answer within %d s", v->socket, ANSWER_MS / 1000);
	else
		ask_part(v);
}

void images_view_look(struct images_view *v, struct snapshot_images *out)
{
	v->looked_ns = now_ns();
	if (!v->talk && !uv_is_active((uv_handle_t *)&v->timer))
		ask_part(v);
	*out = (struct snapshot_images){
	    .socket = v->socket,
	    .why_not = v->why_not[0] ? v->why_not : NULL,
	    .as_of_s = v->as_of_s,
	    .images = v->data.images,
	    .n_images = v->data.n,
	};
}

/* ---- life cycle */

int images_view_new(uv_loop_t *loop, const char *socket, struct images_view **out)
{
	struct images_view *v = calloc(1, sizeof(*v));

	if (v)
		v->socket = strdup(socket);
	if (!v || !v->socket) {
		free(v);
		return -ENOMEM;
	}
	v->loop = loop;
	v->as_of_s = NAN;
	snprintf(v->why_not, sizeof(v->why_not), "the image manager has not answered yet");
	uv_timer_init(loop, &v->timer);
	ask_part(v);
	*out = v;
	return 0;
}

int images_view_configure(struct images_view *v, const char *socket)
{
	char *copy;

	if (!strcmp(v->socket, socket))
		return 0;
	copy = strdup(socket);
	if (!copy)
		return -ENOMEM;
	free(v->socket);
	v->socket = copy;
	hang_up(v);
	images_data_done(&v->coming);
	forget(v);
	ask_part(v);
	return 0;
}

static void free_view(uv_handle_t *timer)
{
	struct images_view *v = container_of((uv_timer_t *)timer, struct images_view, timer);

	images_data_done(&v->data);
	images_data_done(&v->coming);
	free(v->socket);
	free(v);
}

void images_view_free(struct images_view *v)
{
	if (!v)
		return;
	hang_up(v);
	uv_close((uv_handle_t *)&v->timer, free_view);
}
