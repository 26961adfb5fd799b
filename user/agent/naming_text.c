/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Names that others chose (cgroup folders, labels) made fit to be shown, stored
 * as JSON and used as keys: printable, valid UTF-8, bounded, still distinct.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/naming_sets.h"
#include "lib/util.h"

#define HASH_TEXT 9 /* "~" and 8 digits */

/* Bytes of the well-formed UTF-8 character at p (RFC 3629), 0 if there is none. */
static size_t utf8_len(const unsigned char *p)
{
	size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	uint32_t code = *p & (0xff >> (len == 1 ? 0 : len + 1));
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

	if ((*p >= 0x80 && *p < 0xc2) || *p > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (len > 1 && (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
		return 0;
	return len;
}

/* C0, DEL and C1 controls, and the space: they end words or drive terminals. */
static bool unfit(const unsigned char *p, size_t len)
{
	return len == 0 || *p <= ' ' || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0);
}

static uint32_t hash(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h;
}

void naming_text(char out[NAMING_TEXT], const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	size_t len = 0, room = 0; /* room: what still fits with a hash behind it */

	while (*p) {
		char piece[8];
		size_t n = utf8_len(p), bytes = n;

		if (unfit(p, n)) {
			bytes = 1;
			n = (size_t)snprintf(piece, sizeof(piece), "\\x%02x", *p);
		} else {
			memcpy(piece, p, n);
		}
		if (len + n >= NAMING_TEXT)
			break;
		memcpy(out + len, piece, n);
		len += n;
		if (len + HASH_TEXT < NAMING_TEXT)
			room = len;
		p += bytes;
	}
	out[len] = '\0';
	if (*p)
		snprintf(out + room, HASH_TEXT + 1, "~%08x", hash(name));
}
