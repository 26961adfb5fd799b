/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which images there are: those of the file, read again by SIGHUP, and those that
 * were declared through the API. An image that is replaced or removed serves the
 * children it has and ends with the last of them.
 */
#ifndef HEARTH_IMAGES_ROSTER_H
#define HEARTH_IMAGES_ROSTER_H

#include "images/manager.h"

/* The images of the settings, which lose them. 0 or -errno. */
int roster_begin(struct manager *m);

/* Read the file again. One that is wrong changes nothing, and is told. */
void roster_reload(struct manager *m);

/* One that starts with what the new settings say; takes them. 0 or -errno. */
int roster_add(struct manager *m, struct image_settings *settings, struct image **out);
/* The same in the place of another, which goes. It is built if that one was. */
int roster_replace(struct image *old, struct image_settings *settings, struct image **out);

/* The image that has this key, or NULL. */
struct image *roster_with_key(struct manager *m, const char *key);
/* One of the configuration and one of the API may be the same: both stay, and it is told. */
void roster_warn_same(struct manager *m, const struct image_settings *settings);

#endif
