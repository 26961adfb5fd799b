/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Memory out and back; see paging.h. How it is done stands in reclaim.c and workset.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/engine.h"
#include "lib/memory.h"
#include "lib/swap.h"
#include "lib/util.h"

#define SWAP_LOOK_NS NSEC_PER_SEC        /* between two looks at the host's swap */
#define LOOK_NS      NSEC_PER_SEC        /* between two at an instance's memory */
#define AGAIN_NS     (60 * NSEC_PER_SEC) /* after a reclaim that came to little */
#define NEVER_NS     NSEC_PER_HOUR       /* after one that cannot work here */
#define ROOM_MIN     (UINT64_C(4) << 20) /* less room in swap is none */

/* ---- the host's swap */

static const struct swap_use *swap_now(struct agent *a)
{
	uint64_t now = now_ns();

	if (!a->swap_at_ns || now > a->swap_at_ns + SWAP_LOOK_NS) {
		if (swap_read("/proc", "/sys", &a->swap))
			a->swap = (struct swap_use){};
		a->swap_at_ns = now;
	}
	return &a->swap;
}

/* What may go to swap now. What reclaims that are going may fill is not free any more. */
static uint64_t swap_room(struct agent *a)
{
	const struct memory_settings *m = &a->config->memory;
	const struct swap_use *s = swap_now(a);
	struct instance *inst, *tmp, *all = registry_instances(a->registry);
	uint64_t budget = config_amount_bytes(&m->swap_budget, s->total_bytes);
	uint64_t ours = 0, claimed = 0, taken, left, room;

	if (!m->swap || !s->total_bytes)
		return 0;
	HASH_ITER (hh, all, inst, tmp) {
		ours += inst->paging.swap_bytes;
		claimed += inst->paging.going ? inst->paging.swap_claim_bytes : 0;
	}
	taken = (uint64_t)(m->swap_free_min * (double)s->total_bytes) + claimed;
	room = s->free_bytes - MIN(s->free_bytes, taken);
	left = budget - MIN(budget, ours + claimed);
	return budget ? MIN(room, left) : room;
}

uint64_t paging_cost(struct agent *a, const struct instance *inst)
{
	/* What zswap holds of it is in the resident bytes: its cgroup is charged for that. */
	return inst->paging.resident_bytes +
	       (uint64_t)(swap_ratio(swap_now(a), true) * (double)inst->paging.swap_bytes);
}

void paging_look(struct instance *inst)
{
	inst->paging.looked_ns = now_ns();
	memory_glance(inst->fd, &inst->paging.resident_bytes, &inst->paging.swap_bytes);
}

/* ---- out */

static uint64_t reclaim(struct agent *a, struct instance *inst)
{
	const struct memory_settings *m = &a->config->memory;
	struct paging *p = &inst->paging;
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL,
				    .swap_bytes_per_s = m->swap_rate_bytes};
	uint64_t now = now_ns(), room;
	bool whole;

	if (p->going || (p->out && !p->swap_due))
		return UINT64_MAX;
	if (now < p->retry_ns)
		return p->retry_ns;
	room = swap_room(a);
	whole = room && room >= p->resident_bytes;
	o.swap = whole || room >= ROOM_MIN;
	if (p->out && !o.swap)
		return now + AGAIN_NS;
	if (o.swap && !whole)
		o.want_bytes = room;
	if (p->prewarmed) {
		p->prewarmed = false;
		inst->fn->paged.wasted++;
	}
	if (worker_reclaim(a->worker, inst->slot, inst->gen, inst->fd, inst->cgid, &o))
		return now + NSEC_PER_SEC; /* the last job has not let go yet */
	if (act_state(a->act, inst->slot) != ACT_FROZEN) {
		worker_cancel(a->worker, inst->slot);
		return UINT64_MAX;
	}
	p->going = true;
	p->swap_claim_bytes = o.swap ? MIN(room, p->resident_bytes) : 0;
	p->swap_due = m->swap && !whole;
	return UINT64_MAX;
}

static void note_bytes(struct agent *a, struct instance *inst, enum journal_action action,
		       const char *what, uint64_t bytes, const char *how, uint64_t took_ns)
{
	char text[128];

	snprintf(text, sizeof(text), "%s %.1f MB%s%s", what, (double)bytes / 1e6, how ? " by " : "",
		 how ? how : "");
	engine_note(a, inst, action, JOURNAL_BY_ENGINE, text, took_ns, 0);
}

