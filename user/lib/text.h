/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Words for people: which known name was probably meant, and what can be shown
 * of a text. Names are compared up to TEXT_WORD_MAX bytes; nothing here allocates.
 */
#ifndef HEARTH_LIB_TEXT_H
#define HEARTH_LIB_TEXT_H

#include <stddef.h>

#define TEXT_WORD_MAX 128

/* Letters to insert, delete or replace between two words. */
unsigned int text_distance(const char *a, const char *b);

/*
 * How far a name may be from a word to be worth suggesting: a third of the
 * word, at least one letter.
 */
unsigned int text_tolerance(const char *word);

/*
 * What comes from elsewhere, for a line of a log, a terminal and JSON: each byte that is
 * not of UTF-8, or of a control character, becomes a '?'.
 */
void text_make_plain(char *text);

#endif
