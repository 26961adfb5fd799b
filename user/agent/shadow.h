/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What other policies would have cost: each is a row that learns from the live
 * events and is charged by the simulator's own accounting (sim/lane.h). The
 * policy that acts is the first row, charged alike. All rows of a function have
 * seen the same events: when a policy joins, all are charged anew, from what the
 * function has learned.
 */
#ifndef HEARTH_SHADOW_H
#define HEARTH_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/snapshot.h"
#include "hearth/population.h"

#define SHADOW_ROWS (SHADOWS_MAX + 1)

struct shadow;

struct shadow_start {
	const struct hearth_policy *acting;
	const void *acting_state;
	const char *specs; /* beside it, known to parse; "": no rows */
	const struct prior *prior;
	double cold_cost_s;
	double now_s; /* Unix time, as all moments here */
	/* What is known of the function: */
	const struct hearth_hist *hist;
	const struct hearth_gaps *gaps;
	double idle_since_s; /* INFINITY: busy; NAN: neither was seen yet */
	bool may_go;         /* its lowest tier is gone: outside the windows nothing is there */
};

/*
 * Bring *s in line with the policy that acts and the specs beside it. No specs: no
 * rows, *s becomes NULL. 0 or -ENOMEM, *s is as it was.
 */
int shadow_configure(struct shadow **s, const struct shadow_start *start);
void shadow_free(struct shadow *s);

/* For decisions from now on. */
void shadow_set_prior(struct shadow *s, const struct prior *prior);

/*
 * The function became busy, or idle. NULL: nothing to do. cold: by a new instance,
 * since none was idle.
 */
void shadow_busy(struct shadow *s, double t_s, bool cold);
void shadow_idle(struct shadow *s, double t_s);
/*
 * Its instances hold so many bytes now; NAN: unknown. Between two looks the memory
 * is taken to change evenly, so look before each of the above, and now and then.
 */
void shadow_memory(struct shadow *s, double t_s, double bytes);

/*
 * The costs so far, the idle time that is open charged up to t_s. out has room
 * for SHADOW_ROWS. How many; since_s: Unix time of the start.
 */
size_t shadow_view(struct shadow *s, double t_s, struct snapshot_shadow *out, double *since_s);

#endif
