/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The node's memory; see node.h. Who goes first is the ranker's business. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "lib/util.h"

#define PRESSURE_WINDOW_NS (500 * NSEC_PER_MSEC)
#define PRESSURE_LASTS_NS  (2 * NSEC_PER_SEC)  /* after the kernel told of it */
#define VICTIM_NS          (5 * NSEC_PER_SEC)  /* most time that one step may take */
#define LOOK_NS            (10 * NSEC_PER_SEC) /* between two looks at one instance's memory */
#define LOOKS_AT_ONCE      256

static void on_pressure(void *arg)
{
	struct agent *a = arg;

	a->node.pressed_ns = now_ns();
	a->node.pressed++;
	node_tick(a);
}

void node_configure(struct agent *a)
{
	struct node *n = &a->node;
	struct psi_options o = {.loop = &a->loop,
				.path = PSI_MEMORY,
				.share = a->config->memory.pressure,
				.window_ns = PRESSURE_WINDOW_NS,
				.fn = on_pressure,
				.arg = a};

	node_close(a);
	n->pool.rng = n->pool.rng ? n->pool.rng : now_ns();
	n->pool.capacity_mb =
	    (double)config_amount_bytes(&a->config->memory.budget, memory_total()) / 1e6;
	n->psi_why_not[0] = '\0';
	if (o.share > 0 && psi_new(&o, &n->psi, n->psi_why_not, sizeof(n->psi_why_not)))
		log_warn("memory pressure is not heard: %s", n->psi_why_not);
}

void node_close(struct agent *a)
{
	psi_free(a->node.psi);
	a->node.psi = NULL;
}

/* ---- what a ranker may know */

void node_served(struct agent *a, struct function *fn, struct instance *served)
{
	const struct hearth_ranker *r = a->config->memory.ranker;
	double now_s = ns_to_s(now_ns());
	struct instance *i;

	for (i = fn->instances; i; i = i->next) {
		struct hearth_rank_item *item = &i->rank;

		if (!item->since_s || (i == served && i->paging.found == HEARTH_RECLAIMED))
			item->since_s = now_s;
		if (i == served)
			item->last_s = now_s;
		item->served++;
		item->pooled++;
		hearth_ranker_served(r, &a->node.pool, item, i == served);
	}
}

/* ---- who may go */

enum hearth_rung node_squeezed(const struct agent *a, const struct instance *inst, uint64_t now)
{
	if (now >= inst->squeezed_until_ns ||
	    !(inst->fn->settings.tiers & (1u << inst->squeezed)) ||
	    a->maps->instances[inst->slot].last_begin_ns > inst->squeezed_ns)
		return HEARTH_WARM;
	return inst->squeezed;
}

/* The next tier down that frees memory, HEARTH_RUNGS if there is none. */
static enum hearth_rung next_down(const struct instance *inst)
{
	enum hearth_rung r = inst->paging.out ? HEARTH_GONE : HEARTH_RECLAIMED;

	while (r < HEARTH_RUNGS && !(inst->fn->settings.tiers & (1u << r)))
		r++;
	return r;
}

static bool idle(const struct agent *a, const struct instance *inst)
{
	return inst->populated && a->maps->instances[inst->slot].inflight <= 0;
}

static bool may_step_down(struct agent *a, const struct instance *inst, uint64_t now)
{
	enum act_state state = act_state(a->act, inst->slot);

	if (!engine_manages(a, inst) || !idle(a, inst) || inst->manual || inst->hold[0] ||
	    inst->paging.going || next_down(inst) == HEARTH_RUNGS ||
	    node_squeezed(a, inst, now) >= next_down(inst) || /* told already */
	    plan_rank(a, inst) < inst->fn->settings.min_warm)
		return false;
	return state == ACT_THAWED || state == ACT_FROZEN;
}

static double or_else(double v, double fallback)
{
	return v >= 0 ? v : fallback; /* NAN: not measured yet */
}

