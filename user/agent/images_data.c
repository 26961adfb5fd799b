/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "agent/images_data.h"
#include "agent/snapshot_json.h"
#include "lib/util.h"

enum field_kind { FIELD_TEXT, FIELD_COUNT, FIELD_REAL };

static const struct {
	const char *key;
	enum field_kind kind;
	size_t offset;
} fields[] = {
#define FIELD(kind, name)                                                                          \
	{                                                                                          \
#name, FIELD_##kind, offsetof(struct snapshot_image, name)                         \
	}
    FIELD(TEXT, name),         FIELD(COUNT, owner),          FIELD(TEXT, state),
    FIELD(TEXT, policy),       FIELD(TEXT, cgroup),          FIELD(TEXT, error),
    FIELD(COUNT, users),       FIELD(COUNT, running),        FIELD(COUNT, children),
    FIELD(COUNT, spares),      FIELD(COUNT, uses),           FIELD(COUNT, hits),
    FIELD(COUNT, forks),       FIELD(COUNT, cold),           FIELD(REAL, build_s),
    FIELD(REAL, fork_s),       FIELD(COUNT, resident_bytes), FIELD(COUNT, swap_bytes),
    FIELD(COUNT, bytes_saved), FIELD(REAL, seconds_saved),   FIELD(REAL, value),
#undef FIELD
};

static void parse_image(const json_t *o, struct snapshot_image *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const json_t *value = json_object_get(o, fields[i].key);
		void *at = (char *)out + fields[i].offset;

		if (fields[i].kind == FIELD_TEXT)
			*(const char **)at =
			    json_string_value(value) ? json_string_value(value) : "";
		else
			*(double *)at = json_is_number(value) ? json_number_value(value) : NAN;
	}
}

static int add_part(struct images_data *d, json_t *list)
{
	size_t n = MIN(d->n + json_array_size(list), IMAGES_MAX);
	struct snapshot_image *images = reallocarray(d->images, n + 1, sizeof(*images));

	if (!images)
		return -ENOMEM;
	d->images = images;
	if (!d->parts)
		d->parts = json_array();
	if (json_array_append(d->parts, list))
		return -ENOMEM;
	for (size_t i = 0; d->n < n; i++)
		parse_image(json_array_get(list, i), &d->images[d->n++]);
	return 0;
}

int images_data_add(struct images_data *d, const char *text, size_t len, bool *more)
{
	json_t *answer = json_loadb(text, len, 0, NULL), *list = json_object_get(answer, "images");
	size_t had = d->n;
	int err = json_is_array(list) ? add_part(d, list) : -EPROTO;

	/* A part that brings nothing would be asked for again and again. */
	if (!err)
		*more = json_is_true(json_object_get(answer, "more")) && d->n > had &&
			d->n < IMAGES_MAX;
	json_decref(answer);
	return err;
}

void images_data_done(struct images_data *d)
{
	json_decref(d->parts);
	free(d->images);
	*d = (struct images_data){0};
}

static json_t *number(double v, enum field_kind kind)
{
	if (!isfinite(v))
		return json_null();
	return kind == FIELD_COUNT ? json_integer((json_int_t)v) : json_real(v);
}

static json_t *image_json(const struct snapshot_image *image)
{
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const void *at = (const char *)image + fields[i].offset;

		json_object_set_new(o, fields[i].key,
				    fields[i].kind == FIELD_TEXT
					? snapshot_text_json(*(const char *const *)at)
					: number(*(const double *)at, fields[i].kind));
	}
	return o;
}

json_t *snapshot_images_json(const struct snapshot_images *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_images; i++)
		json_array_append_new(list, image_json(&s->images[i]));
	return json_pack("{s:o s:o s:o s:o}", "socket", snapshot_text_json(s->socket), "why_not",
			 snapshot_text_json(s->why_not), "as_of_s", number(s->as_of_s, FIELD_REAL),
			 "images", list);
}
