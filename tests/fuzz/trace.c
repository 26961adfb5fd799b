/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Any bytes as a trace: the readers accept or refuse, they never crash, and
 * what they accept is in order of time and inside the trace's bounds. With
 * -DSTANDALONE it mutates rows of every format by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/tmp/hearth-fuzz-XXXXXX";

static void require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void check_block(const struct trace_block *b, size_t units)
{
	for (size_t i = 0; i < b->nslices; i++) {
		const struct trace_slice *s = &b->slices[i];

		require(s->unit < units && s->n, "a slice of no unit, or empty");
		for (uint32_t k = 0; k < s->n; k++) {
			const struct trace_run *r = &b->runs[s->first + k];

			require(r->n && r->busy_s >= 0, "an empty run, or one of negative length");
			require(!k || r->t_s >= r[-1].t_s, "runs out of order");
		}
	}
}

static void read_all(const struct trace_options *o)
{
	char *paths[] = {path}, err[512];
	const struct trace_block *b;
	struct trace_info info;
	struct trace *t;
	size_t n;

	if (trace_open(paths, 1, o, &t, err, sizeof(err)))
		return;
	while (trace_next(t, &b) > 0) {
		trace_units(t, &n);
		check_block(b, n);
	}
	trace_info(t, &info);
	require(info.end_s >= info.start_s, "it ends before it starts");
	trace_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace_options o = {.by = size % 2 ? TRACE_BY_FUNCTION : TRACE_BY_APP};
	FILE *f;

	if (path[strlen(path) - 1] == 'X')
		close(mkstemp(path));
	f = fopen(path, "w");
	require(f, "no temporary file");
	fwrite(data, 1, size, f);
	fclose(f);
	read_all(&o);
	o.lenient = true;
	o.max_invocations = 100;
	read_all(&o);
	return 0;
}

#ifdef STANDALONE
#define RUNS 1500

static const char *const seeds[] = {
    "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,0,2,1\no,a,g,timer,1,0,4\n",
    "HashOwner,HashApp,HashFunction,Trigger,480,481\no,b,f,http,7,0\n",
    "app,func,end_timestamp,duration\na,f,10.5,1\na,g,12,11.5\n",
    "function,start_ms,warm_ms,cold_ms,mem_mb\nf,0,71,156,130\ng,2400.0,177,1550,32\n",
    "function,begin_ms,end_ms,start,mem_mb\nf,1000,3000,cold,50\nf,5000,5100,warm,50\n",
    "function,begin_ms,end_ms,start,mem_mb\na%2Cb,1769000000000.125,1769000000000.5,lukewarm,0\n",
};
static const char bytes[] = ",\n0123456789.-+eE\"\r\x00\x1f\x8b\x80\xffxaf";

static size_t mutate(char *text, size_t len, size_t cap)
{
	for (int changes = 1 + rand() % 8; changes; changes--) {
		size_t at = len ? rand() % len : 0;
		int what = rand() % 4;

		if (what == 0 && len) {
			text[at] = bytes[rand() % sizeof(bytes)];
		} else if (what == 1 && len + 1 < cap) {
			memmove(text + at + 1, text + at, len++ - at);
			text[at] = bytes[rand() % sizeof(bytes)];
		} else if (what == 2 && len > 1) {
			memmove(text + at, text + at + 1, --len - at);
		} else if (what == 3 && 2 * (len - at) + at < cap) {
			memmove(text + len, text + at, len - at);
			len += len - at;
		}
	}
	return len;
}

int main(void)
{
	char text[4096];

	srand(1);
	for (int i = 0; i < RUNS; i++) {
		const char *seed = seeds[rand() % (sizeof(seeds) / sizeof(seeds[0]))];
		size_t len = strlen(seed);

		memcpy(text, seed, len);
		if (i >= 5)
			len = mutate(text, len, sizeof(text));
		LLVMFuzzerTestOneInput((const uint8_t *)text, len);
	}
	unlink(path);
	return 0;
}
#endif
