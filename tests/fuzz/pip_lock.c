/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Any text given as a lock is refused with one line or gives a text that gives
 * itself, and lists only names and versions. libFuzzer entry point; built with
 * -DSTANDALONE it feeds itself mutated locks: pip_lock [ROUNDS [SEED]].
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/pip_lock.h"
#include "lib/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	fprintf(stderr, "%s: \"%s\"\n", what, text);
	abort();
}

static void check_lines(const char *lock)
{
	size_t lines = 0;

	for (const char *at = lock; *at; at = strchr(at, '\n') + 1) {
		size_t name = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789-");

		check(strchr(at, '\n'), "no whole line", lock);
		check(name && !strncmp(at + name, "==", 2), "no NAME==VERSION", at);
		check(!memchr(at, '\\', strcspn(at, "\n")), "a line that goes on", at);
		lines++;
	}
	check(lines == pip_lock_count(lock), "count", lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1), *lock = NULL, *again = NULL;
	char err[200] = "";

	memcpy(text, data, size);
	text[size] = '\0';
	if (pip_lock_parse("x", text, &lock, err, sizeof(err))) {
		check(!strncmp(err, "x:", 2) && !lock, "no message", text);
		return 0;
	}
	check_lines(lock);
	check(!pip_lock_parse("x", lock, &again, err, sizeof(err)), err, lock);
	check(!strcmp(lock, again), "another text the second time", lock);
	return 0;
}

#ifdef STANDALONE
static const char *const seeds[] = {
    "a==1\nb==2\n",
    "Zope.Interface[x,y]==5.0 ; python_version < '3.8' --hash=sha256:00ff # why\n",
    "a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha512:ff\n    # via b\nb==1!2.0+cpu\n",
    "--index-url https://x/#y\n-r z\na @ https://x\n",
};

/* One seed with a few bytes replaced, doubled or taken out. */
static size_t mutate(char *out, size_t most)
{
	static const char bytes[] = "aZ09.-_=[];,#\\ \t\r\n'\"<>!+*:\xff";
	size_t len = snprintf(out, most / 2, "%s", seeds[rand() % ARRAY_SIZE(seeds)]);

	for (int edits = rand() % 6; edits && len; edits--) {
		size_t at = rand() % len;

		switch (rand() % 3) {
		case 0:
			out[at] = bytes[rand() % (sizeof(bytes) - 1)];
			break;
		case 1:
			memmove(out + at, out + at + 1, --len - at);
			break;
		default:
			if (len + 1 >= most)
				break;
			memmove(out + at + 1, out + at, len++ - at);
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 20000;
	char text[512];

	srand(argc > 2 ? atol(argv[2]) : 1);
	for (long i = 0; i < rounds; i++)
		LLVMFuzzerTestOneInput((const uint8_t *)text, mutate(text, sizeof(text)));
	printf("%ld locks\n", rounds);
	return 0;
}
#endif
