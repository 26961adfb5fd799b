/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the socket and its connections (api_socket.c) and what is asked there (api.c). */
#ifndef HEARTH_IMAGES_API_INTERNAL_H
#define HEARTH_IMAGES_API_INTERNAL_H

#include "images/api.h"

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
	uint64_t save; /* 0, or the number of what must be in the file before the answer */
	json_t *saved; /* that answer */
	struct conn *prev, *next;
};

struct request {
	struct manager *m;
	struct conn *conn;
	json_t *body;
	struct image *image;
	int fds[API_FDS]; /* -1: none */
};

/* A message with the descriptors that came along: what is left of them is the caller's. */
void api_take(struct conn *c, const char *text, size_t size, int *came, int n);

#endif
