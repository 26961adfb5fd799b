/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connection buffer and the protocols that are not HTTP/1: a line echo, bytes
 * that look like TLS, and an HTTP/2 preface. The latter two answer and then
 * echo: enough to move bytes both ways, which is all the kernel side can see.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "conn.h"
#include "gate.h"

int conn_send(struct conn *c, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int conn_print(struct conn *c, const char *fmt, ...)
{
	char out[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, sizeof(out), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(out))
		return -1;
	return conn_send(c, out, (size_t)n);
}

int conn_fill(struct conn *c)
{
	ssize_t n;

	if (c->len == sizeof(c->buf))
		return -1;
	n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
	if (n > 0)
		c->len += (size_t)n;
	return (int)n;
}

void conn_consume(struct conn *c, size_t n)
{
	memmove(c->buf, c->buf + n, c->len - n);
	c->len -= n;
}

/* Answers each line with itself; "ECHO hold" answers when released. */
static void echo_lines(struct conn *c)
{
	for (;;) {
		char *nl = memchr(c->buf, '\n', c->len);
		size_t line;

		if (!nl) {
			if (conn_fill(c) <= 0)
				return;
			continue;
		}
		line = (size_t)(nl - c->buf) + 1;
		if (strncmp(c->buf, "ECHO hold", 9) == 0)
			gate_wait("echo");
		if (conn_send(c, c->buf, line) < 0)
			return;
		conn_consume(c, line);
	}
}

/* Answers a greeting of its own once, then echoes every byte. */
static void echo_bytes(struct conn *c, const void *greeting, size_t len)
{
	if (conn_send(c, greeting, len) < 0)
		return;
	c->len = 0;
	while (conn_fill(c) > 0) {
		if (conn_send(c, c->buf, c->len) < 0)
			return;
		c->len = 0;
	}
}

void conn_serve(int fd)
{
	static const unsigned char server_hello[] = {0x16, 3, 3, 0, 4, 2, 0, 0, 0};
	static const unsigned char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
	struct conn c = {.fd = fd};

	while (c.len < 4)
		if (conn_fill(&c) <= 0)
			return;
	if (memcmp(c.buf, "ECHO", 4) == 0)
		echo_lines(&c);
	else if (c.buf[0] == 0x16)
		echo_bytes(&c, server_hello, sizeof(server_hello));
	else if (memcmp(c.buf, "PRI ", 4) == 0)
		echo_bytes(&c, settings, sizeof(settings));
	else
		http_serve(&c);
}
