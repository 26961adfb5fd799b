/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An image in C: loads its "dependencies" (a table of primes) once; each instance
 * answers from it. Usage: image SOCKET; then: run -c CGROUP SOCKET prime 1000
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hearth/zygote.h"

#define LIMIT 1000000

static int primes[LIMIT], n_primes;

static void load(void)
{
	char *composite = calloc(LIMIT, 1);

	for (int i = 2; composite && i < LIMIT; i++) {
		if (composite[i])
			continue;
		primes[n_primes++] = i;
		for (long j = (long)i * i; j < LIMIT; j += i)
			composite[j] = 1;
	}
	free(composite);
}

/* rand() would give the same numbers in every instance. */
static void reseed(void *arg)
{
	unsigned seed;

	(void)arg;
	if (getentropy(&seed, sizeof(seed)) == 0)
		srand(seed);
}

static int handle(struct hearth_zygote_child *child)
{
	int n = child->argc == 2 ? atoi(child->argv[1]) : 0;

	if (strcmp(child->argv[0], "prime") != 0 || n < 1 || n > n_primes) {
		hearth_zygote_started(child, "accepted: prime N, N from 1");
		return HEARTH_ZYGOTE_EXIT;
	}
	hearth_zygote_started(child, NULL);
	printf("prime %d is %d; a random number: %d\n", n, primes[n - 1], rand());
	return 0;
}

int main(int argc, char **argv)
{
	struct hearth_zygote_options options = {
	    .runtime = "primes", .owner = (uid_t)-1, .after_fork = reseed};
	char error[HEARTH_ZYGOTE_ERROR];
	struct hearth_zygote_child child;
	int fd, result;

	if (argc != 2) {
		fprintf(stderr, "usage: %s SOCKET\n", argv[0]);
		return 2;
	}
	close_range(3, ~0U, 0); /* what the starter left open */
	fd = hearth_zygote_listen(argv[1], error);
	if (fd < 0) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	load();
	do {
		result = hearth_zygote_serve(fd, &options, &child, error);
	} while (result == -EINTR);
	if (result == 1)
		return handle(&child);
	fprintf(stderr, "%s\n", error);
	return 1;
}
