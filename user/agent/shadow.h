/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What other policies would have cost: each is a row that learns from the live
 * events and is charged by the simulator's own accounting (sim/lane.h). The
 * policy that acts is the first row, charged alike. All rows of a function have
 * seen the same events: when a policy joins, all start anew.
 */
#ifndef HEARTH_SHADOW_H
#define HEARTH_SHADOW_H

#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/snapshot.h"

#define SHADOW_ROWS (SHADOWS_MAX + 1)

struct shadow;

/*
 * Bring *s in line with the policy that acts and the specs beside it, which must
 * be known to parse. No specs: no rows, *s becomes NULL. now_s: Unix time. 0 or
 * -ENOMEM, *s is as it was.
 */
int shadow_configure(struct shadow **s, const char *acting, const char *specs, double cold_cost_s,
		     double now_s);
void shadow_free(struct shadow *s);

/* The function became busy, or idle. NULL: nothing to do. */
void shadow_busy(struct shadow *s, double t_s);
void shadow_idle(struct shadow *s, double t_s);

/*
 * The costs so far, the idle time that is open charged up to t_s. out has room
 * for SHADOW_ROWS. How many; since_s: Unix time of the start.
 */
size_t shadow_view(struct shadow *s, double t_s, struct snapshot_shadow *out, double *since_s);

#endif
