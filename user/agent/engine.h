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

/* It runs again since at_ns, whoever thawed it. */
void engine_frozen_ended(struct instance *inst, uint64_t at_ns);
int engine_thaw(struct agent *a, struct instance *inst, enum journal_actor actor,
		const char *reason);

/* Its cgroup.freeze was written, perhaps by somebody else; certain: not an overflow. */
void engine_freezer_changed(struct agent *a, struct instance *inst, bool certain);

#endif
