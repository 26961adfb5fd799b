/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One accepted connection of the test server: the first bytes choose the
 * protocol, an HTTP path chooses the behaviour, so one process serves every
 * case. conn_serve returns when the connection is done; it does not close it.
 */
#ifndef HEARTH_E2E_CONN_H
#define HEARTH_E2E_CONN_H

#include <stdbool.h>
#include <stddef.h>

struct conn {
	int fd;
	size_t len; /* bytes in buf that nobody consumed */
	char buf[65536];
};

struct request {
	char method[16];
	char path[256];
	char query[256];
	size_t content_length;
	bool keep_alive;
	bool expect_continue;
	bool chunked; /* the body is; its content is not looked at */
};

void conn_serve(int fd);

/* 0, or -1 when the peer is gone. */
int conn_send(struct conn *c, const void *data, size_t len);
int conn_print(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Reads more into buf: bytes added, 0 at the end of the stream, -1. */
int conn_fill(struct conn *c);
void conn_consume(struct conn *c, size_t n);

/* http.c: serves requests until the connection ends. */
void http_serve(struct conn *c);

#endif
