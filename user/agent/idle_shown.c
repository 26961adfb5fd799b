/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The idle times in /metrics; see idle_shown.h. */
#include <string.h>

#include "agent/idle_shown.h"
#include "hearth/event.h"
#include "lib/util.h"

_Static_assert(HEARTH_BINS <= 1u << (IDLE_BOUNDS - 2), "bounds for all bins");

void idle_shown_raise(struct idle_shown *shown, const struct hearth_hist *h)
{
	double sum = 0, count = 0;
	uint32_t edge = 1;

	if (shown->bin_s != h->bin_s || shown->nbins != h->nbins)
		memset(shown->within, 0, sizeof(shown->within));
	shown->bin_s = h->bin_s;
	shown->nbins = h->nbins;
	shown->n = 0;
	for (uint32_t bin = 0; bin < h->nbins; bin++) {
		count += h->bins[bin];
		sum += h->bins[bin] * (bin + 0.5) * h->bin_s;
		if (bin + 1 != edge && bin + 1 != h->nbins)
			continue;
		shown->bound_s[shown->n] = (bin + 1) * h->bin_s;
		shown->within[shown->n] = MAX(shown->within[shown->n], count);
		shown->n++;
		edge *= 2;
	}
	count += (double)h->oob;
	sum += (double)h->oob * h->nbins * h->bin_s;
	shown->count = MAX(shown->count, count);
	shown->sum_s = MAX(shown->sum_s, sum);
}
