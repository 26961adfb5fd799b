/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Any text given to the spec parsers is refused with one line or gives a
 * canonical form that parses to itself. libFuzzer entry point; built with
 * -DSTANDALONE it feeds itself mutated specs: policy_spec [ROUNDS [SEED]].
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hearth/policy.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what, const char *spec)
{
	if (ok)
		return;
	fprintf(stderr, "%s: \"%s\"\n", what, spec);
	abort();
}

static void run_policy(const struct hearth_policy *p, const char *spec)
{
	uint32_t bins[512] = {0};
	struct hearth_hist_buf hist = {bins, {bins}};
	struct hearth_decision d = {0};
	void *state = calloc(1, hearth_policy_state_size(p) + 1);
	double last = 0;

	hearth_policy_geometry(p, &hist.view.bin_s, &hist.view.nbins);
	check(hist.view.nbins >= 1 && hist.view.nbins <= 512, "geometry", spec);
	for (int i = 0; i < 20; i++) {
		double idle = i ? 1 << i : -1;

		if (i)
			hearth_hist_add(&hist, idle);
		hearth_policy_observe(p, state, &(struct hearth_arrival){i * 1e5, idle, idle});
		hearth_policy_foresee(p, state, idle);
		hearth_policy_decide(p, state, &hist.view, &d);
		check(d.n <= HEARTH_WINDOWS && d.reason, "decision", spec);
		last = 0;
		for (unsigned int w = 0; w < d.n; w++) {
			check(d.w[w].open_s >= last && d.w[w].close_s > d.w[w].open_s, "window",
			      spec);
			last = d.w[w].close_s;
		}
	}
	free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *spec = malloc(size + 1), err[300] = "";
	struct hearth_policy *p, *again;

	memcpy(spec, data, size);
	spec[size] = '\0';
	if (hearth_policy_parse(spec, 600, &p, err, sizeof(err))) {
		check(*err, "no message", spec);
		free(spec);
		return 0;
	}
	check(!hearth_policy_parse(hearth_policy_spec(p), 600, &again, err, sizeof(err)), err,
	      hearth_policy_spec(p));
	check(!strcmp(hearth_policy_spec(p), hearth_policy_spec(again)), "not canonical", spec);
	run_policy(p, hearth_policy_spec(p));
	hearth_policy_free(again);
	hearth_policy_free(p);
	free(spec);
	return 0;
}

#ifdef STANDALONE
static const char *const seeds[] = {
    "none",
    "fixed:10",
    "fixed:1.5h",
    "skirental,cost=10m",
    "hybrid:240,cv=2,head=5,tail=99,bin=1m,min_its=10,oob=0.5,margin=10,margin_of=window,arima=off",
};

/* One seed with a few bytes replaced, doubled or taken out. */
static size_t mutate(char *out, size_t most)
{
	static const char bytes[] = "0123456789.,:=abcdefghmnorstv_-\"%s\n\xff";
	size_t len =
	    snprintf(out, most / 2, "%s", seeds[rand() % (sizeof(seeds) / sizeof(*seeds))]);

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
	printf("%ld specs\n", rounds);
	return 0;
}
#endif
