/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tables of keys: what may be written for each, where it goes, and what it is without.
 * err is SETTINGS_ERROR bytes; it is written when a function does not return 0.
 */
#ifndef HEARTH_IMAGES_SETTINGS_VALUE_H
#define HEARTH_IMAGES_SETTINGS_VALUE_H

#include "images/settings.h"
#include "lib/util.h"

enum value_type {
	TYPE_TEXT,
	TYPE_WORDS,
	TYPE_PATH,
	TYPE_LOCK,
	TYPE_OWNER,
	TYPE_DURATION,
	TYPE_SIZE,
	TYPE_COUNT,
	TYPE_POLICY,
	TYPE_BUILD,
	TYPE_RUNTIME
};

struct value_key {
	const char *name;
	enum value_type type;
	size_t offset;
	const char *fallback; /* NULL: must be given */
};

int value_fail(char *err, const char *fmt, ...) _printf_(2, 3);

/* The key of that name, which is new to *given or may come again; NULL: err says why not. */
const struct value_key *value_key_find(const struct value_key *keys, const char *name,
				       unsigned int *given, char *err);
int value_set(void *target, const struct value_key *key, const char *value, char *err);
int value_defaults(void *target, const struct value_key *keys, char *err);
static inline bool value_is_number(const struct value_key *key)
{
	return key->type == TYPE_DURATION || key->type == TYPE_SIZE || key->type == TYPE_COUNT;
}

void value_free(void *target, const struct value_key *keys);

#endif
