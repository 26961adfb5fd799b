/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The smallest HTTP/1.1 server that the C demo functions can share: keep-alive,
 * Content-Length bodies, one thread per connection, TCP or AF_UNIX.
 */
#ifndef HEARTH_DEMO_HTTPD_H
#define HEARTH_DEMO_HTTPD_H

#include <stddef.h>

enum { HTTPD_MAX_BODY = 1 << 20 };

/*
 * Writes the answer to a request body to *reply (malloc'ed, freed by the
 * server): its length, or -1 for status 500. Called from many threads at once.
 */
typedef long (*httpd_handler)(const char *body, size_t len, char **reply, void *arg);

/* where: a TCP port of 127.0.0.1, or the path of a Unix socket. Returns only on error: -errno. */
int httpd_run(const char *where, httpd_handler handler, void *arg);

#endif
