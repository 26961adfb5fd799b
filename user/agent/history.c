/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The learned idle times of one function; see history.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/history.h"
#include "lib/clock.h"
#include "lib/util.h"

struct hearth_hist history_view(const struct hearth_function *fn,
				const struct hearth_fn_control *ctl)
{
	return (struct hearth_hist){
	    .bins = fn->bins,
	    .nbins = ctl->nbins,
	    .s1 = fn->s1,
	    .s2 = fn->s2,
	    .oob = fn->oob,
	    .bin_s = ns_to_s(ctl->bin_ns),
	};
}

/* Put `count` idle times of the bin [i, i+1) * from_ns where they belong. */
static void move_bin(struct hearth_function *fn, uint32_t i, uint32_t count, uint64_t from_ns,
		     uint64_t bin_ns, uint32_t nbins)
{
	uint64_t middle = (uint64_t)i * from_ns + from_ns / 2, bin = middle / bin_ns;

	if (bin >= nbins)
		fn->oob += count;
	else
		fn->bins[bin] += count;
}

static void sum_up(struct hearth_function *fn)
{
	uint32_t i;

	fn->s1 = fn->s2 = 0;
	for (i = 0; i < HEARTH_BINS; i++) {
		fn->s1 += fn->bins[i];
		fn->s2 += (uint64_t)fn->bins[i] * fn->bins[i];
	}
}

void history_geometry(struct hearth_function *fn, struct hearth_fn_control *ctl, uint64_t bin_ns,
		      uint32_t nbins)
{
	uint64_t from_ns = ctl->bin_ns;
	uint32_t old[HEARTH_BINS], i;

	nbins = MIN(nbins, HEARTH_BINS);
	if (from_ns == bin_ns && ctl->nbins == nbins)
		return;
	/* 0: the kernel counts as unbinned until the new bins are in place. */
	__atomic_store_n(&ctl->bin_ns, 0, __ATOMIC_SEQ_CST);
	memcpy(old, fn->bins, sizeof(old));
	memset(fn->bins, 0, sizeof(fn->bins));
	for (i = 0; from_ns && i < HEARTH_BINS; i++)
		if (old[i])
			move_bin(fn, i, old[i], from_ns, bin_ns, nbins);
	sum_up(fn);
	ctl->nbins = nbins;
	__atomic_store_n(&ctl->bin_ns, bin_ns, __ATOMIC_SEQ_CST);
}

void history_restore(struct hearth_function *fn, const struct hearth_fn_control *ctl,
		     const struct state_function *saved)
{
	uint32_t i;

	fn->invocations = saved->invocations;
	fn->busy_spans = saved->busy_spans;
	fn->cold_starts = saved->cold_starts;
	fn->lukewarm_starts = saved->lukewarm_starts;
	fn->oob = saved->oob;
	fn->unbinned = saved->unbinned;
	for (i = 0; saved->bins && i < saved->nbins; i++)
		if (saved->bins[i])
			move_bin(fn, i, saved->bins[i], saved->bin_ns, ctl->bin_ns, ctl->nbins);
	sum_up(fn);
}

int history_save(const struct hearth_function *fn, const struct hearth_fn_control *ctl,
		 struct state_function *out)
{
	out->bin_ns = ctl->bin_ns;
	out->nbins = ctl->nbins;
	out->bins = malloc(ctl->nbins * sizeof(*out->bins));
	if (!out->bins)
		return -ENOMEM;
	memcpy(out->bins, fn->bins, ctl->nbins * sizeof(*out->bins));
	out->s1 = fn->s1;
	out->s2 = fn->s2;
	out->oob = fn->oob;
	out->unbinned = fn->unbinned;
	out->invocations = fn->invocations;
	out->busy_spans = fn->busy_spans;
	out->cold_starts = fn->cold_starts;
	out->lukewarm_starts = fn->lukewarm_starts;
	return 0;
}
