/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Edit distance with one row of memory.
 */
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
