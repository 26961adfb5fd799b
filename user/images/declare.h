/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Images that are asked for through the API. A user declares its own, up to a number
 * and within the limits of the configuration; the names and keys of images stay
 * unique, whoever declares them.
 */
#ifndef HEARTH_IMAGES_DECLARE_H
#define HEARTH_IMAGES_DECLARE_H

#include <jansson.h>

#include "images/manager.h"

/* The settings that a request asks for, finished. 0, or -errno with what is wrong in err. */
int declare_parse(const json_t *request, struct image_settings **out, char *err);

/* Down to what the configuration allows to an image of the API. */
void declare_bound(const struct manager *m, struct image_settings *settings);

/*
 * An image as that user asks for it; that may be one which is there and the same.
 * *changed: there is something to save. 0, or -errno with the reason.
 */
int declare_image(struct manager *m, uid_t asker, const json_t *request, struct image **out,
		  bool *changed, char *error);

/* It is retired. 0, or -errno with the reason. */
int declare_forget(struct image *image, char *error);

#endif
