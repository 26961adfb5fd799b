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
#include <sys/inotify.h>

#include "agent/agent.h"
#include "agent/locks.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define RECHECK_NS (250 * NSEC_PER_MSEC)
#define LOCKS_NS   (5 * NSEC_PER_SEC) /* after a thaw for somebody who waits for a file lock */
#define FOREIGN_NS (5 * NSEC_PER_SEC) /* between two looks at a freezer that is not ours */

static void step(uv_timer_t *timer);
static void freezer_changed(struct agent *a, struct instance *inst, bool certain);

/* ---- timers and notes */

static void plan_next(struct instance *inst, uint64_t at_ns, const char *action, const char *reason)
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

static void note(struct agent *a, const struct instance *inst, enum journal_action action,
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

static void frozen_ended(struct instance *inst, uint64_t at_ns)
{
	double s;

	inst->manual = false;
	inst->thawed_ns = at_ns;
	if (!inst->frozen_at_ns)
		return;
	s = ns_to_s(at_ns - MIN(inst->frozen_at_ns, at_ns));
	inst->frozen_s += s;
	inst->fn->frozen_s += s;
	inst->frozen_at_ns = 0;
}

/* ---- freeze and thaw */

/* The inotify events of our own writes must be read before others' can be told. */
static int try_freeze(struct agent *a, struct instance *inst, enum journal_actor actor,
		      const char *reason)
{
	struct act_freeze f = act_freeze(a->act, inst->slot, a->config->freeze_timeout_ns);

	if (!f.refusal) {
		inst->hold[0] = '\0';
		inst->frozen_at_ns = now_ns();
		inst->freezes++;
		inst->fn->freezes++;
		a->freezes++;
		note(a, inst, JOURNAL_FREEZE, actor, reason, f.took_ns, 0);
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
		note(a, inst, JOURNAL_FAILED, actor, inst->hold, f.took_ns, -f.error);
	}
	return f.refusal == ACT_FAILED ? f.error : -EBUSY;
}

static int thaw(struct agent *a, struct instance *inst, enum journal_actor actor,
		const char *reason)
{
	uint64_t start = now_ns();
	int err = act_thaw(a->act, inst->slot);

	if (err == -EALREADY)
		return err;
	if (err == -EBUSY)
		reason = "thawed, but an ancestor cgroup is frozen by somebody else";
	frozen_ended(inst, start);
	note(a, inst, err && err != -EBUSY ? JOURNAL_FAILED : JOURNAL_THAW, actor, reason,
	     now_ns() - start, err == -EBUSY ? 0 : -err);
	return err;
}

/* ---- one step of one instance */

static uint64_t idle_since(const struct agent *a, const struct instance *inst)
{
	return MAX(a->maps->instances[inst->slot].last_end_ns, inst->started_ns);
}

static bool manages(const struct agent *a, const struct instance *inst)
{
	const struct fn_settings *s = &inst->fn->settings;

	return a->config->mode == MODE_MANAGE && !s->exclude && !s->pin && !inst->fn->pinned;
}

static void step_frozen(struct agent *a, struct instance *inst, uint64_t now)
{
	struct plan p;

	if (inst->manual)
		return plan_next(inst, UINT64_MAX, "none", "frozen by hand until its next request");
	p = plan_instance(a, inst, idle_since(a, inst), now);
	if (!p.frozen || !manages(a, inst)) {
		thaw(a, inst, JOURNAL_BY_ENGINE,
		     manages(a, inst) ? "its window opened" : "no longer managed");
		return engine_replan(a, inst);
	}
	plan_next(inst, p.until_ns, p.until_ns == UINT64_MAX ? "none" : "thaw",
		  p.until_ns == UINT64_MAX ? "thaws with its next request" : "its window opens");
}

static void set_hold(struct instance *inst, const struct hold *h)
{
	snprintf(inst->hold, sizeof(inst->hold), "%s", h->text);
	plan_next(inst, h->until_ns, "hold", h->text);
}

/* observe: say once per idle time what would have been done, then look on. */
static void would_freeze(struct agent *a, struct instance *inst, const char *reason, uint64_t now)
{
	uint64_t begins = a->maps->instances[inst->slot].begins + 1;

	if (inst->noted_begins != begins)
		note(a, inst, JOURNAL_WOULD_FREEZE, JOURNAL_BY_ENGINE, reason, 0, 0);
	inst->noted_begins = begins;
	plan_next(inst, now + MAX(inst->fn->settings.debounce_ns, NSEC_PER_SEC), "would-freeze",
		  reason);
}

/* A frozen holder of a file lock would stop whoever waits for it: thaw, and try later. */
static bool free_waiters(struct agent *a, struct instance *inst)
{
	pid_t holder = locks_blocking("/proc", inst->path);

	if (!holder)
		return false;
	thaw(a, inst, JOURNAL_BY_ENGINE, "somebody waits for a file lock it holds");
	plan_next(inst, now_ns() + LOCKS_NS, "hold", "somebody waits for a file lock it holds");
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
	uint64_t since = idle_since(a, inst), settled;
	struct hold h = {};
	struct plan p;

	if (slot->inflight > 0) {
		h.until_ns = now + MAX(set->debounce_ns, RECHECK_NS);
		snprintf(h.text, sizeof(h.text), "a request is in flight");
		return set_hold(inst, &h);
	}
	p = plan_instance(a, inst, since, now);
	inst->hold[0] = '\0';
	if (!p.frozen)
		return plan_next(inst, p.until_ns, p.until_ns == UINT64_MAX ? "none" : "freeze",
				 p.until_ns == UINT64_MAX ? "its window has no end"
							  : "its window closes");
	settled = MAX(since, inst->thawed_ns) + set->debounce_ns;
	if (now < settled)
		return plan_next(inst, settled, "freeze", p.reason);
	h = hold_of(a, inst, now, false);
	if (h.text[0])
		return set_hold(inst, &h);
	if (a->config->mode != MODE_MANAGE)
		return would_freeze(a, inst, p.reason, now);
	if (try_freeze(a, inst, JOURNAL_BY_ENGINE, p.reason)) {
		/* One task that will not freeze must not keep the agent busy. */
		settled = MAX(set->debounce_ns, RECHECK_NS) << MIN(inst->failures++, 6u);
		return plan_next(inst, now_ns() + settled, "freeze", inst->hold);
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
	if (uv_is_closing((uv_handle_t *)timer))
		return; /* one of them removed it */
	now = now_ns();
	switch (act_state(a->act, inst->slot)) {
	case ACT_THAWED:
		return step_warm(a, inst, now);
	case ACT_FROZEN:
		return step_frozen(a, inst, now);
	case ACT_FOREIGN:
		freezer_changed(a, inst, false); /* in case an event was lost */
		if (act_state(a->act, inst->slot) != ACT_FOREIGN)
			return;
		return plan_next(inst, now + FOREIGN_NS, "none", "frozen by somebody else");
	default:
		/* The wake thread is at it; its note comes, this is the safety net. */
		return plan_next(inst, now + RECHECK_NS, "hold", "between two tiers");
	}
}

void engine_replan(struct agent *a, struct instance *inst)
{
	(void)a;
	plan_next(inst, now_ns(), "hold", "being looked at");
}

void engine_replan_all(struct agent *a)
{
	struct instance *inst, *tmp, *all = registry_instances(a->registry);

	HASH_ITER (hh, all, inst, tmp)
		engine_replan(a, inst);
}

/* ---- what happens to instances */

void engine_appeared(struct instance *inst, void *arg)
{
	struct agent *a = arg;
	char path[64];

	uv_timer_init(&a->loop, &inst->timer);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/cgroup.freeze", inst->fd);
	inst->watch = inotify_add_watch(a->inotify_fd, path, IN_MODIFY);
	if (inst->watch < 0)
		log_warn("%s: freezes by others are not seen: inotify: %s", inst->path,
			 strerror(errno));
	else
		HASH_ADD(by_watch, a->watched, watch, sizeof(inst->watch), inst);
	note(a, inst, JOURNAL_APPEAR, JOURNAL_BY_ENGINE, inst->name, 0, 0);
	if (act_state(a->act, inst->slot) == ACT_FOREIGN)
		note(a, inst, JOURNAL_FOREIGN, JOURNAL_BY_ENGINE, "found frozen by somebody else",
		     0, 0);
	/* Born inside a cgroup that we froze, it would be frozen and nobody would know. */
	if (inst->outer && act_state(a->act, inst->outer->slot) == ACT_FROZEN) {
		thaw(a, inst->outer, JOURNAL_BY_ENGINE, "another instance appeared inside it");
		engine_replan(a, inst->outer);
	}
	engine_replan(a, inst);
}

void engine_vanishing(struct instance *inst, void *arg)
{
	struct agent *a = arg;

	note(a, inst, JOURNAL_VANISH, JOURNAL_BY_ENGINE, "its cgroup was removed", 0, 0);
	if (act_state(a->act, inst->slot) == ACT_FROZEN)
		act_thaw(a->act, inst->slot); /* no longer named by a rule, or removed: no matter */
	if (inst->watch < 0)
		return;
	HASH_DELETE(by_watch, a->watched, inst);
	inotify_rm_watch(a->inotify_fd, inst->watch);
}

static void free_instance(uv_handle_t *timer)
{
	free(container_of((uv_timer_t *)timer, struct instance, timer));
}

void engine_freed(struct instance *inst, void *arg)
{
	(void)arg;
	uv_close((uv_handle_t *)&inst->timer, free_instance);
}

void engine_populated(struct instance *inst, bool populated, void *arg)
{
	struct agent *a = arg;
	const struct hearth_instance *slot = &a->maps->instances[inst->slot];

	if (populated && !inst->populated) {
		inst->started_ns = now_ns();
		inst->base_ends = slot->ends;
	}
	inst->populated = populated;
	engine_replan(a, inst);
}

double engine_policy_time(const struct agent *a, uint64_t mono_ns)
{
	return ns_to_s(mono_ns + a->wall_offset_ns);
}

/* An arrival teaches the policy; the histogram was taught by the kernel. */
static void learn_arrival(struct agent *a, struct function *fn, const struct hearth_event *ev)
{
	struct hearth_arrival arrival = {
	    .t_s = engine_policy_time(a, ev->ts_ns),
	    .idle_s = ev->value ? ns_to_s(ev->value) : -1,
	    .iat_s = fn->last_arrival_ns ? ns_to_s(ev->ts_ns - fn->last_arrival_ns) : -1,
	};

	fn->last_arrival_ns = ev->ts_ns;
	hearth_policy_observe(fn->policy, fn->policy_state, &arrival);
	shadow_busy(fn->shadow, arrival.t_s);
}

static void learn_end(struct function *fn, double t_s)
{
	hearth_policy_idle(fn->policy, fn->policy_state, t_s);
	shadow_idle(fn->shadow, t_s);
}

/*
 * An idle time began, so there will be another decision, which may close the
 * window earlier than the timers of the last one say. One look per debounce and
 * instance, however many idle times begin.
 */
static void expect_decision(struct agent *a, struct function *fn)
{
	uint64_t soon = now_ns() + fn->settings.debounce_ns;
	struct instance *inst;

	for (inst = fn->instances; inst; inst = inst->next)
		if (act_state(a->act, inst->slot) == ACT_THAWED && !inst->hold[0] &&
		    (!inst->next_at_ns || inst->next_at_ns > soon))
			plan_next(inst, soon, "hold", "its next window is being decided");
}

void engine_function_event(struct agent *a, const struct hearth_event *ev)
{
	struct function *fn = registry_function_index(a->registry, ev->function);
	struct instance *inst = registry_slot(a->registry, ev->slot);

	if (ev->type == HEARTH_EV_BUSY && fn)
		learn_arrival(a, fn, ev);
	if (ev->type == HEARTH_EV_IDLE && fn) {
		learn_end(fn, engine_policy_time(a, ev->ts_ns));
		expect_decision(a, fn);
	}
	if (ev->type == HEARTH_EV_FROZEN && inst && inst->cgid == ev->cgid)
		inst->stopped = ev->value;
}

static void record_wake(struct function *fn, const struct wake_note *n)
{
	if (n->asked_ns && n->done_ns > n->asked_ns)
		fn->wake_us[fn->n_wake_us++ % WAKE_SAMPLES] =
		    (float)(n->done_ns - n->asked_ns) / 1000;
}

static const char *cause_text(uint32_t cause)
{
	static const char *const TEXTS[] = {
	    [0] = "found busy while armed",
	    [HEARTH_WAKE_BEGIN] = "a request came",
	    [HEARTH_WAKE_SYN] = "a client connects",
	    [HEARTH_WAKE_ENTER] = "a process entered",
	    [HEARTH_WAKE_DATAGRAM] = "a datagram came",
	};

	return cause < ARRAY_SIZE(TEXTS) ? TEXTS[cause] : "?";
}

void engine_woken(struct agent *a, const struct wake_note *n)
{
	struct instance *inst = registry_slot(a->registry, n->slot);
	uint64_t took_ns = n->asked_ns ? n->done_ns - n->asked_ns : 0;

	if (!inst || inst->gen != n->gen)
		return;
	if (n->error) {
		note(a, inst, JOURNAL_FAILED, JOURNAL_BY_WAKE, "cgroup.freeze could not be written",
		     took_ns, n->error);
		return;
	}
	inst->wakes++;
	inst->fn->wakes++;
	a->wakes++;
	record_wake(inst->fn, n);
	frozen_ended(inst, n->done_ns);
	note(a, inst, JOURNAL_WAKE, JOURNAL_BY_WAKE, cause_text(n->cause), took_ns, 0);
	if (cgroup_read_frozen(inst->fd) == 1 && act_state(a->act, inst->slot) == ACT_THAWED)
		note(a, inst, JOURNAL_FAILED, JOURNAL_BY_WAKE,
		     "thawed, but an ancestor cgroup is frozen by somebody else", 0, 0);
	plan_next(inst, now_ns() + MAX(inst->fn->settings.debounce_ns, RECHECK_NS), "hold",
		  "a request is in flight");
}

/* ---- others at the freezer */

static void freezer_changed(struct agent *a, struct instance *inst, bool certain)
{
	bool ours = act_state(a->act, inst->slot) == ACT_FROZEN;

	if (!act_foreign_write(a->act, inst->slot, certain))
		return;
	a->foreign_freezes++;
	if (ours)
		frozen_ended(inst, now_ns());
	if (act_state(a->act, inst->slot) == ACT_FOREIGN) {
		note(a, inst, JOURNAL_FOREIGN, JOURNAL_BY_ENGINE,
		     "somebody else froze it: hands off", 0, 0);
	} else {
		inst->started_ns = inst->thawed_ns = now_ns(); /* a new start-up grace */
		note(a, inst, JOURNAL_FOREIGN, JOURNAL_BY_ENGINE, "somebody else thawed it", 0, 0);
	}
	engine_replan(a, inst);
}

void engine_inotify(struct agent *a)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	const struct inotify_event *ev;
	struct instance *inst, *tmp;
	ssize_t n, at;

	while ((n = read(a->inotify_fd, buf, sizeof(buf))) > 0) {
		for (at = 0; at < n; at += (ssize_t)(sizeof(*ev) + ev->len)) {
			ev = (const void *)(buf + at);
			HASH_FIND(by_watch, a->watched, &ev->wd, sizeof(ev->wd), inst);
			if (inst)
				freezer_changed(a, inst, true);
			if (ev->mask & IN_Q_OVERFLOW)
				HASH_ITER (by_watch, a->watched, inst, tmp)
					freezer_changed(a, inst, false);
		}
	}
}

/* ---- by hand, and all at once */

int engine_freeze_now(struct agent *a, struct instance *inst, char *why, size_t size)
{
	struct hold h;
	int err;

	if (act_state(a->act, inst->slot) == ACT_FROZEN) {
		inst->manual = true;
		engine_replan(a, inst);
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
	err = try_freeze(a, inst, JOURNAL_BY_API, "asked for by hand");
	if (err) {
		snprintf(why, size, "%s", inst->hold);
		return err;
	}
	inst->manual = true;
	engine_replan(a, inst);
	return 0;
}

int engine_thaw_now(struct agent *a, struct instance *inst, const char *reason)
{
	int err = thaw(a, inst, JOURNAL_BY_API, reason);

	engine_replan(a, inst);
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
			frozen_ended(inst, now_ns());
			note(a, inst, JOURNAL_GUARD, JOURNAL_BY_GUARD, reason, 0, 0);
		} else {
			thaw(a, inst, JOURNAL_BY_ENGINE, reason);
		}
		engine_replan(a, inst);
	}
}
