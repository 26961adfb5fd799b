/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files that read values (config_values.c, config_amounts.c). */
#ifndef HEARTH_CONFIG_VALUE_H
#define HEARTH_CONFIG_VALUE_H

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_keys.h"
#include "lib/util.h"

static inline void *field(const struct config_key *key, void *base)
{
	return (char *)base + key->offset;
}

static inline int wrong(char *why, size_t size, const char *fmt, ...) _printf_(3, 4);

static inline int wrong(char *why, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, size, fmt, args);
	va_end(args);
	return -EINVAL;
}

static inline int replace_string(const struct config_key *key, const char *text, void *base)
{
	char **slot = field(key, base);
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*slot);
	*slot = copy;
	return 0;
}

#endif
