/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The file is read line by line so that errors can name the line. */
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images/settings_value.h"
#include "lib/text.h"

static const struct value_key manager_keys[] = {
    {"socket", TYPE_PATH, offsetof(struct settings, socket), "/run/hearth/images.sock"},
    {"cgroup", TYPE_TEXT, offsetof(struct settings, cgroup), "hearth-images"},
    {"run_dir", TYPE_PATH, offsetof(struct settings, run_dir), "/run/hearth/images"},
    {"bootstrap", TYPE_PATH, offsetof(struct settings, bootstrap),
     "/usr/local/lib/hearth/hearth_zygote.py"},
    {"node_bootstrap", TYPE_PATH, offsetof(struct settings, node_bootstrap),
     "/usr/local/lib/hearth/hearth_zygote.js"},
    {"library", TYPE_TEXT, offsetof(struct settings, library), "libhearth-zygote.so.1"},
    {"state", TYPE_PATH, offsetof(struct settings, state), "/var/lib/hearth/images.json"},
    {"budget", TYPE_SIZE, offsetof(struct settings, budget_bytes), "0"},
    {"owner_processes", TYPE_COUNT, offsetof(struct settings, owner_processes), "16384"},
    {"declare_max", TYPE_COUNT, offsetof(struct settings, declare_max), "8"},
    {"declare_memory", TYPE_SIZE, offsetof(struct settings, declare_memory_bytes), "4G"},
    {"declare_timeout", TYPE_DURATION, offsetof(struct settings, declare_timeout_ns), "60s"},
    {"declare_spares", TYPE_COUNT, offsetof(struct settings, declare_spares), "2"},
    {0},
};

struct loader {
	FILE *file;
	int line;
	struct settings *settings;
	char section[TEXT_WORD_MAX];  /* "" before the first */
	struct image_settings *image; /* of the section; NULL: it is [manager] */
	unsigned int given;           /* bit per key of [manager] */
	int rc;
	char *err;
	size_t err_size;
};

static int fail(struct loader *l, const char *fmt, ...) _printf_(2, 3);
static int fail(struct loader *l, const char *fmt, ...)
{
	va_list args;
	int n;

	if (l->rc)
		return l->rc;
	n = snprintf(l->err, l->err_size, "%s:%d: ", l->settings->file, l->line);
	va_start(args, fmt);
	if (n >= 0 && (size_t)n < l->err_size)
		vsnprintf(l->err + n, l->err_size - n, fmt, args);
	va_end(args);
	return l->rc = -EINVAL;
}

static int end_section(struct loader *l)
{
	struct settings *s = l->settings;
	struct image_settings *image = l->image;
	char why[SETTINGS_ERROR];

	if (l->rc || !image)
		return l->rc;
	if (image_settings_finish(image, why))
		return fail(l, "%s", why);
	for (size_t i = 0; i < s->n_images && s->images[i] != image; i++)
		if (!strcmp(s->images[i]->key, image->key))
			return fail(l, "[image %s] is the same as [image %s]: one is enough",
				    image->name, s->images[i]->name);
	return 0;
}

static int begin_image(struct loader *l, const char *name)
{
	struct settings *s = l->settings;
	struct image_settings **more;

	if (!settings_good_name(name))
		return fail(l, "image '%s'; accepted: " SETTINGS_NAME_ACCEPTED, name);
	for (size_t i = 0; i < s->n_images; i++)
		if (!strcmp(s->images[i]->name, name))
			return fail(l, "[image %s] comes twice", name);
	more = reallocarray(s->images, s->n_images + 1, sizeof(*more));
	if (!more)
		return fail(l, "no memory");
	s->images = more;
	l->image = image_settings_new(name);
	if (!l->image)
		return fail(l, "no memory");
	s->images[s->n_images++] = l->image;
	return 0;
}

static int begin_section(struct loader *l, const char *section)
{
	snprintf(l->section, sizeof(l->section), "%s", section);
	if (!strncmp(section, "image ", 6))
		return begin_image(l, section + 6);
	if (strcmp(section, "manager"))
		return fail(l, "unknown section [%s]; accepted: [manager], [image NAME]", section);
	l->image = NULL;
	l->given = 0;
	return 0;
}

static int set_manager(struct loader *l, const char *name, const char *value, char *why)
{
	const struct value_key *key = value_key_find(manager_keys, name, &l->given, why);

	return key ? value_set(l->settings, key, value, why) : -EINVAL;
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
	struct loader *l = arg;
	char why[SETTINGS_ERROR];
	int rc;

	if (strcmp(section, l->section) && (end_section(l) || begin_section(l, section)))
		return 0;
	if (!*l->section)
		return fail(l, "'%s' is in no section; accepted: [manager], [image NAME]", name), 0;
	rc = l->image ? image_settings_set(l->image, name, value, why)
		      : set_manager(l, name, value, why);
	return rc ? (fail(l, "[%s]: %s", section, why), 0) : 1;
}

static char *read_line(char *text, int size, void *arg)
{
	struct loader *l = arg;

	if (l->rc || !fgets(text, size, l->file))
		return NULL;
	l->line++;
	if (!strchr(text, '\n') && !feof(l->file))
		fail(l, "longer than %d bytes; a list of modules may come in several lines",
		     size - 2);
	return l->rc ? NULL : text;
}

static void parse(struct loader *l)
{
	char why[SETTINGS_ERROR];
	int bad;

	if (value_defaults(l->settings, manager_keys, why))
		fail(l, "%s", why);
	bad = ini_parse_stream(read_line, l, on_value, l);
	if (bad && !l->rc) {
		l->line = bad;
		fail(l, "not 'key = value', a [section] or a comment");
	}
	end_section(l);
	if (!l->rc && (*l->settings->cgroup == '/' || strstr(l->settings->cgroup, "..") ||
		       !*l->settings->cgroup))
		fail(l,
		     "[manager] cgroup: '%s'; accepted: a path below the cgroup2 root, such as "
		     "hearth-images",
		     l->settings->cgroup);
}

int settings_load(const char *file, struct settings **out, char *err, size_t err_size)
{
	struct settings *s = calloc(1, sizeof(*s));
	_cleanup_fclose_ FILE *stream = fopen(file, "re");
	struct loader l = {.file = stream, .settings = s, .err = err, .err_size = err_size};

	if (!stream || !s || !(s->file = strdup(file))) {
		l.rc = stream ? -ENOMEM : -errno;
		snprintf(err, err_size, "%s: %s", file, strerror(-l.rc));
	} else {
		parse(&l);
	}
	if (l.rc) {
		settings_free(s);
		return l.rc;
	}
	*out = s;
	return 0;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_images; i++)
		image_settings_free(s->images[i]);
	value_free(s, manager_keys);
	free(s->images);
	free(s->file);
	free(s);
}

bool settings_same_places(const struct settings *a, const struct settings *b)
{
	for (const struct value_key *k = manager_keys; k->name; k++)
		if (!value_is_number(k) && strcmp(*(char *const *)((const char *)a + k->offset),
						  *(char *const *)((const char *)b + k->offset)))
			return false;
	return true;
}

void settings_take_limits(struct settings *s, const struct settings *from)
{
	for (const struct value_key *k = manager_keys; k->name; k++)
		if (value_is_number(k))
			memcpy((char *)s + k->offset, (const char *)from + k->offset,
			       sizeof(uint64_t));
}
