/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The engine: one lazy timer per instance. On firing, the slot is read; if it
 * was used since, the timer is armed anew; if the plan wants it frozen and
 * nothing forbids it, it is. No formula stands here (plan.c asks the policy
 * library) and no write to the host (act.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine.h"
#include "agent/locks.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define LOCKS_NS   (5 * NSEC_PER_SEC) /* after a thaw for somebody who waits for a file lock */
#define FOREIGN_NS (5 * NSEC_PER_SEC) /* between two looks at a freezer that is not ours */

static void step(uv_timer_t *timer);

/* ---- timers and notes */

void engine_plan_next(struct instance *inst, uint64_t at_ns, const char *action, const char *reason)
{
	uint64_t now = now_ns(), ms;

	inst->next_action = action;
	snprintf(inst->next_reason, sizeof(inst->next_reason), "%s", reason);
	if (at_ns == UINT64_MAX) {
		inst->next_at_ns = 0;
		uv_timer_stop(&inst->timer);
		return;
	}
	inst->next_at_ns = at_ns;
	ms = at_ns > now ? (at_ns - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC : 0;
	uv_update_time(inst->timer.loop);
	uv_timer_start(&inst->timer, step, ms, 0);
}

void engine_note(struct agent *a, const struct instance *inst, enum journal_action action,
		 enum journal_actor actor, const char *reason, uint64_t took_ns, int error)
{
	const struct hearth_instance *slot = &a->maps->instances[inst->slot];
	uint64_t now = now_ns();
	struct journal_note n = {
	    .action = action,
	    .actor = actor,
	    .function = inst->fn->name,
	    .cgroup = inst->path,
	    .cgid = inst->cgid,
	    .reason = reason,
	    .took_ns = took_ns,
	    .error = error,
	};

	if (slot->last_end_ns && slot->inflight <= 0)
		n.idle_ns = now - MIN(slot->last_end_ns, now);
	journal_append(a->journal, &n);
}

void engine_frozen_ended(struct agent *a, struct instance *inst, uint64_t at_ns, bool by_request)
{
	double s;

	inst->manual = inst->evict_due = false;
	inst->thawed_ns = at_ns;
	if (!inst->frozen_at_ns)
		return;
	s = ns_to_s(at_ns - MIN(inst->frozen_at_ns, at_ns));
	inst->frozen_s += s;
	inst->fn->frozen_s += s;
	inst->frozen_at_ns = 0;
	paging_thawed(a, inst, by_request);
	evict_thawed(a, inst);
}

/* ---- freeze and thaw */

/* Of a thaw by the wake thread the note may still wait, or be lost: that freeze ends first. */
static void settle_wake(struct agent *a, struct instance *inst)
{
	loop_wakes(&a->wake_async);
	if (inst->frozen_at_ns && act_state(a->act, inst->slot) == ACT_THAWED)
		engine_frozen_ended(a, inst, now_ns(), true);
}

/* The inotify events of our own writes must be read before others' can be told. */
static int engine_try_freeze(struct agent *a, struct instance *inst, enum journal_actor actor,
			     const char *reason)
{
	struct act_freeze f;
	uint64_t start;

	settle_wake(a, inst);
	start = now_ns();
	f = act_freeze(a->act, inst->slot, a->config->freeze_timeout_ns);
	if (!f.refusal) {
		inst->hold[0] = '\0';
		inst->frozen_at_ns = start; /* it may have been woken again since it was frozen */
		paging_frozen(inst);
		inst->freezes++;
		inst->fn->freezes++;
		a->freezes++;
		engine_note(a, inst, JOURNAL_FREEZE, actor, reason, f.took_ns, 0);
	}
	engine_inotify(a);
	act_settle(a->act, inst->slot);
	if (!f.refusal)
		return 0;
	if (f.refusal == ACT_GONE)
		return -ENOENT;
	snprintf(inst->hold, sizeof(inst->hold), "%s", act_refusal_text(f.refusal));
	if (f.refusal == ACT_FAILED || f.refusal == ACT_SLOW) {
		a->freeze_failures++;
		engine_note(a, inst, JOURNAL_FAILED, actor, inst->hold, f.took_ns, -f.error);
	}
	return f.refusal == ACT_FAILED ? f.error : -EBUSY;
}

int engine_thaw(struct agent *a, struct instance *inst, enum journal_actor actor,
		const char *reason)
{
	uint64_t start = now_ns();
	int err = act_thaw(a->act, inst->slot);

	if (err == -EALREADY)
		return err;
	if (err == -EBUSY)
		reason = "thawed, but an ancestor cgroup is frozen by somebody else";
	if (act_state(a->act, inst->slot) != ACT_FROZEN) /* else the wake thread tries again */
		engine_frozen_ended(a, inst, start, false);
	engine_note(a, inst, err && err != -EBUSY ? JOURNAL_FAILED : JOURNAL_THAW, actor, reason,
		    now_ns() - start, err == -EBUSY ? 0 : -err);
	return err;
}

/* ---- one step of one instance */

uint64_t engine_idle_since(const struct agent *a, const struct instance *inst)
{
	return MAX(a->maps->instances[inst->slot].last_end_ns, inst->started_ns);
}

bool engine_manages(const struct agent *a, const struct instance *inst)
{
	const struct fn_settings *s = &inst->fn->settings;

	return a->config->mode == MODE_MANAGE && !s->exclude && !s->pin && !inst->fn->pinned;
}

/* The timer for the plan's next step. */
static void plan_step(struct instance *inst, const struct plan *p)
{
	static const char *const ACTIONS[HEARTH_RUNGS] = {"thaw", "freeze", "reclaim", "evict"};
	const char *reason = "a faster start is not worth its memory any more";
	bool up = p->next < p->rung;

	if (p->until_ns == UINT64_MAX)
		return engine_plan_next(inst, UINT64_MAX, "none",
					p->rung == HEARTH_WARM ? p->reason
					: inst->paging.going   ? "its memory is being paged out"
							       : "thaws with its next request");
	if (up)
		reason = "its window opens";
	else if (p->rung == HEARTH_WARM)
		reason = "its window closes";
	engine_plan_next(inst, p->until_ns,
			 p->rung == HEARTH_WARM           ? "freeze" /* the way down begins so */
			 : up && p->next == HEARTH_FROZEN ? "prewarm"
							  : ACTIONS[p->next],
			 reason);
}

/* The plan, and what the node's memory makes of it. */
static struct plan plan_now(struct agent *a, struct instance *inst, uint64_t now)
{
	struct plan p = plan_instance(a, inst, engine_idle_since(a, inst), now);
	enum hearth_rung squeezed = node_squeezed(a, inst, now);

	if (squeezed > p.rung) {
		if (p.next > p.rung)
			p.next = MAX(p.next, squeezed);
		p.rung = squeezed;
		p.reason = "memory is short";
	}
	/* What is out already is not brought back for a step of the way down. */
	if (p.rung == HEARTH_FROZEN && !p.up && (inst->paging.out || inst->paging.going) &&
	    (inst->fn->settings.tiers & (1u << HEARTH_RECLAIMED)))
		p.rung = HEARTH_RECLAIMED;
	return p;
}

static void step_frozen(struct agent *a, struct instance *inst, uint64_t now)
{
	bool kept = plan_rank(a, inst) < inst->fn->settings.min_warm;
	struct plan p;
	uint64_t again;

	if (inst->evict_due) {
		again = evict_move(a, inst, "asked for by hand");
		return act_state(a->act, inst->slot) == ACT_FROZEN
			   ? engine_plan_next(inst, again, "evict", "asked for by hand")
			   : engine_replan(inst);
	}
	if (inst->manual && engine_manages(a, inst))
		return engine_plan_next(inst, UINT64_MAX, "none",
					"frozen by hand until its next request");
	p = plan_now(a, inst, now);
	if (p.rung == HEARTH_WARM || kept || !engine_manages(a, inst)) {
		engine_thaw(a, inst, JOURNAL_BY_ENGINE,
			    !engine_manages(a, inst) ? "no longer managed"
			    : kept                   ? "min_warm keeps it warm"
						     : "its window opened");
		return engine_replan(inst);
	}
	again =
	    p.rung == HEARTH_GONE ? evict_move(a, inst, p.reason) : paging_move(a, inst, p.rung);
	if (act_state(a->act, inst->slot) != ACT_FROZEN)
		return engine_replan(inst);
	if (again < p.until_ns)
		return engine_plan_next(inst, again, "hold", "looking at its memory again");
	plan_step(inst, &p);
}

static void set_hold(struct instance *inst, const struct hold *h)
{
	snprintf(inst->hold, sizeof(inst->hold), "%s", h->text);
	engine_plan_next(inst, h->until_ns, "hold", h->text);
}

/* observe: say once per idle time what would have been done, then look on. */
static void would_freeze(struct agent *a, struct instance *inst, const char *reason, uint64_t now)
{
	uint64_t begins = a->maps->instances[inst->slot].begins + 1;

	if (inst->noted_begins != begins)
		engine_note(a, inst, JOURNAL_WOULD_FREEZE, JOURNAL_BY_ENGINE, reason, 0, 0);
	inst->noted_begins = begins;
	engine_plan_next(inst, now + MAX(inst->fn->settings.debounce_ns, NSEC_PER_SEC),
			 "would-freeze", reason);
}

/* A frozen holder of a file lock would stop whoever waits for it: thaw, and try later. */
static bool free_waiters(struct agent *a, struct instance *inst)
{
	pid_t holder = locks_blocking("/proc", inst->path);

	if (!holder)
		return false;
	engine_thaw(a, inst, JOURNAL_BY_ENGINE, "somebody waits for a file lock it holds");
	engine_plan_next(inst, now_ns() + LOCKS_NS, "hold",
			 "somebody waits for a file lock it holds");
	return true;
}

/* Waiters may also come while it is frozen. */
void engine_check_locks(struct agent *a)
{
	struct instance *inst, *tmp, *all = registry_instances(a->registry);

	HASH_ITER (hh, all, inst, tmp)
		if (act_state(a->act, inst->slot) == ACT_FROZEN)
			free_waiters(a, inst);
}

static void step_warm(struct agent *a, struct instance *inst, uint64_t now)
{
	const struct fn_settings *set = &inst->fn->settings;
	const struct hearth_instance *slot = &a->maps->instances[inst->slot];
	uint64_t since = engine_idle_since(a, inst), settled;
	struct hold h = {};
	struct plan p;

	if (slot->inflight > 0) {
		h.until_ns = now + MAX(set->debounce_ns, RECHECK_NS);
		snprintf(h.text, sizeof(h.text), "a request is in flight");
		return set_hold(inst, &h);
	}
	p = plan_now(a, inst, now);
	inst->hold[0] = '\0';
	if (p.rung == HEARTH_WARM)
		return plan_step(inst, &p);
	settled = MAX(since, inst->thawed_ns) + set->debounce_ns;
	if (now < settled)
		return engine_plan_next(inst, settled, "freeze", p.reason);
	h = hold_of(a, inst, now, false);
	if (h.text[0])
		return set_hold(inst, &h);
	if (a->config->mode != MODE_MANAGE)
		return would_freeze(a, inst, p.reason, now);
	if (!evict_pre_freeze(a, inst, &h))
		return set_hold(inst, &h);
	if (engine_try_freeze(a, inst, JOURNAL_BY_ENGINE, p.reason)) {
		/* One task that will not freeze must not keep the agent busy. */
		settled = MAX(set->debounce_ns, RECHECK_NS) << MIN(inst->failures++, 6u);
		return engine_plan_next(inst, now_ns() + settled, "freeze", inst->hold);
	}
	inst->failures = 0;
	if (act_state(a->act, inst->slot) == ACT_FROZEN && !free_waiters(a, inst))
		step_frozen(a, inst, now);
}

static void step(uv_timer_t *timer)
{
	struct instance *inst = container_of(timer, struct instance, timer);
	struct agent *a = timer->loop->data;
	uint64_t now;

	/* What has been recorded so far belongs to this decision. */
	kernel_events_consume(a->kernel);
	loop_wakes(&a->wake_async);
	if (uv_is_closing((uv_handle_t *)timer))
		return; /* one of them removed it */
	now = now_ns();
	switch (act_state(a->act, inst->slot)) {
	case ACT_THAWED:
		return step_warm(a, inst, now);
	case ACT_FROZEN:
		return step_frozen(a, inst, now);
	case ACT_FOREIGN:
		engine_freezer_changed(a, inst, false); /* in case an event was lost */
		if (act_state(a->act, inst->slot) != ACT_FOREIGN)
			return;
		return engine_plan_next(inst, now + FOREIGN_NS, "none", "frozen by somebody else");
	default:
		/* The wake thread is at it; its note comes, this is the safety net. */
		return engine_plan_next(inst, now + RECHECK_NS, "hold", "between two tiers");
	}
}

void engine_replan(struct instance *inst)
{
	engine_plan_next(inst, now_ns(), "hold", "being looked at");
}

void engine_replan_all(struct agent *a)
{
	struct instance *inst, *tmp, *all = registry_instances(a->registry);

	HASH_ITER (hh, all, inst, tmp)
		engine_replan(inst);
}

/* ---- by hand, and all at once */

int engine_freeze_now(struct agent *a, struct instance *inst, char *why, size_t size)
{
	struct hold h;
	int err;

	if (act_state(a->act, inst->slot) == ACT_FROZEN) {
		inst->manual = true;
		engine_replan(inst);
		return 0;
	}
	if (act_state(a->act, inst->slot) == ACT_FOREIGN) {
		snprintf(why, size, "somebody else froze it");
		return -EBUSY;
	}
	h = hold_of(a, inst, now_ns(), true);
	if (h.text[0]) {
		snprintf(why, size, "%s", h.text);
		return -EBUSY;
	}
	err = engine_try_freeze(a, inst, JOURNAL_BY_API, "asked for by hand");
	if (err) {
		snprintf(why, size, "%s", inst->hold);
		return err;
	}
	inst->manual = true;
	engine_replan(inst);
	return 0;
}

/* Frozen first, if need be. */
int engine_reclaim_now(struct agent *a, struct instance *inst, char *why, size_t size)
{
	int err = engine_freeze_now(a, inst, why, size);

	if (err)
		return err;
	if (paging_move(a, inst, HEARTH_RECLAIMED) == UINT64_MAX)
		return 0;
	snprintf(why, size, "the last reclaim came to nothing; try again in a minute");
	return -EBUSY;
}

int engine_evict_now(struct agent *a, struct instance *inst, char *why, size_t size)
{
	int err = engine_freeze_now(a, inst, why, size);

	if (err)
		return err;
	err = evict_now(a, inst);
	if (err == -EBUSY || err == -EALREADY)
		snprintf(why, size, "a request came first");
	else if (err)
		snprintf(why, size, "cgroup.kill: %s", strerror(-err));
	return err;
}

int engine_prewarm_now(struct agent *a, struct instance *inst, char *why, size_t size)
{
	if (act_state(a->act, inst->slot) != ACT_FROZEN ||
	    !(inst->paging.out || inst->paging.going))
		return 0; /* it is resident */
	if (paging_move(a, inst, HEARTH_FROZEN) == UINT64_MAX) {
		inst->manual = true; /* its plan would page it out again */
		engine_replan(inst);
		return 0;
	}
	snprintf(why, size, "another job of it has not ended");
	return -EBUSY;
}

int engine_thaw_now(struct agent *a, struct instance *inst, const char *reason)
{
	int err = engine_thaw(a, inst, JOURNAL_BY_API, reason);

	engine_replan(inst);
	return err == -EALREADY ? 0 : err;
}

void engine_thaw_all(struct agent *a, const char *reason, bool resync)
{
	struct instance *inst, *tmp, *all = registry_instances(a->registry);

	HASH_ITER (hh, all, inst, tmp) {
		if (act_state(a->act, inst->slot) != ACT_FROZEN)
			continue;
		if (resync) {
			act_resync(a->act, inst->slot);
			engine_frozen_ended(a, inst, now_ns(), false);
			engine_note(a, inst, JOURNAL_GUARD, JOURNAL_BY_GUARD, reason, 0, 0);
		} else {
			engine_thaw(a, inst, JOURNAL_BY_ENGINE, reason);
		}
		engine_replan(inst);
	}
}
