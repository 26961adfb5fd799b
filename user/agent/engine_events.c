/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What happens to instances and functions, from wherever it is told (kernel
 * events, the wake thread's notes, inotify), turned into what is learned and a
 * fresh look by the engine. Decides nothing itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "agent/engine.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory_high.h"
#include "lib/util.h"

/* An instance made ahead of its first request says nothing of how long a start takes. */
#define COLD_MAX_NS (60 * NSEC_PER_SEC)

/* ---- what happens to instances */

void engine_appeared(struct instance *inst, void *arg)
{
	struct agent *a = arg;
	char path[64];

	uv_timer_init(&a->loop, &inst->timer);
	inst->rank.since_s = ns_to_s(now_ns()); /* young, for all we know */
	inst->rank.last_s = ns_to_s(a->maps->instances[inst->slot].last_begin_ns);
	memory_high_recover(inst->fd); /* of a hearthd that died in the middle of a squeeze */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/cgroup.freeze", inst->fd);
	inst->watch = inotify_add_watch(a->inotify_fd, path, IN_MODIFY);
	if (inst->watch < 0)
		log_warn("%s: freezes by others are not seen: inotify: %s", inst->path,
			 strerror(errno));
	else
		HASH_ADD(by_watch, a->watched, watch, sizeof(inst->watch), inst);
	engine_note(a, inst, JOURNAL_APPEAR, JOURNAL_BY_ENGINE, inst->name, 0, 0);
	if (act_state(a->act, inst->slot) == ACT_FOREIGN)
		engine_note(a, inst, JOURNAL_FOREIGN, JOURNAL_BY_ENGINE,
			    "found frozen by somebody else", 0, 0);
	/* Born inside a cgroup that we froze, it would be frozen and nobody would know. */
	if (inst->outer && act_state(a->act, inst->outer->slot) == ACT_FROZEN) {
		engine_thaw(a, inst->outer, JOURNAL_BY_ENGINE,
			    "another instance appeared inside it");
		engine_replan(inst->outer);
	}
	engine_replan(inst);
}

/* With one less of them alive, a frozen one may be among the min_warm. */
static void replan_others(struct agent *a, const struct instance *gone)
{
	struct instance *inst;

	if (!gone->fn->settings.min_warm)
		return;
	for (inst = gone->fn->instances; inst; inst = inst->next)
		if (inst != gone && act_state(a->act, inst->slot) == ACT_FROZEN)
			engine_replan(inst);
}

void engine_vanishing(struct instance *inst, void *arg)
{
	struct agent *a = arg;

	replan_others(a, inst);
	paging_forget(a, inst);
	hooks_cancel(a->hooks, inst->cgid);
	engine_note(a, inst, JOURNAL_VANISH, JOURNAL_BY_ENGINE, "its cgroup was removed", 0, 0);
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
		inst->evicted = false;
		inst->squeezed_until_ns = 0; /* that was said of another run */
	}
	inst->populated = populated;
	if (!populated)
		replan_others(a, inst);
	engine_replan(inst);
}

double engine_policy_time(const struct agent *a, uint64_t mono_ns)
{
	return ns_to_s(mono_ns + a->wall_offset_ns);
}

static void look_at_memory(struct function *fn, double t_s)
{
	if (fn->shadow)
		shadow_memory(fn->shadow, t_s, spans_memory(fn));
}

void engine_look_at_memory(struct agent *a)
{
	struct function *fn, *tmp, *all = registry_functions(a->registry);
	double t_s = engine_policy_time(a, now_ns());

	HASH_ITER (hh, all, fn, tmp)
		look_at_memory(fn, t_s);
}

