/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the tiers of a function cost: what this node measured of it, and until
 * then what one prototype measured of a 200 MB function on zram.
 */
#include <math.h>

#include "agent/agent.h"
#include "lib/clock.h"
#include "lib/util.h"

#define COLD_S             2.0
#define THAW_S             0.0002
#define RESTORE_S_PER_BYTE 1.4e-9 /* 280 ms for 200 MB */
#define RECLAIM_S_PER_BYTE 1.0e-9
#define KEPT_SHARE         0.3 /* of the warm bytes: what stays resident, and zram's copies */
#define WARM_BYTES         64e6
#define LEAST_BYTES        1e6

/* A quantile where there is one, else the fallback. */
static double measured(const struct function *fn, enum measure_what what, double q, double fallback)
{
	double v = measure_quantile(&fn->measures, what, q);

	return isnan(v) ? fallback : v;
}

void cost_ladder(const struct function *fn, struct hearth_ladder *out)
{
	double warm = MAX(measured(fn, MEASURE_WARM_BYTES, 0.5, WARM_BYTES), LEAST_BYTES);
	double frozen = measured(fn, MEASURE_FROZEN_BYTES, 0.5, warm);
	double kept = measured(fn, MEASURE_RECLAIMED_BYTES, 0.5, frozen * KEPT_SHARE);
	double away = MAX(frozen - kept, 0);
	double refault = measured(fn, MEASURE_RECLAIMED_WAKE_S, 0.5, away * RESTORE_S_PER_BYTE);
	/* An instance made ahead of its first request waits for it: the fast ones tell. */
	double cold = measured(fn, MEASURE_COLD_S, 0.25, COLD_S);

	*out = (struct hearth_ladder){
	    .allowed = fn->settings.tiers,
	    .alive = fn->settings.windows == WINDOW_ALIVE,
	    .bytes = {warm, frozen, MIN(kept, frozen), 0},
	    .latency_s = {0, measured(fn, MEASURE_FROZEN_WAKE_S, 0.5, THAW_S), refault,
			  MAX(cold, 1e-3)},
	    .restore_s = measured(fn, MEASURE_PREFAULT_S, 0.9, away * RESTORE_S_PER_BYTE),
	    .reclaim_s = away * RECLAIM_S_PER_BYTE,
	    .cold_cost_s = MAX(ns_to_s(fn->settings.cold_cost_ns), 1.0),
	};
}
