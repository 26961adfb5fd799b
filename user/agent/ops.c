/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the API changes: by hand, now or with a reason why not. */
#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/util.h"

typedef int (*engine_step_fn)(struct agent *a, struct instance *inst, char *why, size_t size);

static int refuse_to_observe(struct api_answer *answer)
{
	snprintf(answer->message, sizeof(answer->message), "hearthd runs in observe mode");
	snprintf(answer->hint, sizeof(answer->hint), "set mode = manage in [agent] and reload");
	return -EBUSY;
}

/* Down or up by hand, instance by instance; done: "%u frozen until the next request". */
static int move_all(struct agent *a, struct function *fn, engine_step_fn step, const char *done,
		    struct api_answer *answer)
{
	unsigned int moved = 0, refused = 0;
	struct instance *inst, *next;
	char why[160] = "";
	int err = 0, rc;

	if (a->config->mode != MODE_MANAGE)
		return refuse_to_observe(answer);
	for (inst = fn->instances; inst; inst = next) {
		next = inst->next;
		rc = step(a, inst, why, sizeof(why));
		moved += rc == 0;
		refused += rc != 0 && rc != -ENOENT;
		if (rc && rc != -ENOENT)
			err = rc;
	}
	if (refused)
		snprintf(answer->message, sizeof(answer->message), "%u %s, %u not: %s", moved, done,
			 refused, why);
	else
		snprintf(answer->message, sizeof(answer->message), "%u %s", moved, done);
	return err;
}

static int prewarm(struct agent *a, struct function *fn, struct api_answer *answer)
{
	int err;

	if (fn->instances)
		return move_all(a, fn, engine_prewarm_now, "made ready", answer);
	if (a->config->mode != MODE_MANAGE)
		return refuse_to_observe(answer);
	err = evict_prewarm(a, fn);
	snprintf(answer->message, sizeof(answer->message),
		 err == -ENOTSUP ? "it has no instance, and no prewarm command to make one"
				 : "its prewarm command was started");
	return err == -ENOTSUP ? -EBUSY : err;
}

static int thaw_all(struct agent *a, struct function *fn, const char *reason,
		    struct api_answer *answer)
{
	struct instance *inst, *next;
	unsigned int n = 0;
	int err = 0, rc;

	for (inst = fn->instances; inst; inst = next) {
		next = inst->next;
		rc = engine_thaw_now(a, inst, reason);
		n++;
		if (rc && rc != -ENOENT)
			err = rc;
	}
	snprintf(answer->message, sizeof(answer->message),
		 err ? "an instance could not be thawed" : "all %u instances run", n);
	return err;
}

static int pin(struct agent *a, struct function *fn, bool pinned, struct api_answer *answer)
{
	struct instance *inst;
	int err = 0;

	fn->pinned = pinned;
	if (pinned)
		err = thaw_all(a, fn, "pinned", answer);
	for (inst = fn->instances; inst; inst = inst->next)
		engine_replan(inst);
	if (!err)
		snprintf(answer->message, sizeof(answer->message),
			 pinned ? "kept warm until unpinned" : "its policy decides again");
	return err;
}

static int set_policy(struct agent *a, struct function *fn, const char *spec,
		      struct api_answer *answer)
{
	struct instance *inst;
	int err;

	err = registry_set_policy(a->registry, fn, spec, answer->message, sizeof(answer->message));
	if (err)
		return err;
	for (inst = fn->instances; inst; inst = inst->next)
		engine_replan(inst);
	snprintf(answer->message, sizeof(answer->message), "policy is %s%s",
		 hearth_policy_spec(fn->policy), spec ? "" : ", as configured");
	return 0;
}

int ops_change(void *ctx, enum api_change change, const char *name, const char *spec,
	       const struct api_peer *peer, struct api_answer *answer)
{
	struct agent *a = ctx;
	struct function *fn;

	(void)peer; /* the API journals who asked */
	kernel_events_consume(a->kernel);
	fn = registry_function(a->registry, name);
	if (!fn)
		return -ENOENT;
	switch (change) {
	case API_FREEZE:
		return move_all(a, fn, engine_freeze_now, "frozen until the next request", answer);
	case API_RECLAIM:
		return move_all(a, fn, engine_reclaim_now, "frozen and being paged out", answer);
	case API_EVICT:
		return move_all(a, fn, engine_evict_now, "killed, or will be after on_evict",
				answer);
	case API_PREWARM:
		return prewarm(a, fn, answer);
	case API_THAW:
		return thaw_all(a, fn, "asked for by hand", answer);
	case API_PIN:
	case API_UNPIN:
		return pin(a, fn, change == API_PIN, answer);
	case API_POLICY:
		return set_policy(a, fn, spec, answer);
	}
	return -EINVAL;
}
