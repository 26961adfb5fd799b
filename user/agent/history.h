/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a function has learned, in its kernel slot: view it as a histogram,
 * change its geometry without losing it, fill it from the state file.
 */
#ifndef HEARTH_HISTORY_H
#define HEARTH_HISTORY_H

#include <stdint.h>

#include "agent/state.h"
#include "hearth/event.h"
#include "hearth/policy.h"

/* A view for the policies; valid while the maps are mapped. */
struct hearth_hist history_view(const struct hearth_function *fn,
				const struct hearth_fn_control *ctl);

/*
 * Give the histogram bins of bin_ns. Counts move to the bin of their middle;
 * what no longer fits becomes out of bounds. Idle times that close meanwhile
 * are counted as unbinned.
 */
void history_geometry(struct hearth_function *fn, struct hearth_fn_control *ctl, uint64_t bin_ns,
		      uint32_t nbins);

/* Fill an empty slot with what was saved, in the geometry the slot has. */
void history_restore(struct hearth_function *fn, const struct hearth_fn_control *ctl,
		     const struct state_function *saved);

/* Deep copy of histogram and counters into out. 0 or -ENOMEM. */
int history_save(const struct hearth_function *fn, const struct hearth_fn_control *ctl,
		 struct state_function *out);

#endif
