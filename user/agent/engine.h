/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the engine's files share among themselves; what others call is in agent.h. */
#ifndef HEARTH_ENGINE_H
#define HEARTH_ENGINE_H

#include "agent/agent.h"
#include "lib/clock.h"

#define RECHECK_NS (250 * NSEC_PER_MSEC) /* least time between two looks at a busy instance */

/* What the instance's timer is for; at_ns UINT64_MAX: nothing more is planned. */
void engine_plan_next(struct instance *inst, uint64_t at_ns, const char *action,
		      const char *reason);
void engine_note(struct agent *a, const struct instance *inst, enum journal_action action,
		 enum journal_actor actor, const char *reason, uint64_t took_ns, int error);

/* It runs again since at_ns, whoever thawed it; by_request: for the sake of one. */
void engine_frozen_ended(struct agent *a, struct instance *inst, uint64_t at_ns, bool by_request);
int engine_thaw(struct agent *a, struct instance *inst, enum journal_actor actor,
		const char *reason);

bool engine_manages(const struct agent *a, const struct instance *inst);
uint64_t engine_idle_since(const struct agent *a, const struct instance *inst);

/* Its cgroup.freeze was written, perhaps by somebody else; certain: not an overflow. */
void engine_freezer_changed(struct agent *a, struct instance *inst, bool certain);

/* ---- evict.c: the function's own commands, and the last tier */

/* Has its pre_freeze run, or none? If not it is started, and *h says until when to wait. */
bool evict_pre_freeze(struct agent *a, struct instance *inst, struct hold *h);
void evict_thawed(struct agent *a, struct instance *inst);
/* Kill a frozen instance, after its on_evict. When to ask again, UINT64_MAX: not needed. */
uint64_t evict_move(struct agent *a, struct instance *inst, const char *reason);
void evict_hook_done(const struct hook_result *r, void *agent);

#endif
