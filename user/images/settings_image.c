/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One image, as it is declared in the file or through the API. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images/runtime.h"
#include "images/settings_value.h"
#include "lib/pip_lock.h"

#define PATH_BYTES 4000 /* of a PYTHONPATH */
#define SPARES_MAX 64

static const struct value_key keys[] = {
    {"owner", TYPE_OWNER, offsetof(struct image_settings, owner), NULL},
    {"runtime", TYPE_RUNTIME, offsetof(struct image_settings, runtime), "python"},
    {"interpreter", TYPE_PATH, offsetof(struct image_settings, interpreter), "/usr/bin/python3"},
    {"modules", TYPE_WORDS, offsetof(struct image_settings, modules), ""},
    {"lock", TYPE_LOCK, offsetof(struct image_settings, lock), ""},
    {"path", TYPE_TEXT, offsetof(struct image_settings, path), ""},
    {"policy", TYPE_POLICY, offsetof(struct image_settings, policy), "hybrid"},
    {"build", TYPE_BUILD, offsetof(struct image_settings, at_start), "use"},
    {"build_timeout", TYPE_DURATION, offsetof(struct image_settings, build_timeout_ns), "60s"},
    {"memory", TYPE_SIZE, offsetof(struct image_settings, memory_bytes), "4G"},
    {"freeze_after", TYPE_DURATION, offsetof(struct image_settings, freeze_after_ns), "5s"},
    {"spares", TYPE_COUNT, offsetof(struct image_settings, spares), "0"},
    {"spares_for", TYPE_DURATION, offsetof(struct image_settings, spares_for_ns), "10m"},
    {0},
};

bool settings_good_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > IMAGE_NAME_MAX || name[0] == '.')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

struct image_settings *image_settings_new(const char *name)
{
	struct image_settings *image = calloc(1, sizeof(*image));
	char err[SETTINGS_ERROR];

	if (!image)
		return NULL;
	strncpy(image->name, name, sizeof(image->name) - 1);
	if (value_defaults(image, keys, err)) {
		image_settings_free(image);
		return NULL;
	}
	return image;
}

void image_settings_free(struct image_settings *image)
{
	if (!image)
		return;
	value_free(image, keys);
	free(image->module);
	free(image->key);
	free(image->request);
	free(image);
}

int image_settings_set(struct image_settings *image, const char *key, const char *value, char *err)
{
	const struct value_key *found = value_key_find(keys, key, &image->given, err);

	return found ? value_set(image, found, value, err) : -EINVAL;
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The list of modules; module[] is one allocation with its text behind it. */
static int split_modules(struct image_settings *image, char *err)
{
	size_t most = strlen(image->modules) / 2 + 2, n = 0, kept = 0;
	char **list = calloc(1, most * sizeof(*list) + strlen(image->modules) + 1), *text, *word;

	if (!list)
		return value_fail(err, "no memory");
	image->module = list;
	text = strcpy((char *)(list + most), image->modules);
	while ((word = strsep(&text, " \t,"))) {
		if (*word == '-')
			return value_fail(err, "modules: '%s'; accepted: names of modules", word);
		if (*word)
			list[n++] = word;
	}
	qsort(list, n, sizeof(*list), compare_words);
	for (size_t i = 0; i < n; i++)
		if (!kept || strcmp(list[kept - 1], list[i]))
			list[kept++] = list[i];
	list[kept] = NULL;
	return 0;
}

static int make_key(struct image_settings *image, char *err)
{
	size_t size;
	FILE *out = open_memstream(&image->key, &size);

	if (!out)
		return value_fail(err, "no memory");
	fprintf(out, "%u\n%s\n%s\n%s\n", image->uid, image->runtime->name, image->interpreter,
		image->path);
	for (char **m = image->module; *m; m++)
		fprintf(out, "%s\n", *m);
	if (*image->lock)
		fprintf(out, "\n%s", image->lock);
	return fclose(out) ? value_fail(err, "no memory") : 0;
}

static bool is_given(const struct image_settings *image, const char *name)
{
	size_t i = 0;

	while (strcmp(keys[i].name, name))
		i++;
	return image->given & 1u << i;
}

int image_settings_finish(struct image_settings *image, char *err)
{
	int rc;

	for (const struct value_key *k = keys; k->name; k++)
		if (!k->fallback && !(image->given & 1u << (k - keys)))
			return value_fail(err, "[image %s] has no %s", image->name, k->name);
	if (strlen(image->path) > PATH_BYTES)
		return value_fail(err, "path: longer than %d bytes", PATH_BYTES);
	if (image->spares > SPARES_MAX)
		return value_fail(err, "spares: at most %d", SPARES_MAX);
	if (*image->lock && !image->runtime->forks)
		return value_fail(err, "lock: it is pip's, so it does not go with runtime %s",
				  image->runtime->name);
	if (!is_given(image, "interpreter")) {
		free(image->interpreter);
		image->interpreter = strdup(image->runtime->interpreter);
		if (!image->interpreter)
			return value_fail(err, "no memory");
	}
	if (!image->runtime->forks)
		image->spares = MAX(image->spares, UINT64_C(1));
	rc = split_modules(image, err);
	if (!rc && !*image->module && !*image->lock)
		rc = value_fail(err, "[image %s] has no modules and no lock", image->name);
	return rc ? rc : make_key(image, err);
}

int image_settings_lock(struct image_settings *image, const char *text, char *err)
{
	char *lock;
	int rc = pip_lock_parse("lock", text, &lock, err, SETTINGS_ERROR);

	if (rc)
		return rc;
	free(image->lock);
	image->lock = lock;
	return 0;
}

static bool same_value(const struct value_key *k, const void *a, const void *b)
{
	a = (const char *)a + k->offset;
	b = (const char *)b + k->offset;
	if (value_is_number(k))
		return *(const uint64_t *)a == *(const uint64_t *)b;
	switch (k->type) {
	case TYPE_BUILD:
		return *(const bool *)a == *(const bool *)b;
	case TYPE_POLICY:
		return !strcmp(*(char *const *)a, *(char *const *)b);
	default:
		return true; /* in the key */
	}
}

bool image_settings_same(const struct image_settings *a, const struct image_settings *b)
{
	for (const struct value_key *k = keys; k->name; k++)
		if (!same_value(k, a, b))
			return false;
	return !strcmp(a->key, b->key) && a->gid == b->gid;
}
