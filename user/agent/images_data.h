/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the image manager says of its images, between its JSON, the snapshot and
 * the JSON of the API. One table of fields: what the manager does not tell yet
 * is unknown, what it tells beyond the table is left out.
 */
#ifndef HEARTH_IMAGES_DATA_H
#define HEARTH_IMAGES_DATA_H

#include <jansson.h>
#include <stdbool.h>

#include "agent/snapshot.h"

#define IMAGES_MAX 1024u /* shown at most */

/* Texts are borrowed from the parts, which stay the owners. */
struct images_data {
	json_t *parts;
	struct snapshot_image *images;
	size_t n;
};

/*
 * Add an answer to a list that comes in parts; more: another part is to be asked for.
 * -EPROTO if it is no list of images; -ENOMEM.
 */
int images_data_add(struct images_data *d, const char *text, size_t len, bool *more);
void images_data_done(struct images_data *d);

json_t *snapshot_images_json(const struct snapshot_images *s);

#endif
