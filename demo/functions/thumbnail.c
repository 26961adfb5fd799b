/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * thumbnail WHERE: halves a synthetic 256x256 picture made from the request
 * body and answers with the checksum of the result.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>

#include "httpd.h"

enum { SIDE = 256 };

static unsigned int pixel(const char *body, size_t len, size_t x, size_t y)
{
	unsigned char c = len ? (unsigned char)body[(x * y) % len] : 0;

	return (unsigned int)(x ^ y) + c;
}

static long handle(const char *body, size_t len, char **reply, void *arg)
{
	unsigned int sum = 0;

	(void)arg;
	for (size_t y = 0; y < SIDE; y += 2)
		for (size_t x = 0; x < SIDE; x += 2)
			sum = sum * 31 +
			      (pixel(body, len, x, y) + pixel(body, len, x + 1, y) +
			       pixel(body, len, x, y + 1) + pixel(body, len, x + 1, y + 1)) /
				  4;
	return asprintf(reply, "{\"width\":%d,\"checksum\":%u}\n", SIDE / 2, sum);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: thumbnail PORT|PATH");
	errx(1, "%s: %s", argv[1], strerror(-httpd_run(argv[1], handle, NULL)));
}
