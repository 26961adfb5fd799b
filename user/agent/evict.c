/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The function's own commands around its tiers, and the last tier: an instance
 * is killed only where the config lists `gone`, after its on_evict, and unless a
 * request comes first. What is gone is started by the platform; the prewarm
 * command asks for that ahead of time.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/engine.h"
#include "lib/log.h"
#include "lib/util.h"

#define HOOK_RETRY_NS (60 * NSEC_PER_SEC) /* after one that failed */

/* ---- running them */

static bool has_hook(const struct function *fn, enum hook_kind kind)
{
	return fn->settings.hook[kind] && fn->settings.hook[kind][0];
}

static void run(struct agent *a, struct instance *inst, enum hook_kind kind)
{
	char path[2 * PATH_MAX];
	struct hook_job job = {
	    .kind = kind,
	    .id = inst->cgid,
	    .tag = inst->gen,
	    .command = inst->fn->settings.hook[kind],
	    .timeout_ns = inst->fn->settings.hook_timeout_ns,
	    .function = inst->fn->name,
	    .instance = inst->name,
	    .cgroup = path,
	    .cgroup_id = inst->cgid,
	};
	int err;

	snprintf(path, sizeof(path), "%s/%s", a->cgroot, inst->path);
	err = hooks_run(a->hooks, &job);
	if (err && err != -EBUSY)
		engine_note(a, inst, JOURNAL_FAILED, JOURNAL_BY_ENGINE,
			    "a command could not be started", 0, -err);
}

/* Did it end well since the last request, or with it? The command may call the function. */
static bool ran(const struct agent *a, const struct instance *inst)
{
	return inst->hooked_ns && inst->hooked_ns >= a->maps->instances[inst->slot].last_begin_ns &&
	       inst->hooked_ns >= inst->thawed_ns;
}

static uint64_t retry_at(uint64_t failed_ns)
{
	return failed_ns ? failed_ns + HOOK_RETRY_NS : 0;
}

bool evict_pre_freeze(struct agent *a, struct instance *inst, struct hold *h)
{
	uint64_t now = now_ns();

	if (!has_hook(inst->fn, HOOK_PRE_FREEZE) || ran(a, inst))
		return true;
	if (now < retry_at(inst->hook_failed_ns)) {
		h->until_ns = retry_at(inst->hook_failed_ns);
		snprintf(h->text, sizeof(h->text), "its pre_freeze command failed");
		return false;
	}
	if (!hooks_busy(a->hooks, inst->cgid))
		run(a, inst, HOOK_PRE_FREEZE);
	h->until_ns = now + inst->fn->settings.hook_timeout_ns;
	snprintf(h->text, sizeof(h->text), "its pre_freeze command runs");
	return false;
}

void evict_thawed(struct agent *a, struct instance *inst)
{
	if (inst->evicted)
		return; /* it does not run */
	hooks_cancel(a->hooks, inst->cgid);
	if (has_hook(inst->fn, HOOK_POST_THAW))
		run(a, inst, HOOK_POST_THAW);
}

/* ---- gone */

/* When its plan wants it back, as if it had lived on. */
static void plan_return(struct agent *a, struct instance *inst)
{
	struct plan p = plan_instance(a, inst, engine_idle_since(a, inst), now_ns());

	if (p.next < p.rung && p.until_ns != UINT64_MAX && has_hook(inst->fn, HOOK_PREWARM))
		inst->fn->prewarm_at_ns = p.until_ns;
}

static int kill_it(struct agent *a, struct instance *inst, enum journal_actor actor,
		   const char *reason)
{
	uint64_t start = now_ns();
	int err = act_kill(a->act, inst->slot);

	if (err == -EALREADY)
		return err;
	plan_return(a, inst);
	inst->evicted = !err;
	engine_frozen_ended(a, inst, start, err == -EBUSY);
	if (err) {
		engine_note(a, inst, err == -EBUSY ? JOURNAL_THAW : JOURNAL_FAILED, actor,
			    err == -EBUSY ? "a request came before it was killed"
					  : "cgroup.kill could not be written",
			    now_ns() - start, err == -EBUSY ? 0 : -err);
		return err;
	}
	inst->fn->evictions++;
	engine_note(a, inst, JOURNAL_EVICT, actor, reason, now_ns() - start, 0);
	return 0;
}