static void measure_reclaim(struct agent *a, struct instance *inst, const struct reclaim_result *r)
{
	struct measures *m = &inst->fn->measures;

	measure_add(m, MEASURE_FROZEN_BYTES, (double)memory_cost(&r->before, swap_now(a)));
	measure_add(m, MEASURE_RECLAIMED_BYTES, (double)memory_cost(&r->after, swap_now(a)));
	measure_add(m, MEASURE_RETURNED_BYTES, (double)r->returned_bytes);
}

/* Else the freeze it was queued for is over, and so is what we noted of it. */
static bool of_this_freeze(const struct instance *inst, const struct worker_result *w)
{
	return inst->frozen_at_ns && w->queued_ns >= inst->frozen_at_ns;
}

static uint64_t pause_after(const struct worker_result *w)
{
	if (w->cancelled)
		return NSEC_PER_SEC; /* asked for again at once, it might end so again at once */
	return w->error == -EOPNOTSUPP ? NEVER_NS : AGAIN_NS;
}

static void reclaimed(struct agent *a, struct instance *inst, const struct worker_result *w)
{
	const struct reclaim_result *r = &w->reclaim;
	struct paging *p = &inst->paging;
	bool current = of_this_freeze(inst, w);

	if (current) {
		p->going = false;
		if (w->error || w->cancelled)
			p->retry_ns = now_ns() + pause_after(w);
	}
	if (w->error == -ENOENT || (w->cancelled && !r->batches))
		return;
	if (w->error) {
		engine_note(a, inst, JOURNAL_FAILED, JOURNAL_BY_ENGINE,
			    "its memory could not be reclaimed", w->took_ns, -w->error);
		return;
	}
	p->resident_bytes = r->after.current_bytes;
	p->swap_bytes = r->after.swap_bytes;
	inst->fn->paged.reclaims++;
	inst->fn->paged.returned_bytes += r->returned_bytes;
	note_bytes(a, inst, JOURNAL_RECLAIM,
		   w->cancelled ? "interrupted by a request; returned" : "returned",
		   r->returned_bytes, reclaim_method_name(r->method), w->took_ns);
	if (w->cancelled || !current || act_state(a->act, inst->slot) != ACT_FROZEN)
		return;
	p->out = true;
	measure_reclaim(a, inst, r);
}

/* ---- back */

static uint64_t prewarm(struct agent *a, struct instance *inst)
{
	const struct memory_settings *m = &a->config->memory;
	struct paging *p = &inst->paging;
	struct prefault_options o = {.rate_bytes_s = m->prewarm_rate_bytes,
				     .cpu_share = m->prewarm_cpu,
				     .disk = swap_now(a)->disk_bytes > 0};

	if (p->returning)
		return UINT64_MAX;
	if (now_ns() < p->retry_back_ns)
		return p->retry_back_ns;
	if (p->going)
		worker_cancel(a->worker, inst->slot);
	if (worker_prefault(a->worker, inst->slot, inst->gen, inst->fd, inst->cgid, p->workset, &o))
		return now_ns() + RECHECK_NS;
	p->returning = true;
	inst->fn->paged.prewarms++;
	return UINT64_MAX;
}

