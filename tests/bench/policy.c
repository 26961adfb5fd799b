/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What one policy step costs: count one idle time, learn the arrival and decide
 * the next windows. The idle times lie around 45 minutes, concentrated enough
 * that the hybrid policy does all its work. Median and p99 of rounds.
 */
#include <math.h>
#include <string.h>

#include "common.h"
#include "hearth/policy.h"
#include "lib/clock.h"

#define ROUNDS  200
#define STEPS   2000
#define HISTORY 5000

static const char *const specs[] = {"fixed:10m", "skirental", "hybrid:240"};

/* Logistic, in seconds: the head is some 33 bins up, the tail 63. */
static double idle_time(unsigned int *seed)
{
	double u = (double)(rand_r(seed) + 1.0) / ((double)RAND_MAX + 2);

	return 60 * (45 + 4 * log(u / (1 - u)));
}

static void measure(const char *spec)
{
	uint32_t bins[4096] = {0}, nbins;
	struct hearth_hist_buf hist = {.bins = bins};
	struct hearth_policy *p;
	unsigned int seed = 1;
	double ns[ROUNDS], idle_s[STEPS], t = 0;
	struct hearth_decision d = {0};
	volatile double sink = 0;
	char err[256];
	void *state;

	if (hearth_policy_parse(spec, 600, &p, err, sizeof(err)) < 0)
		die("%s", err);
	hearth_policy_geometry(p, &hist.view.bin_s, &nbins);
	if (nbins > ARRAY_SIZE(bins))
		die("%s wants %u bins", spec, nbins);
	hist.view.nbins = nbins;
	hist.view.bins = bins;
	for (int i = 0; i < HISTORY; i++)
		hearth_hist_add(&hist, fmax(0, idle_time(&seed)));
	for (int i = 0; i < STEPS; i++)
		idle_s[i] = fmax(0, idle_time(&seed));
	state = calloc(1, hearth_policy_state_size(p) + 1);
	if (!state)
		die("out of memory");
	for (int r = 0; r < ROUNDS; r++) {
		uint64_t start = now_ns();

		for (int i = 0; i < STEPS; i++) {
			struct hearth_arrival a = {t, idle_s[i], idle_s[i] + 1};

			t += a.iat_s;
			hearth_hist_add(&hist, a.idle_s);
			hearth_policy_observe(p, state, &a);
			hearth_policy_decide(p, state, &hist.view, &d);
			sink += d.n ? d.w[0].open_s : 0;
		}
		ns[r] = (double)(now_ns() - start) / STEPS;
	}
	if (strncmp(spec, "hybrid", 6) == 0 && !(d.n && d.w[0].open_s > 0))
		die("%s did not use its histogram: %s", spec, d.reason);
	emit("policy_step", spec,
	     (struct figure[]){{"ns_p50", quantile(ns, ROUNDS, 50)},
			       {"ns_p99", quantile(ns, ROUNDS, 99)}},
	     2);
	free(state);
	hearth_policy_free(p);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		measure(specs[i]);
	return 0;
}
