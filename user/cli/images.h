/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The socket of hearth-images: one JSON object a message, one request a connection
 * (docs/images.md). Failures are reported here, once, with what to do next.
 */
#ifndef HEARTH_CLI_IMAGES_H
#define HEARTH_CLI_IMAGES_H

#include <jansson.h>

#include "cli/cli.h"

#define IMAGES_SOCKET "/run/hearth/images.sock"
#define IMAGES_FDS    4 /* most descriptors of a request */

/* HEARTH_IMAGES_SOCKET, or where it is by default. */
const char *images_socket(void);

/*
 * Send a request, whose reference is taken, with n descriptors. CLI_OK with the
 * connection in *out, or CLI_FAILED after the message.
 */
int images_ask(struct cli *cli, const char *socket, json_t *request, const int *fds, int n,
	       int *out);

/* Answers come at once, or something is wrong: wait for them for some seconds only. */
void images_hurry(int conn);

/* The next answer and the descriptor that came along (-1: none; NULL: none wanted). */
int images_answer(struct cli *cli, int conn, json_t **out, int *fd);

/*
 * Every image that the asker may see, in as many messages as that takes:
 * {"images":[...],"retired":[...]}.
 */
int images_list(struct cli *cli, const char *socket, json_t **out);

#endif
