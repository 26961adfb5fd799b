/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From the policy's windows to a plan for one instance. History is the
 * function's, the clock is the instance's: windows count from its own last end.
 * The most recently used instances keep the windows; those beyond what the
 * recent peak needed have none.
 */
#include <math.h>

#include "agent/agent.h"
#include "lib/clock.h"
#include "lib/util.h"

unsigned int plan_rank(const struct agent *a, const struct instance *inst)
{
	const struct hearth_instance *slots = a->maps->instances;
	const struct instance *i;
	unsigned int rank = 0;

	for (i = inst->fn->instances; i; i = i->next)
		if (slots[i->slot].last_begin_ns > slots[inst->slot].last_begin_ns)
			rank++;
	return rank;
}

const struct hearth_decision *plan_decision(struct agent *a, struct function *fn)
{
	struct hearth_function *slot = &a->maps->functions[fn->index];
	struct hearth_hist hist = history_view(slot, &a->maps->fn_controls[fn->index]);
	unsigned int peak;

	if (fn->decided_span == slot->busy_spans)
		return &fn->decision;
	hearth_policy_decide(fn->policy, fn->policy_state, &hist, &fn->decision);
	fn->decided_span = slot->busy_spans;
	/* The peak counts at once; without it the need goes down by one a busy span. */
	peak = __atomic_exchange_n(&slot->peak, 0, __ATOMIC_RELAXED);
	fn->needed = MAX(MAX(peak, fn->needed - 1), 1u);
	return &fn->decision;
}

static uint64_t at(uint64_t since_ns, double s)
{
	uint64_t ns = isinf(s) ? UINT64_MAX : s_to_ns(s);

	return ns > UINT64_MAX - since_ns ? UINT64_MAX : since_ns + ns;
}

struct plan plan_instance(struct agent *a, struct instance *inst, uint64_t idle_since_ns,
			  uint64_t now)
{
	const struct hearth_decision *d = plan_decision(a, inst->fn);
	struct plan p = {.frozen = true, .until_ns = UINT64_MAX, .reason = "outside its windows"};
	unsigned int i;

	if (plan_rank(a, inst) >= inst->fn->needed) {
		p.reason = "more instances than the recent peak needed";
		return p;
	}
	for (i = 0; i < d->n; i++) {
		uint64_t open = at(idle_since_ns, d->w[i].open_s);
		uint64_t close = at(idle_since_ns, d->w[i].close_s);

		if (now < open) {
			p.until_ns = open;
			p.reason = i ? "between two windows" : "before its window opens";
			return p;
		}
		if (now < close)
			return (struct plan){false, close, "inside its keep-alive window"};
	}
	return p;
}
