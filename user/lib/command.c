/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Splitting of command lines. Pointers and text share one block, the text
 * behind the pointers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/command.h"
#include "lib/util.h"

/* The word at *from to *to, ended; both move on. False: a quote is left open. */
static bool take_word(const char **from, char **to)
{
	char quote = '\0';

	for (; **from && (quote || !strchr(" \t", **from)); (*from)++) {
		if (quote ? **from == quote : **from == '"' || **from == '\'')
			quote = quote ? '\0' : **from;
		else
			*(*to)++ = **from;
	}
	*(*to)++ = '\0';
	return !quote;
}

int command_split(const char *text, char ***argv, char *why, size_t why_size)
{
	size_t pointers = (COMMAND_WORDS + 1) * sizeof(char *);
	_cleanup_free_ char **words = calloc(1, pointers + strlen(text) + 1);
	char *to = (char *)words + pointers;
	size_t n = 0;

	if (!words)
		return -ENOMEM;
	for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
		if (n == COMMAND_WORDS) {
			snprintf(why, why_size, "has more than %d words", COMMAND_WORDS);
			return -EINVAL;
		}
		words[n++] = to;
		if (!take_word(&text, &to)) {
			snprintf(why, why_size, "a quote is not closed");
			return -EINVAL;
		}
	}
	if (n == 0 || words[0][0] != '/') {
		snprintf(why, why_size, "\"%s\" is not an absolute path", n ? words[0] : "");
		return -EINVAL;
	}
	*argv = steal_ptr(words);
	return 0;
}
