/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the image manager says of its images, between its JSON, the snapshot and
 * the JSON of the API. One table of fields: what the manager does not tell yet
 * is unknown, what it tells beyond the table is left out.
 */
#ifndef HEARTH_IMAGES_DATA_H
#define HEARTH_IMAGES_DATA_H

#include <jansson.h>

#include "agent/snapshot.h"

#define IMAGES_MAX 1024u /* shown at most */

/* Texts are borrowed from answer, which stays the owner. */
struct images_data {
	json_t *answer;
	struct snapshot_image *images;
	size_t n;
};

/* -EPROTO if it is no list of images; -ENOMEM. */
int images_data_parse(const char *text, size_t len, struct images_data *out);
void images_data_done(struct images_data *d);

json_t *snapshot_images_json(const struct snapshot_images *s);

#endif