/* Runnable tasks beside this one leave a CPU to work on. */
static bool core_is_free(void)
{
	unsigned int running;
	char buf[64];

	return read_file_at(-1, "/proc/loadavg", buf, sizeof(buf)) > 0 &&
	       sscanf(buf, "%*f %*f %*f %u", &running) == 1 &&
	       running < (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* It runs and faults its pages in one by one: bring them from the far end meanwhile. */
static void restore(struct agent *a, struct instance *inst)
{
	struct prefault_options o = {.disk = swap_now(a)->disk_bytes > 0, .backwards = true};
	struct paging *p = &inst->paging;

	p->exact =
	    !p->workset || !core_is_free() ||
	    worker_prefault(a->worker, inst->slot, inst->gen, inst->fd, inst->cgid, p->workset, &o);
}

static void prefaulted(struct agent *a, struct instance *inst, const struct worker_result *w)
{
	struct paging *p = &inst->paging;

	if (!p->returning || !of_this_freeze(inst, w)) /* beside a request */
		return;
	p->returning = false;
	if (w->error || w->cancelled)
		p->retry_back_ns = now_ns() + pause_after(w);
	if (w->cancelled || act_state(a->act, inst->slot) != ACT_FROZEN)
		return;
	if (w->error) {
		engine_note(a, inst, JOURNAL_FAILED, JOURNAL_BY_ENGINE,
			    "its memory could not be brought back", w->took_ns, -w->error);
		return;
	}
	p->out = false;
	p->prewarmed = true;
	paging_look(inst);
	measure_add(&inst->fn->measures, MEASURE_PREFAULT_S, ns_to_s(w->prefault.took_ns));
	note_bytes(a, inst, JOURNAL_PREWARM, "brought back", w->prefault.bytes, NULL, w->took_ns);
}

/* ---- what happens to the instance */

uint64_t paging_move(struct agent *a, struct instance *inst, enum hearth_rung rung)
{
	if (rung == HEARTH_FROZEN)
		return inst->paging.out || inst->paging.going ? prewarm(a, inst) : UINT64_MAX;
	return reclaim(a, inst);
}

void paging_frozen(struct instance *inst)
{
	struct paging *p = &inst->paging;

	p->out = p->going = p->returning = p->prewarmed = p->swap_due = false;
	p->retry_ns = p->retry_back_ns = 0;
	paging_look(inst);
}

void paging_thawed(struct agent *a, struct instance *inst, bool by_request)
{
	struct paging *p = &inst->paging;
	bool was_going = p->going, was_out = p->out, was_ready = p->prewarmed,
	     was_returning = p->returning;

	worker_cancel(a->worker, inst->slot);
	p->out = p->going = p->returning = p->prewarmed = p->swap_due = false;
	p->found = was_out      ? HEARTH_RECLAIMED
		   : was_going  ? HEARTH_RUNGS /* some of it is out: says nothing of either tier */
		   : by_request ? HEARTH_FROZEN
				: HEARTH_WARM;
	p->was_ready = by_request && was_ready;
	if (was_out && !inst->evicted)
		restore(a, inst);
	if (!by_request)
		return;
	p->record_due = was_out;
	inst->fn->paged.hits += was_ready;
	inst->fn->paged.early += was_returning;
}

static enum measure_what wake_measure(const struct paging *p)
{
	if (p->found == HEARTH_RECLAIMED)
		return MEASURE_RECLAIMED_WAKE_S;
	return p->was_ready ? MEASURE_PREFAULTED_WAKE_S : MEASURE_FROZEN_WAKE_S;
}

void paging_idle(struct agent *a, struct instance *inst, double span_s)
{
	struct paging *p = &inst->paging;

	if (now_ns() > p->looked_ns + LOOK_NS) {
		paging_look(inst);
		if (p->resident_bytes)
			measure_add(&inst->fn->measures, MEASURE_WARM_BYTES,
				    (double)p->resident_bytes);
	}
	if (span_s > 0 && p->found == HEARTH_WARM)
		measure_add(&inst->fn->measures, MEASURE_SPAN_S, span_s);
	else if (span_s > 0 && p->found != HEARTH_RUNGS)
		measure_add_wake(&inst->fn->measures, wake_measure(p), span_s);
	p->found = HEARTH_WARM;
	p->was_ready = false;
	if (p->record_due && !worker_busy(a->worker, inst->slot))
		worker_record(a->worker, inst->slot, inst->gen, inst->fd, inst->cgid);
	p->record_due = false;
}

static void recorded(struct instance *inst, struct workset *fresh)
{
	struct workset *merged;

	if (!fresh)
		return;
	if (!workset_merge(inst->paging.workset, fresh, inst->paging.exact, &merged)) {
		workset_free(inst->paging.workset);
		inst->paging.workset = merged;
	}
	workset_free(fresh);
}

void paging_done(const struct worker_result *w, void *arg)
{
	struct agent *a = arg;
	struct instance *inst = registry_slot(a->registry, w->slot);

	if (!inst || inst->gen != w->gen) {
		if (w->kind == WORKER_RECORD)
			workset_free(w->set);
		return;
	}
	switch (w->kind) {
	case WORKER_RECLAIM:
		reclaimed(a, inst, w);
		node_stepped(a, inst);
		break;
	case WORKER_PREFAULT:
		prefaulted(a, inst, w);
		break;
	case WORKER_RECORD:
		return recorded(inst, w->set);
	}
	engine_replan(inst);
}

void paging_forget(struct agent *a, struct instance *inst)
{
	worker_cancel(a->worker, inst->slot);
	workset_free(inst->paging.workset);
	inst->paging.workset = NULL;
}
