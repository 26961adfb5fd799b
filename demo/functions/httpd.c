/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Requests larger than the limits and requests without a head end the
 * connection: a demo function has no reason to be more forgiving.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "httpd.h"

enum { MAX_HEAD = 8192, BACKLOG = 512 };

struct server {
	httpd_handler handler;
	void *arg;
};

struct client {
	const struct server *server;
	int fd;
	size_t len;
	char buf[MAX_HEAD + HTTPD_MAX_BODY];
};

static int send_all(int fd, const char *p, size_t len, int flags)
{
	while (len > 0) {
		ssize_t n = send(fd, p, len, flags);

		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Reads until the buffer holds n bytes. */
static int fill(struct client *c, size_t n)
{
	while (c->len < n) {
		ssize_t got = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);

		if (got <= 0)
			return -1;
		c->len += (size_t)got;
	}
	return 0;
}

static int answer(struct client *c, const char *body, size_t len)
{
	char *reply = NULL;
	long n = c->server->handler(body, len, &reply, c->server->arg);
	char head[128];
	int rc;

	snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %ld\r\n\r\n",
		 n < 0 ? "500 Internal Server Error" : "200 OK", n < 0 ? 0 : n);
	/* head and body in one segment, else Nagle's rule delays the second */
	rc = send_all(c->fd, head, strlen(head), n > 0 ? MSG_MORE : 0);
	if (rc == 0 && n > 0)
		rc = send_all(c->fd, reply, (size_t)n, 0);
	free(reply);
	return rc;
}

/* 0 to keep the connection. */
static int one_request(struct client *c)
{
	size_t head, body = 0;
	char *end, *line;

	while (!(end = memmem(c->buf, c->len, "\r\n\r\n", 4)))
		if (c->len >= MAX_HEAD || fill(c, c->len + 1) < 0)
			return -1;
	head = (size_t)(end - c->buf) + 4;
	*end = '\0';
	line = strcasestr(c->buf, "\r\nContent-Length:");
	if (line)
		body = strtoul(line + 17, NULL, 10);
	if (body > HTTPD_MAX_BODY || fill(c, head + body) < 0)
		return -1;
	if (answer(c, c->buf + head, body) < 0)
		return -1;
	c->len -= head + body;
	memmove(c->buf, c->buf + head + body, c->len);
	return 0;
}

static void *serve(void *arg)
{
	struct client *c = arg;

	while (one_request(c) == 0)
		;
	close(c->fd);
	free(c);
	return NULL;
}

static int listen_on(const char *where)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int is_path = strchr(where, '/') != NULL, one = 1, fd;

	if (is_path && strlen(where) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	strncpy(un.sun_path, where, sizeof(un.sun_path) - 1);
	in.sin_port = htons((unsigned short)atoi(where));
	fd = socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, is_path ? (struct sockaddr *)&un : (struct sockaddr *)&in,
		 is_path ? sizeof(un) : sizeof(in)) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

int httpd_run(const char *where, httpd_handler handler, void *arg)
{
	const struct server server = {handler, arg};
	int listener = listen_on(where);

	if (listener < 0)
		return listener;
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct client *c;
		pthread_t thread;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		c = malloc(sizeof(*c));
		if (!c) {
			close(fd);
			continue;
		}
		c->server = &server;
		c->fd = fd;
		c->len = 0;
		if (pthread_create(&thread, NULL, serve, c) != 0) {
			close(fd);
			free(c);
			continue;
		}
		pthread_detach(thread);
	}
}
