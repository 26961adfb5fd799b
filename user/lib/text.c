/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Edit distance with one row of memory.
 */
#include <stdint.h>
#include <string.h>

#include "lib/text.h"
#include "lib/util.h"

unsigned int text_distance(const char *a, const char *b)
{
	size_t rows = strnlen(a, TEXT_WORD_MAX), n = strnlen(b, TEXT_WORD_MAX);
	unsigned int row[TEXT_WORD_MAX + 1];

	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 0; i < rows; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i + 1;
		for (size_t j = 0; j < n; j++) {
			unsigned int replaced = diagonal + (a[i] != b[j]);
			unsigned int resized = MIN(row[j], row[j + 1]) + 1;

			diagonal = row[j + 1];
			row[j + 1] = MIN(replaced, resized);
		}
	}
	return row[n];
}

unsigned int text_tolerance(const char *word)
{
	return (unsigned int)MAX((strlen(word) + 1) / 3, (size_t)1);
}

/* Bytes of the character that begins here; 0: none that can be shown. */
static size_t shown_bytes(const unsigned char *s)
{
	size_t n = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
	static const uint32_t least[] = {0, ' ', 0xa0, 0x800, 0x10000};
	uint32_t c = n == 1 ? *s : *s & (0x7fu >> n);

	if (*s == 0x7f || (*s >= 0x80 && *s < 0xc0) || *s > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c >= least[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? n : 0;
}

void text_make_plain(char *text)
{
	while (*text) {
		size_t n = shown_bytes((const unsigned char *)text);

		if (!n)
			*text = '?';
		text += n ?: 1;
	}
}
