/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the image manager beside us says of its images. It is asked without ever
 * waiting for it, and only while somebody looks: a look shows the last answer
 * and keeps the questions going for a while.
 */
#ifndef HEARTH_IMAGES_VIEW_H
#define HEARTH_IMAGES_VIEW_H

#include <uv.h>

#include "agent/snapshot.h"

struct images_view;

/* socket: of the manager, copied. Asks once, so that the first look has an answer. */
int images_view_new(uv_loop_t *loop, const char *socket, struct images_view **out);
/* Another socket after a reload; what was heard of another manager is forgotten. */
int images_view_configure(struct images_view *v, const char *socket);
/* The loop must still run once more. */
void images_view_free(struct images_view *v);

/* The last answer; valid until the loop runs again. */
void images_view_look(struct images_view *v, struct snapshot_images *out);

#endif
