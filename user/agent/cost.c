/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the tiers of a function cost: what this node measured of it, and until
 * then what one prototype measured of a 200 MB function on zram.
 */
#include <math.h>

#include "agent/agent.h"
#include "lib/clock.h"
#include "lib/util.h"

#define COLD_S         2.0
#define THAW_S         0.0002
#define RESTORE_NS_PER 1.4 /* per byte: 280 ms for 200 MB */
#define RECLAIM_NS_PER 1.0
#define KEPT_SHARE     0.3 /* of the warm bytes: resident rest and zram's copies */
#define WARM_BYTES     64e6

void cost_ladder(const struct function *fn, struct hearth_ladder *out)
{
	double warm = WARM_BYTES;

	*out = (struct hearth_ladder){
	    .allowed = (1u << HEARTH_WARM) | (1u << HEARTH_FROZEN),
	    .bytes = {warm, warm, warm * KEPT_SHARE, 0},
	    .latency_s = {0, THAW_S, warm * RESTORE_NS_PER / 1e9, COLD_S},
	    .restore_s = warm * RESTORE_NS_PER / 1e9,
	    .reclaim_s = warm * RECLAIM_NS_PER / 1e9,
	    .cold_cost_s = MAX(ns_to_s(fn->settings.cold_cost_ns), 1.0),
	};
}
