/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rank WHERE: scores the words of the request body by length and rarity and
 * answers with the best one. The demo runs it on a Unix socket.
 */
#include <ctype.h>
#include <err.h>
#include <stdio.h>
#include <string.h>

#include "httpd.h"

static size_t occurrences(const char *body, size_t len, const char *word, size_t n)
{
	size_t found = 0;

	for (size_t i = 0; i + n <= len; i++)
		found += memcmp(body + i, word, n) == 0;
	return found;
}

static long handle(const char *body, size_t len, char **reply, void *arg)
{
	size_t best = 0, best_n = 0, i = 0;
	double score = 0;

	(void)arg;
	while (i < len) {
		size_t n = 0;
		double s;

		while (i + n < len && isalpha((unsigned char)body[i + n]))
			n++;
		s = n ? (double)n / (double)occurrences(body, len, body + i, n) : 0;
		if (s > score) {
			score = s;
			best = i;
			best_n = n;
		}
		i += n ? n : 1;
	}
	return asprintf(reply, "{\"word\":\"%.*s\",\"score\":%.2f}\n", (int)best_n, body + best,
			score);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: rank PORT|PATH");
	errx(1, "%s: %s", argv[1], strerror(-httpd_run(argv[1], handle, NULL)));
}