/* Has its on_evict ended well since it was frozen, or has it none? */
static bool told(const struct instance *inst)
{
	return !has_hook(inst->fn, HOOK_ON_EVICT) || inst->hooked_ns >= inst->frozen_at_ns;
}

uint64_t evict_move(struct agent *a, struct instance *inst, const char *reason)
{
	uint64_t now = now_ns();
	uint64_t again = retry_at(MAX(inst->hook_failed_ns, inst->kill_failed_ns));
	int err;

	if (now < again)
		return again;
	if (!told(inst)) {
		if (!hooks_busy(a->hooks, inst->cgid))
			run(a, inst, HOOK_ON_EVICT);
		return UINT64_MAX; /* its end asks for a fresh look */
	}
	err = kill_it(a, inst, inst->evict_due ? JOURNAL_BY_API : JOURNAL_BY_ENGINE, reason);
	if (err && err != -EALREADY && err != -EBUSY)
		inst->kill_failed_ns = now; /* it was thawed: no such round again at once */
	return UINT64_MAX;
}

int evict_now(struct agent *a, struct instance *inst)
{
	if (!told(inst)) {
		inst->evict_due = true; /* killed when its command has ended */
		run(a, inst, HOOK_ON_EVICT);
		return 0;
	}
	return kill_it(a, inst, JOURNAL_BY_API, "asked for by hand");
}

/* ---- ahead of time, for functions without an instance */

static bool has_living(const struct function *fn)
{
	const struct instance *inst;

	for (inst = fn->instances; inst; inst = inst->next)
		if (inst->populated)
			return true;
	return false;
}

int evict_prewarm(struct agent *a, struct function *fn)
{
	struct hook_job job = {
	    .kind = HOOK_PREWARM,
	    .id = HOOK_OF_FUNCTION(fn->index),
	    .command = fn->settings.hook[HOOK_PREWARM],
	    .timeout_ns = fn->settings.hook_timeout_ns,
	    .function = fn->name,
	    .instance = "",
	    .cgroup = "",
	};

	if (!has_hook(fn, HOOK_PREWARM))
		return -ENOTSUP;
	return hooks_run(a->hooks, &job);
}

void evict_tick(struct agent *a)
{
	struct function *fn, *tmp, *all = registry_functions(a->registry);
	uint64_t now = now_ns();

	HASH_ITER (hh, all, fn, tmp) {
		if (!fn->prewarm_at_ns || now < fn->prewarm_at_ns)
			continue;
		fn->prewarm_at_ns = 0;
		if (a->config->mode == MODE_MANAGE && !has_living(fn))
			evict_prewarm(a, fn);
	}
}

void evict_hook_done(const struct hook_result *r, void *arg)
{
	struct agent *a = arg;
	struct instance *inst = registry_instance(a->registry, r->id);
	struct function *fn = registry_function_index(a->registry, (uint32_t)r->id);
	struct journal_note n = {.action = r->end == HOOK_OK ? JOURNAL_HOOK : JOURNAL_FAILED,
				 .actor = JOURNAL_BY_ENGINE,
				 .reason = r->text,
				 .took_ns = r->took_ns};

	if (r->end == HOOK_CANCELLED)
		return;
	if (r->kind == HOOK_PREWARM && fn)
		n.function = fn->name;
	if (!inst || inst->gen != r->tag) {
		journal_append(a->journal, &n);
		return;
	}
	engine_note(a, inst, n.action, n.actor, r->text, r->took_ns, 0);
	if (r->kind != HOOK_POST_THAW && r->end == HOOK_OK)
		inst->hooked_ns = now_ns();
	else if (r->kind != HOOK_POST_THAW)
		inst->hook_failed_ns = now_ns();
	engine_replan(inst); /* another command may have waited for this one's end */
}
