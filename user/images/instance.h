/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An instance of a function, forked from its image or, whenever that fails,
 * started cold: the same runtime with the same handler. It is started once: when
 * it is unknown whether the image did, that is an error and no reason to try again.
 */
#ifndef HEARTH_IMAGES_INSTANCE_H
#define HEARTH_IMAGES_INSTANCE_H

#include <jansson.h>

#include "images/manager.h"

/*
 * Start what the request asks for; conn is told how that went and how it ended. The
 * descriptors (-1: none) are its own from then on. 0, or -errno with what is wrong.
 */
int instance_start(struct image *image, uint64_t conn, const json_t *request, uid_t asker,
		   int fds[], char *error);

/* If this child was one, its caller is told and it is forgotten. */
void instance_exited(struct manager *m, pid_t pid, int status);

/* Up to max of those that live and were forked from this image; how many. */
size_t instance_children(const struct image *image, pid_t *pids, size_t max);

/* Ask of each whether it has ended. */
void instance_reap_all(struct manager *m);

#endif
