/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Any bytes given to the state loader are refused with one line or give
 * functions that are written and read back unchanged. Each input is tried as
 * it is, and as the body below a first line with the right checksum, so that
 * the parser behind the checksum is reached. libFuzzer entry point; built with
 * -DSTANDALONE it feeds itself mutated states: state_load [ROUNDS [SEED]].
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "agent/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void load(const char *text, size_t len)
{
	struct state s = {0}, again = {0};
	char err[128] = "", *first, *second;
	size_t first_len, second_len;

	if (state_decode(text, len, &s, err, sizeof(err)) < 0) {
		check(*err, "no message");
		check(s.n == 0 && !s.functions, "output touched on failure");
		return;
	}
	check(state_encode(&s, &first, &first_len) == 0, "cannot be written");
	check(state_decode(first, first_len, &again, err, sizeof(err)) == 0, "not read back");
	check(state_encode(&again, &second, &second_len) == 0, "cannot be written again");
	check(first_len == second_len && !memcmp(first, second, first_len), "not the same");
	free(first);
	free(second);
	state_done(&s);
	state_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 100);
	int head = sprintf(text, "{\"hearth_state\":%d,\"crc32\":\"%08lx\",\"functions\":[",
			   STATE_VERSION, crc32(0, data, (uInt)size));
	char *exact = malloc((size_t)head + size);

	memcpy(exact, text, (size_t)head);
	if (size)
		memcpy(exact + head, data, size);
	load(exact, (size_t)head + size);
	free(exact);
	free(text);
	text = malloc(size ? size : 1);
	if (size)
		memcpy(text, data, size);
	load(text, size);
	free(text);
	return 0;
}

#ifdef STANDALONE
static const char *const seeds[] = {
    "\n]}\n",
    "\n{\"name\":\"f\"}\n]}\n",
    "\n{\"name\":\"a/b\",\"bin_ns\":60000000000,\"oob\":3,\"unbinned\":0,\"invocations\":12,"
    "\"busy_spans\":11,\"frozen_s\":1.5,\"last_seen_s\":1769000000.25,\"nbins\":240,"
    "\"bins\":[0,3,7,12,239,1],\"policy\":\"fixed:2s\",\"pinned\":true,"
    "\"memory_of\":\"hybrid:240\",\"memory\":\"00ff10a5\"},\n"
    "{\"name_hex\":\"62ff61\",\"bin_ns\":1,\"nbins\":1,\"bins\":[0,4294967295]}\n]}\n",
};

/* One seed with a few bytes replaced, doubled or taken out. */
static size_t mutate(char *out, size_t most)
{
	static const char bytes[] = "0123456789{}[]\",:.-eaf\n\\u\xff";
	size_t len = (size_t)snprintf(out, most / 2, "%s",
				      seeds[(size_t)rand() % (sizeof(seeds) / sizeof(*seeds))]);

	for (int edits = rand() % 5; edits && len; edits--) {
		size_t at = (size_t)rand() % len;

		switch (rand() % 3) {
		case 0:
			out[at] = bytes[(size_t)rand() % (sizeof(bytes) - 1)];
			break;
		case 1:
			memmove(out + at, out + at + 1, --len - at);
			break;
		default:
			if (len + 1 < most)
				memmove(out + at + 1, out + at, len++ - at);
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 20000;
	char text[2048];

	srand(argc > 2 ? (unsigned int)atol(argv[2]) : 1);
	for (long i = 0; i < rounds; i++)
		LLVMFuzzerTestOneInput((const uint8_t *)text, mutate(text, sizeof(text)));
	printf("%ld states\n", rounds);
	return 0;
}
#endif
