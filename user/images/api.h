/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The manager's socket: AF_UNIX, SOCK_SEQPACKET, one JSON object a message, one
 * request a connection, descriptors by SCM_RIGHTS (docs/images.md). Root may ask
 * about every image, an owner about its own.
 */
#ifndef HEARTH_IMAGES_API_H
#define HEARTH_IMAGES_API_H

#include <jansson.h>

#include "images/manager.h"

#define API_FDS 4 /* cgroup, stdin, stdout, stderr */

/* 0 or -errno. */
int api_open(struct manager *m);
void api_close(struct manager *m);

/*
 * Answer the connection of that number, if it is still there; takes over the
 * reference to answer. fd may be -1; last: nothing follows, so it is closed.
 */
void api_answer(struct manager *m, uint64_t conn, json_t *answer, int fd, bool last);
/* What was asked to be saved, up to that number, is in the file; or err says why not. */
void api_saved(struct manager *m, uint64_t number, int err);
/* The memory of the images has been measured: whoever waited for that is answered. */
void api_measured(struct manager *m);
void api_fail(struct manager *m, uint64_t conn, int err, const char *text);

#endif
