/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The API's listening socket and who is at the other end. The file is never
 * open to more than its owner and group, not even for a moment.
 */
#ifndef HEARTH_API_SOCKET_H
#define HEARTH_API_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/api.h"

struct api_socket {
	int fd; /* listening, non-blocking */
	bool has_group;
	gid_t group;
	dev_t dev; /* of the file, so that only our own is removed */
	ino_t ino;
};

/*
 * Listen on path, mode 0660. A stale file is replaced; -EADDRINUSE if somebody
 * answers, -EEXIST if it is no socket. One line in err on failure.
 */
int api_socket_open(const char *path, const char *group, struct api_socket *out, char *err,
		    size_t err_size);

/* Remove path if it is still ours; the fd belongs to whoever serves it. */
void api_socket_unlink(const struct api_socket *s, const char *path);

/* The peer of a connection, as the kernel knows it. */
int api_socket_peer(int fd, struct api_peer *out);

/* True for uid 0 and for members (primary or supplementary) of the socket's group. */
bool api_socket_may_change(const struct api_socket *s, int fd, const struct api_peer *peer);

#endif
