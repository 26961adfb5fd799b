/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading pressure and listening for it. The kernel counts time with its own
 * clock and wakes us through POLLPRI; each wake-up takes the event back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/psi.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define WINDOW_MIN_NS   (500 * NSEC_PER_MSEC) /* the kernel's limits */
#define WINDOW_MAX_NS   (10 * NSEC_PER_SEC)
#define WINDOW_PLAIN_NS (2 * NSEC_PER_SEC) /* multiples of it need no privilege */

struct psi {
	uv_poll_t poll;
	int fd;
	uint64_t window_ns;
	psi_fn fn;
	void *arg;
};

/* ---- reading */

static bool parse_line(const char *text, const char *name, struct psi_line *out)
{
	const char *at = strstr(text, name);
	double avg[3];
	unsigned long long total;

	if (!at || sscanf(at + strlen(name), " avg10=%lf avg60=%lf avg300=%lf total=%llu", &avg[0],
			  &avg[1], &avg[2], &total) != 4)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(avg); i++)
		if (!(avg[i] >= 0 && avg[i] <= 100))
			return false;
	*out = (struct psi_line){avg[0] / 100, avg[1] / 100, avg[2] / 100, total};
	return true;
}

int psi_parse(const char *text, struct psi_use *out)
{
	struct psi_use use = {};

	if (strncmp(text, "some ", 5) != 0 || !parse_line(text, "some", &use.some))
		return -EBADMSG;
	if (strstr(text, "\nfull") && !parse_line(text, "\nfull", &use.full))
		return -EBADMSG;
	*out = use;
	return 0;
}

int psi_read(const char *path, struct psi_use *out)
{
	char text[512];
	ssize_t len = read_file_at(AT_FDCWD, path, text, sizeof(text));

	if (len < 0)
		return len == -ENOENT ? -EOPNOTSUPP : (int)len;
	return psi_parse(text, out);
}

/* ---- listening */

static void on_pressure(uv_poll_t *poll, int status, int events)
{
	struct psi *p = poll->data;

	if (status < 0) {
		log_warn("pressure is no longer told of: %s", uv_strerror(status));
		uv_poll_stop(poll);
	} else if (events & UV_PRIORITIZED) {
		p->fn(p->arg);
	}
}

static int explain(int error, const char *path, char *why, size_t size)
{
	switch (error) {
	case -ENOENT:
	case -EOPNOTSUPP:
		snprintf(why, size,
			 "%s: the kernel keeps no pressure information (psi=1 turns it on)", path);
		return -EOPNOTSUPP;
	default:
		snprintf(why, size, "%s: %s", path, strerror(-error));
		return error;
	}
}

/* An open file with a trigger, or -errno as the kernel says. */
static int set_trigger(const struct psi_options *o, uint64_t window_ns)
{
	_cleanup_close_ int fd = open(o->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	unsigned long long window_us = window_ns / NSEC_PER_USEC;
	char text[64];
	int len;

	if (fd < 0)
		return -errno;
	len = snprintf(text, sizeof(text), "some %llu %llu",
		       MAX((unsigned long long)(o->share * (double)window_us), 1ull), window_us);
	if (write(fd, text, (size_t)len + 1) < 0) /* with its end, as the kernel wants it */
		return -errno;
	return steal_fd(&fd);
}

int psi_new(const struct psi_options *o, struct psi **out, char *why, size_t why_size)
{
	uint64_t window_ns = o->window_ns;
	struct psi *p;
	int fd;

	if (!(o->share > 0 && o->share <= 1) || o->window_ns < WINDOW_MIN_NS ||
	    o->window_ns > WINDOW_MAX_NS) {
		snprintf(why, why_size, "a trigger is a share up to 1 of 500 ms to 10 s");
		return -EINVAL;
	}
	fd = set_trigger(o, window_ns);
	if (fd == -EINVAL) {
		window_ns = (window_ns + WINDOW_PLAIN_NS - 1) / WINDOW_PLAIN_NS * WINDOW_PLAIN_NS;
		fd = set_trigger(o, window_ns);
	}
	if (fd < 0)
		return explain(fd, o->path, why, why_size);
	p = calloc(1, sizeof(*p));
	if (!p || uv_poll_init(o->loop, &p->poll, fd) < 0) {
		close(fd);
		free(p);
		return explain(-ENOMEM, o->path, why, why_size);
	}
	p->fd = fd;
	p->window_ns = window_ns;
	p->fn = o->fn;
	p->arg = o->arg;
	p->poll.data = p;
	uv_poll_start(&p->poll, UV_PRIORITIZED, on_pressure);
	*out = p;
	return 0;
}

uint64_t psi_window_ns(const struct psi *p)
{
	return p->window_ns;
}

static void on_closed(uv_handle_t *handle)
{
	struct psi *p = handle->data;

	close(p->fd);
	free(p);
}

void psi_free(struct psi *p)
{
	if (p)
		uv_close((uv_handle_t *)&p->poll, on_closed);
}
