/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An image as the API shows it. */
#include <stdio.h>

#include "images/image.h"
#include "images/runtime.h"
#include "images/spare.h"
#include "lib/clock.h"
#include "lib/pip_lock.h"

const char *image_state_name(enum image_state state)
{
	static const char *const names[IMAGE_STATES] = {
	    [IMAGE_NONE] = "none",
	    [IMAGE_BUILDING] = "building",
	    [IMAGE_RESIDENT] = "resident",
	    [IMAGE_FROZEN] = "frozen",
	};

	return names[state];
}

/* FNV-1a, to tell keys apart at a glance; they are compared as a whole. */
static void short_key(const char *key, char *text, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * 0x100000001b3;
	snprintf(text, size, "%016llx", (unsigned long long)hash);
}

json_t *image_json(const struct image *image)
{
	const struct image_settings *s = image->settings;
	char key[17];
	json_t *modules = json_array(), *object;

	short_key(s->key, key, sizeof(key));
	for (char **m = s->module; *m; m++)
		json_array_append_new(modules, json_string(*m));
	object = json_pack(
	    "{s:s s:i s:s s:s s:o s:s s:s s:I s:i s:i s:I s:I s:I s:f s:f s:I s:I s:f s:s s:s}",
	    "name", s->name, "owner", (int)s->uid, "key", key, "interpreter", s->interpreter,
	    "modules", modules, "policy", s->policy, "state", image_state_name(image->state), "pid",
	    (json_int_t)image->pid, "running", (int)image->busy, "children", (int)image->children,
	    "uses", (json_int_t)image->uses, "forks", (json_int_t)image->forks, "cold",
	    (json_int_t)image->cold, "build_s", ns_to_s(image->build_took_ns), "fork_s",
	    ns_to_s(image->fork_took_ns), "resident_bytes", (json_int_t)image->resident_bytes,
	    "swap_bytes", (json_int_t)image->swap_bytes, "value", image_value(image), "cgroup",
	    image->cgroup, "error", image->error);
	json_object_set_new(object, "declared", json_string(s->request ? "api" : "config"));
	json_object_set_new(object, "retired", json_boolean(image->retired));
	json_object_set_new(object, "log", json_string(image->log));
	json_object_set_new(object, "locked", json_integer((json_int_t)pip_lock_count(s->lock)));
	json_object_set_new(object, "runtime", json_string(s->runtime->name));
	json_object_set_new(object, "spares", json_integer(spare_ready(image)));
	json_object_set_new(object, "claims", json_integer((json_int_t)image->claims));
	json_object_set_new(object, "claim_s", json_real(ns_to_s(image->claim_took_ns)));
	usage_add_fields(image, object);
	return object;
}