/* What a ranker weighs; until measured, a start is taken to cost a second. */
static void weigh(struct instance *inst)
{
	const struct measures *m = &inst->fn->measures;
	struct hearth_rank_item *item = &inst->rank;

	item->mem_mb = (double)MAX(inst->paging.resident_bytes, UINT64_C(1) << 20) / 1e6;
	item->warm_s = or_else(measure_quantile(m, MEASURE_SPAN_S, 0.5), 0.1);
	item->cold_s =
	    item->warm_s + or_else(measure_quantile(m, MEASURE_RECLAIMED_WAKE_S, 0.5), 1);
}

/* Resident and idle: what is kept of its memory, looked at now and then. */
static void look(struct agent *a, uint64_t now)
{
	struct instance *inst, *tmp, *all = registry_instances(a->registry);
	unsigned int looks = 0;
	/* With so many that it takes longer to see them all, everyone's turn comes later. */
	uint64_t rounds = registry_n_instances(a->registry) / LOOKS_AT_ONCE + 1;
	uint64_t pause = MAX(LOOK_NS, rounds * NSEC_PER_SEC);

	a->node.idle_bytes = 0;
	HASH_ITER (hh, all, inst, tmp) {
		if (!idle(a, inst))
			continue;
		if (now > inst->paging.looked_ns + pause && looks++ < LOOKS_AT_ONCE) {
			paging_look(inst);
			weigh(inst);
		}
		a->node.idle_bytes += paging_cost(a, inst);
	}
}

/* ---- one step */

static void step_down(struct agent *a, struct instance *victim, const char *reason, uint64_t now)
{
	struct plan p = plan_instance(a, victim, engine_idle_since(a, victim), now);

	victim->squeezed = next_down(victim);
	victim->squeezed_ns = now;
	victim->squeezed_until_ns = p.until_ns;
	a->node.victim = victim->cgid;
	a->node.victim_ns = now;
	engine_note(a, victim, JOURNAL_SQUEEZE, JOURNAL_BY_ENGINE, reason, 0, 0);
	engine_replan(victim);
}

static void choose(struct agent *a, const char *reason, uint64_t now)
{
	unsigned int room = registry_n_instances(a->registry), n = 0;
	_cleanup_free_ struct instance **who = calloc(room + 1, sizeof(*who));
	_cleanup_free_ struct hearth_rank_item **items =
	    calloc(room + 1, sizeof(struct hearth_rank_item *));
	struct instance *inst, *tmp, *all = registry_instances(a->registry);
	long victim;

	if (!who || !items)
		return;
	HASH_ITER (hh, all, inst, tmp)
		if (may_step_down(a, inst, now)) {
			who[n] = inst;
			items[n++] = &inst->rank;
		}
	victim =
	    hearth_ranker_victim(a->config->memory.ranker, &a->node.pool, ns_to_s(now), items, n);
	if (victim < 0)
		return;
	inst = who[victim];
	items[victim] = items[n - 1];
	hearth_ranker_evicted(a->config->memory.ranker, &a->node.pool, &inst->rank, items, n - 1);
	step_down(a, inst, reason, now);
}

/* Still on its way down? A request ends that, and so does time. */
static bool stepping(struct agent *a, uint64_t now)
{
	struct instance *v = a->node.victim ? registry_instance(a->registry, a->node.victim) : NULL;

	return v && now < a->node.victim_ns + VICTIM_NS && v->populated &&
	       (v->paging.going || !v->paging.out) && node_squeezed(a, v, now) > HEARTH_WARM;
}

void node_tick(struct agent *a)
{
	const struct node *n = &a->node;
	uint64_t now = now_ns();
	bool pressed = n->pressed_ns && now < n->pressed_ns + PRESSURE_LASTS_NS;

	look(a, now);
	if (a->config->mode != MODE_MANAGE || stepping(a, now))
		return;
	if (n->pool.capacity_mb > 0 && (double)n->idle_bytes > n->pool.capacity_mb * 1e6)
		choose(a, "idle instances keep more than the budget", now);
	else if (pressed)
		choose(a, "tasks of this host wait for memory", now);
}

void node_stepped(struct agent *a, const struct instance *inst)
{
	if (a->node.victim == inst->cgid)
		node_tick(a);
}
