/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Idle-time histograms. Integers only, so that the kernel, which fills the
 * same layout, and this code agree to the last count.
 */
#include <hearth/policy.h>

void hearth_hist_add(struct hearth_hist_buf *h, double idle_s)
{
	double bin = idle_s / h->view.bin_s;
	uint32_t *count;

	if (!(bin < h->view.nbins)) {
		h->view.oob++;
		return;
	}
	count = &h->bins[bin > 0 ? (uint32_t)bin : 0];
	h->view.s2 += 2 * (uint64_t)*count + 1;
	h->view.s1++;
	++*count;
}

static void add_bin(struct hearth_hist_buf *h, double middle_s, uint32_t count)
{
	double bin = middle_s / h->view.bin_s;

	if (bin < h->view.nbins)
		h->bins[(uint32_t)bin] += count;
	else
		h->view.oob += count;
}

void hearth_hist_merge(struct hearth_hist_buf *h, const struct hearth_hist *from)
{
	for (uint32_t i = 0; from->bins && i < from->nbins; i++)
		if (from->bins[i])
			add_bin(h, (i + 0.5) * from->bin_s, from->bins[i]);
	h->view.oob += from->oob;
	h->view.s1 = h->view.s2 = 0;
	for (uint32_t i = 0; i < h->view.nbins; i++) {
		h->view.s1 += h->bins[i];
		h->view.s2 += (uint64_t)h->bins[i] * h->bins[i];
	}
}

/* From the bottom: who decides often has short idle times. */
int hearth_hist_percentile(const struct hearth_hist *h, unsigned int q)
{
	uint64_t need = (uint64_t)q * h->s1 > 100 ? (uint64_t)q * h->s1 : 100;
	uint64_t seen = 0;

	for (uint32_t i = 0; i < h->nbins; i++) {
		seen += h->bins[i];
		if (100 * seen >= need)
			return i;
	}
	return -1;
}
