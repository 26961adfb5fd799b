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
		if (i->populated && slots[i->slot].last_begin_ns > slots[inst->slot].last_begin_ns)
			rank++;
	return rank;
}

/* Steps down the ladder from the windows, and for instances that have none; none on an error. */
static void plan_steps(struct function *fn, const struct hearth_hist *hist)
{
	static const struct hearth_decision NO_WINDOWS;
	struct hearth_ladder ladder;

	cost_ladder(fn, &ladder);
	fn->n_steps = hearth_ladder_plan(&fn->decision, hist, &ladder, fn->steps);
	fn->n_surplus_steps = hearth_ladder_plan(&NO_WINDOWS, hist, &ladder, fn->surplus_steps);
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
	plan_steps(fn, &hist);
	/* The peak counts at once; without it the need goes down by one a busy span. */
	peak = __atomic_exchange_n(&slot->peak, 0, __ATOMIC_RELAXED);
	fn->needed = MAX(MAX(peak, fn->needed - 1), 1u);
	return &fn->decision;
}

static const char *window_text(const struct hearth_decision *d, double age_s, enum hearth_rung rung)
{
	unsigned int i;

	for (i = 0; i < d->n; i++) {
		if (age_s < d->w[i].open_s)
			return i ? "between two windows" : "before its window opens";
		if (age_s < d->w[i].close_s)
			return rung >= HEARTH_RECLAIMED
				   ? "inside its keep-alive window, memory worth more than a wake"
				   : "inside its keep-alive window";
	}
	return "outside its windows";
}

/* Does the step that holds at an age lead back up the ladder? */
static bool leads_up(const struct hearth_rung_step *steps, int n, double age_s)
{
	int i = n - 1;

	while (i > 0 && age_s < steps[i].at_s)
		i--;
	return i > 0 && steps[i].rung < steps[i - 1].rung;
}

struct plan plan_instance(struct agent *a, struct instance *inst, uint64_t idle_since_ns,
			  uint64_t now)
{
	const struct hearth_decision *d = plan_decision(a, inst->fn);
	bool surplus = plan_rank(a, inst) >= inst->fn->needed;
	const struct hearth_rung_step *steps = surplus ? inst->fn->surplus_steps : inst->fn->steps;
	int n = surplus ? inst->fn->n_surplus_steps : inst->fn->n_steps;
	double age_s = ns_to_s(now - MIN(idle_since_ns, now)), until_s;
	struct plan p = {.until_ns = UINT64_MAX};

	if (n <= 0) {
		p.rung = p.next = HEARTH_WARM;
		p.reason = "no plan can be made of what its tiers cost";
		return p;
	}
	p.rung = p.next = hearth_ladder_at(steps, (size_t)n, age_s, &until_s);
	p.reason =
	    surplus ? "more instances than the recent peak needed" : window_text(d, age_s, p.rung);
	p.up = leads_up(steps, n, age_s);
	if (isinf(until_s)) {
		if (p.rung == HEARTH_WARM)
			p.reason = "its window has no end";
		return p;
	}
	p.until_ns = idle_since_ns + s_to_ns(until_s);
	p.next = hearth_ladder_at(steps, (size_t)n, until_s, &until_s);
	return p;
}