/* An arrival teaches the policy; the histogram was taught by the kernel. */
static void learn_arrival(struct agent *a, struct function *fn, struct instance *inst,
			  const struct hearth_event *ev)
{
	struct hearth_arrival arrival = {
	    .t_s = engine_policy_time(a, ev->ts_ns),
	    .idle_s = ev->value ? ns_to_s(ev->value) : -1,
	    .iat_s = fn->last_arrival_ns ? ns_to_s(ev->ts_ns - fn->last_arrival_ns) : -1,
	};

	fn->last_arrival_ns = ev->ts_ns;
	fn->busy_slot = ev->slot;
	fn->prewarm_at_ns = 0;
	node_served(a, fn, inst);
	if (inst && ev->start == HEARTH_START_COLD && ev->ts_ns < inst->started_ns + COLD_MAX_NS)
		measure_add(&fn->measures, MEASURE_COLD_S,
			    ns_to_s(ev->ts_ns - MIN(inst->started_ns, ev->ts_ns)));
	hearth_gaps_arrive(&fn->gaps, arrival.t_s);
	hearth_policy_observe(fn->policy, fn->policy_state, &arrival);
	look_at_memory(fn, arrival.t_s);
	shadow_busy(fn->shadow, arrival.t_s, ev->start == HEARTH_START_COLD);
}

static void learn_end(struct agent *a, struct function *fn, struct instance *inst,
		      const struct hearth_event *ev)
{
	double t_s = engine_policy_time(a, ev->ts_ns);

	loop_wakes(&a->wake_async); /* of a span as short as that, the wake may still wait */
	if (inst)
		paging_idle(a, inst, ev->slot == fn->busy_slot ? ns_to_s(ev->value) : 0);
	hearth_policy_idle(fn->policy, fn->policy_state, t_s);
	look_at_memory(fn, t_s);
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
			engine_plan_next(inst, soon, "hold", "its next window is being decided");
}

void engine_function_event(struct agent *a, const struct hearth_event *ev)
{
	struct function *fn = registry_function_index(a->registry, ev->function);
	struct instance *inst = registry_slot(a->registry, ev->slot);

	if (fn)
		spans_event(a->spans, fn, ev);
	if (ev->type == HEARTH_EV_BUSY && fn)
		learn_arrival(a, fn, inst, ev);
	if (ev->type == HEARTH_EV_IDLE && fn) {
		learn_end(a, fn, inst, ev);
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
		engine_note(a, inst, JOURNAL_FAILED, JOURNAL_BY_WAKE,
			    "cgroup.freeze could not be written", took_ns, n->error);
		return;
	}
	inst->wakes++;
	inst->fn->wakes++;
	a->wakes++;
	record_wake(inst->fn, n);
	if (inst->frozen_at_ns <= n->done_ns) /* else it was frozen anew since */
		engine_frozen_ended(a, inst, n->done_ns, true);
	engine_note(a, inst, JOURNAL_WAKE, JOURNAL_BY_WAKE, cause_text(n->cause), took_ns, 0);
	if (cgroup_read_frozen(inst->fd) == 1 && act_state(a->act, inst->slot) == ACT_THAWED)
		engine_note(a, inst, JOURNAL_FAILED, JOURNAL_BY_WAKE,
			    "thawed, but an ancestor cgroup is frozen by somebody else", 0, 0);
	engine_plan_next(inst, now_ns() + MAX(inst->fn->settings.debounce_ns, RECHECK_NS), "hold",
			 "a request is in flight");
}

/* ---- others at the freezer */

void engine_freezer_changed(struct agent *a, struct instance *inst, bool certain)
{
	bool ours = act_state(a->act, inst->slot) == ACT_FROZEN;
	enum act_writer who = act_foreign_write(a->act, inst->slot, certain);

	if (who == ACT_BY_US)
		return;
	a->foreign_freezes += who == ACT_BY_OTHERS;
	if (ours)
		engine_frozen_ended(a, inst, now_ns(), false);
	if (who == ACT_BY_GUARD) {
		engine_note(a, inst, JOURNAL_GUARD, JOURNAL_BY_GUARD, "thawed by the guard", 0, 0);
	} else if (act_state(a->act, inst->slot) == ACT_FOREIGN) {
		engine_note(a, inst, JOURNAL_FOREIGN, JOURNAL_BY_ENGINE,
			    "somebody else froze it: hands off", 0, 0);
	} else {
		inst->started_ns = inst->thawed_ns = now_ns(); /* a new start-up grace */
		engine_note(a, inst, JOURNAL_FOREIGN, JOURNAL_BY_ENGINE, "somebody else thawed it",
			    0, 0);
	}
	engine_replan(inst);
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
				engine_freezer_changed(a, inst, true);
			if (ev->mask & IN_Q_OVERFLOW)
				HASH_ITER (by_watch, a->watched, inst, tmp)
					engine_freezer_changed(a, inst, false);
		}
	}
}
