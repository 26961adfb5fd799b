/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Descriptors that somebody else has sent, and connections with such in their queue:
 * close() may take as long as a filesystem or a peer of the sender's likes (FUSE,
 * SO_LINGER), so it is done on a worker, in the sender's turn.
 */
#ifndef HEARTH_IMAGES_CLOSING_H
#define HEARTH_IMAGES_CLOSING_H

#include <stddef.h>
#include <sys/types.h>

struct manager;

/* Those that are not -1; all are -1 afterwards. Root's are closed here. */
void closing_fds(struct manager *m, uid_t uid, int *fds, size_t n);

#endif
