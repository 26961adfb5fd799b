/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of an image: none - building - resident - frozen and paged out - none.
 * Invariant: it is ended by us only while it has no children, except when the
 * manager ends; whatever fails ends in "none" with the reason in ->error.
 */
#ifndef HEARTH_IMAGES_IMAGE_H
#define HEARTH_IMAGES_IMAGE_H

#include <jansson.h>

#include "images/manager.h"

/* Another in the manager's list; settings are its own from then on. 0 or -errno. */
int image_new(struct manager *m, struct image_settings *settings, struct image **out);
/* Nothing may live of it. It is gone from the list, and from memory when the loop has turned. */
void image_free(struct image *image);

/* No instance is to come from it any more: it is ended and freed once it has no children. */
void image_retire(struct image *image);

/*
 * Begin to build one that is not there. 0, also when it is there already or about to
 * be; -EAGAIN while the last one ends; else the reason is in image->error.
 */
int image_build(struct image *image, bool requested);

/* End it until it is used again. -EBUSY with children, -ENOENT if it is not there. */
int image_evict(struct image *image);
/* End it whoever it serves: the manager ends. */
void image_kill(struct image *image);

enum image_start { START_COLD, START_FORKED, START_CLAIMED };

/*
 * An instance is asked for: learn it, thaw, build if that pays. True: it is up to the image;
 * *spare is to be claimed (NULL: none is ready), else fork.
 */
bool image_begin(struct image *image, struct spare **spare);

/* How that went, within took_ns. */
void image_started(struct image *image, bool asked_image, enum image_start how, uint64_t took_ns);

/* That instance ended (or could not be started). */
void image_end(struct image *image, enum image_start how);

/* Does an instance that was started so have the image's pages? */
bool image_shares(const struct image *image, enum image_start how);

/* Its process ended with this wait status. */
void image_exited(struct image *image, int status);

/* Saved seconds per second and gigabyte: who is worth its memory. */
double image_value(const struct image *image);

json_t *image_json(const struct image *image);
const char *image_state_name(enum image_state state);

/* Told once the build is over: image->state is IMAGE_RESIDENT or image->error says why not. */
void image_built(struct image *image);

#endif
