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

int images_data_parse(const char *text, size_t len, struct images_data *out)
{
	json_t *answer = json_loadb(text, len, 0, NULL), *list = json_object_get(answer, "images");
	struct images_data d = {.answer = answer, .n = MIN(json_array_size(list), IMAGES_MAX)};

	if (!json_is_array(list)) {
		json_decref(answer);
		return -EPROTO;
	}
	d.images = calloc(d.n + 1, sizeof(*d.images));
	if (!d.images) {
		json_decref(answer);
		return -ENOMEM;
	}
	for (size_t i = 0; i < d.n; i++)
		parse_image(json_array_get(list, i), &d.images[i]);
	*out = d;
	return 0;
}

void images_data_done(struct images_data *d)
{
	json_decref(d->answer);
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
