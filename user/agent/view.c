/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the agent shows of itself: fills the snapshots from slots and registry.
 * Reads only; one function at a time, so memory does not grow with their number.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/psi.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/memory.h"
#include "lib/swap.h"
#include "lib/util.h"

/* Unix time of a monotonic moment; NAN for "never". */
static double unix_s(uint64_t mono_ns, uint64_t now)
{
	return mono_ns ? ns_to_s(unix_ns()) - ((double)now - (double)mono_ns) / 1e9 : NAN;
}

static double memory_of(int fd)
{
	uint64_t resident, swapped;

	return memory_glance(fd, &resident, &swapped) ? NAN : (double)resident;
}

static const char *tier_of(const struct agent *a, const struct instance *inst)
{
	enum act_state st = act_state(a->act, inst->slot);

	if (st == ACT_THAWED && a->maps->instances[inst->slot].inflight > 0)
		return "running";
	if (st == ACT_FROZEN && inst->paging.out)
		return "reclaimed";
	if (st == ACT_THAWED && inst->evicted && !inst->populated)
		return "gone";
	return act_state_name(st);
}

static const char *sources_text(uint32_t sources)
{
	static const char *const TEXTS[] = {
	    [HEARTH_SRC_REQUEST] = "request",
	    [HEARTH_SRC_EXEC] = "exec",
	    [HEARTH_SRC_REQUEST | HEARTH_SRC_EXEC] = "request+exec",
	    [HEARTH_SRC_UNIX] = "unix",
	    [HEARTH_SRC_REQUEST | HEARTH_SRC_IMAGE] = "request+image",
	};

	return sources < ARRAY_SIZE(TEXTS) && TEXTS[sources] ? TEXTS[sources] : "none";
}

static void view_instance(const struct agent *a, const struct instance *inst, uint64_t now,
			  struct snapshot_instance *out)
{
	const struct hearth_instance *slot = &a->maps->instances[inst->slot];

	*out = (struct snapshot_instance){
	    .cgroup = inst->path,
	    .function = inst->fn->name,
	    .name = inst->name,
	    .id = inst->cgid,
	    .tier = tier_of(a, inst),
	    .hold = inst->hold[0] ? inst->hold : NULL,
	    .sources = sources_text(a->maps->controls[inst->slot].sources),
	    .proven = slot->ends > inst->base_ends,
	    .fresh = slot->fresh,
	    .inflight = (unsigned int)MAX(slot->inflight, 0),
	    .probes = (unsigned int)MAX(slot->probes, 0),
	    .outsiders = (unsigned int)MAX(slot->outsiders, 0),
	    .invocations = slot->begins,
	    .stragglers = slot->stragglers,
	    .freezes = inst->freezes,
	    .wakes = inst->wakes,
	    .last_begin_s = unix_s(slot->last_begin_ns, now),
	    .last_end_s = unix_s(slot->last_end_ns, now),
	    .idle_s = NAN,
	    .frozen_s =
		inst->frozen_s + (inst->frozen_at_ns ? ns_to_s(now - inst->frozen_at_ns) : 0),
	    .memory_bytes = memory_of(inst->fd),
	};
	if (slot->inflight <= 0 && slot->last_end_ns)
		out->idle_s = ns_to_s(now - MIN(slot->last_end_ns, now));
}

/* ---- quantiles */

static int by_value(const void *x, const void *y)
{
	float d = *(const float *)x - *(const float *)y;

	return (d > 0) - (d < 0);
}

static size_t copy_wakes(const struct function *fn, float *us)
{
	size_t n = MIN(fn->n_wake_us, (uint32_t)WAKE_SAMPLES);

	memcpy(us, fn->wake_us, n * sizeof(*us));
	return n;
}

static void quantiles(float *us, size_t n, double *p50, double *p99)
{
	*p50 = *p99 = NAN;
	if (!n)
		return;
	qsort(us, n, sizeof(*us), by_value);
	*p50 = us[n / 2];
	*p99 = us[MIN(n - 1, n * 99 / 100)];
}

/* Of the latest wakes of all functions. */
static void all_wakes(const struct agent *a, double *p50, double *p99)
{
	struct function *fn, *tmp, *all = registry_functions(a->registry);
	_cleanup_free_ float *us = malloc((HASH_COUNT(all) + 1) * WAKE_SAMPLES * sizeof(*us));
	size_t n = 0;

	if (us)
		HASH_ITER (hh, all, fn, tmp)
			n += copy_wakes(fn, us + n);
	quantiles(us, n, p50, p99);
}

/* Upper edge of the percentile's bin, as the policies count. */
static double idle_percentile(const struct hearth_hist *h, unsigned int q)
{
	int bin = hearth_hist_percentile(h, q);

	return bin < 0 ? NAN : (bin + 1) * h->bin_s;
}

/* ---- functions */

static const char *mode_of(const struct agent *a, const struct function *fn)
{
	if (fn->settings.exclude)
		return "exclude";
	if (fn->settings.pin || fn->pinned)
		return "pin";
	return agent_mode_name(a->config->mode);
}

/* The instance whose next step comes first speaks for the function. */
static void view_next(const struct function *fn, uint64_t now, struct snapshot_next *out)
{
	const struct instance *i, *first = NULL;

	*out = (struct snapshot_next){.action = "none", .in_s = NAN, .reason = "no instance"};
	for (i = fn->instances; i; i = i->next)
		if (!first ||
		    (i->next_at_ns && (!first->next_at_ns || i->next_at_ns < first->next_at_ns)))
			first = i;
	if (!first)
		return;
	out->action = first->next_action ? first->next_action : "none";
	out->reason = first->next_reason;
	if (first->next_at_ns)
		out->in_s = first->next_at_ns > now ? ns_to_s(first->next_at_ns - now) : 0;
}

static void explain(const struct agent *a, const struct function *fn, char *out, size_t size)
{
	const struct instance *i, *best = NULL;

	for (i = fn->instances; i; i = i->next)
		if (!best || a->maps->instances[i->slot].last_begin_ns >
				 a->maps->instances[best->slot].last_begin_ns)
			best = i;
	if (!best)
		snprintf(out, size, "it has no instance");
	else
		snprintf(out, size, "%s: %s", tier_of(a, best),
			 best->hold[0] ? best->hold : best->next_reason);
}

static double memory_sum(const struct snapshot_instance *instances, size_t n)
{
	double sum = NAN;
	size_t i;

	for (i = 0; i < n; i++)
		if (!isnan(instances[i].memory_bytes))
			sum = (isnan(sum) ? 0 : sum) + instances[i].memory_bytes;
	return sum;
}

/* A counter of /metrics that goes back would be read as one that began anew. */
static uint64_t most_invocations(const struct agent *a, struct function *fn)
{
	fn->most_invocations = MAX(fn->most_invocations, a->maps->functions[fn->index].invocations);
	return fn->most_invocations;
}

static int view_function(struct agent *a, struct function *fn, api_function_fn visit, void *arg)
{
	const struct hearth_function *slot = &a->maps->functions[fn->index];
	const struct hearth_decision *d = plan_decision(a, fn);
	_cleanup_free_ struct snapshot_instance *instances =
	    calloc(MAX(fn->n_instances, 1u), sizeof(*instances));
	uint64_t now = now_ns(), seen = MAX(slot->last_busy_ns, slot->last_idle_ns);
	struct snapshot_shadow shadows[SHADOW_ROWS];
	struct snapshot_function out = {};
	const struct instance *i;
	float us[WAKE_SAMPLES];
	char why[320];
	double lived;

	if (!instances)
		return -ENOMEM;
	for (i = fn->instances; i; i = i->next) {
		view_instance(a, i, now, &instances[out.n_instances]);
		out.inflight += instances[out.n_instances++].inflight;
	}
	explain(a, fn, why, sizeof(why));
	out.name = fn->name;
	out.policy = hearth_policy_spec(fn->policy);
	out.policy_from = fn->api_policy ? "api" : "config";
	out.mode = mode_of(a, fn);
	out.why = why;
	out.decision_reason = d->reason;
	out.invocations = slot->invocations;
	out.most_invocations = most_invocations(a, fn);
	out.busy_spans = slot->busy_spans;
	out.cold_starts = slot->cold_starts;
	out.lukewarm_starts = slot->lukewarm_starts;
	out.freezes = fn->freezes;
	out.wakes = fn->wakes;
	out.reclaims = fn->paged.reclaims;
	out.returned_bytes = (double)fn->paged.returned_bytes;
	out.evictions = fn->evictions;
	out.prewarms_hit = fn->paged.hits;
	out.prewarms_early = fn->paged.early;
	out.prewarms_wasted = fn->paged.wasted;
	out.pinned = fn->pinned;
	out.first_seen_s = (double)fn->first_seen_ns / 1e9;
	out.last_seen_s = unix_s(seen, now);
	out.idle_s = slot->busy <= 0 && slot->last_idle_ns
			 ? ns_to_s(now - MIN(slot->last_idle_ns, now))
			 : NAN;
	out.hist = history_view(slot, &a->maps->fn_controls[fn->index]);
	idle_shown_raise(&fn->idle_shown, &out.hist);
	out.idle_shown = &fn->idle_shown;
	out.unbinned = slot->unbinned;
	out.it_p50_s = idle_percentile(&out.hist, 50);
	out.it_p99_s = idle_percentile(&out.hist, 99);
	out.it_count = slot->s1 + slot->oob;
	registry_times(fn, now, &out.frozen_s, &lived);
	out.frozen_share = lived > 0 ? out.frozen_s / lived : 0;
	quantiles(us, copy_wakes(fn, us), &out.wake_p50_us, &out.wake_p99_us);
	out.memory_bytes = memory_sum(instances, out.n_instances);
	out.n_windows = d->n;
	out.windows = d->w;
	view_next(fn, now, &out.next);
	out.instances = instances;
	out.shadows = shadows;
	shadow_memory(fn->shadow, engine_policy_time(a, now), out.memory_bytes);
	out.n_shadows =
	    shadow_view(fn->shadow, engine_policy_time(a, now), shadows, &out.shadow_since_s);
	out.cold_cost_s = ns_to_s(fn->settings.cold_cost_ns);
	out.measures = &fn->measures;
	visit(&out, arg);
	return 0;
}

int view_functions(void *ctx, const char *name, api_function_fn visit, void *arg)
{
	struct agent *a = ctx;
	struct function *fn, *tmp, *all = registry_functions(a->registry);
	int err;

	kernel_events_consume(a->kernel);
	if (name) {
		fn = registry_function(a->registry, name);
		return fn ? view_function(a, fn, visit, arg) : -ENOENT;
	}
	HASH_ITER (hh, all, fn, tmp) {
		err = view_function(a, fn, visit, arg);
		if (err)
			return err;
	}
	return 0;
}

/* ---- status */

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double resident_bytes(void)
{
	unsigned long total, resident;
	char buf[128];

	if (read_file_at(-1, "/proc/self/statm", buf, sizeof(buf)) < 0 ||
	    sscanf(buf, "%lu %lu", &total, &resident) != 2)
		return NAN;
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void view_totals(struct agent *a, struct snapshot_status *out)
{
	struct instance *inst, *tmp, *all = registry_instances(a->registry);
	struct function *fn, *next, *fns = registry_functions(a->registry);
	const struct registry_counts *gone = registry_forgotten(a->registry);

	out->totals.invocations = out->totals.most_invocations = gone->invocations;
	out->totals.busy_spans = gone->busy_spans;
	out->totals.cold_starts = gone->cold_starts;
	out->totals.lukewarm_starts = gone->lukewarm_starts;
	HASH_ITER (hh, fns, fn, next) {
		const struct hearth_function *slot = &a->maps->functions[fn->index];

		out->totals.functions++;
		out->totals.invocations += slot->invocations;
		out->totals.most_invocations += most_invocations(a, fn);
		out->totals.busy_spans += slot->busy_spans;
		out->totals.cold_starts += slot->cold_starts;
		out->totals.lukewarm_starts += slot->lukewarm_starts;
	}
	HASH_ITER (hh, all, inst, tmp) {
		out->totals.instances++;
		out->totals.frozen += act_state(a->act, inst->slot) == ACT_FROZEN;
		out->totals.inflight += (uint64_t)MAX(a->maps->instances[inst->slot].inflight, 0);
	}
	out->totals.freezes = a->freezes;
	out->totals.wakes = a->wakes;
	out->totals.freeze_failures = a->freeze_failures;
	out->totals.foreign_freezes = a->foreign_freezes;
}

/* Swapped is what the last looks at the instances found. */
static void view_memory(struct agent *a, struct snapshot_status *out)
{
	const struct memory_settings *m = &a->config->memory;
	struct swap_use swap = {};
	struct psi_use psi;
	struct instance *inst, *tmp, *all = registry_instances(a->registry);
	struct function *fn, *next, *fns = registry_functions(a->registry);

	out->memory.budget_bytes = (double)config_amount_bytes(&m->budget, memory_total());
	if (out->memory.budget_bytes == 0)
		out->memory.budget_bytes = NAN;
	if (m->swap && swap_read("/proc", "/sys", &swap) == 0)
		out->memory.swap_budget_bytes =
		    (double)config_amount_bytes(&m->swap_budget, swap.total_bytes);
	HASH_ITER (hh, all, inst, tmp) {
		out->memory.reclaimed += inst->paging.out;
		out->memory.swapped_bytes += (double)inst->paging.swap_bytes;
	}
	HASH_ITER (hh, fns, fn, next) {
		out->memory.returned_bytes += (double)fn->paged.returned_bytes;
		out->memory.evictions += fn->evictions;
		out->memory.prewarms_hit += fn->paged.hits;
		out->memory.prewarms_early += fn->paged.early;
		out->memory.prewarms_wasted += fn->paged.wasted;
	}
	out->memory.idle_bytes = (double)a->node.idle_bytes;
	out->memory.pressure_events = a->node.pressed;
	out->memory.why_no_pressure = m->pressure > 0 ? a->node.psi_why_not : "pressure = off";
	if (a->node.psi)
		out->memory.why_no_pressure = NULL;
	out->memory.pressure_some = out->memory.pressure_full = NAN;
	if (psi_read(PSI_MEMORY, &psi) == 0) {
		out->memory.pressure_some = psi.some.avg10;
		out->memory.pressure_full = psi.full.avg10;
	}
}

static size_t view_hooks(struct agent *a, struct snapshot_hook *hooks,
			 struct snapshot_notice *notices, size_t *n_notices)
{
	struct kernel_hook k[KERNEL_HOOKS];
	size_t n = kernel_hooks(a->kernel, k), i;

	for (i = 0; i < n; i++) {
		hooks[i] = (struct snapshot_hook){k[i].name, k[i].attached, k[i].why_not,
						  k[i].run_count, k[i].run_time_ns};
		if (k[i].why_not)
			notices[(*n_notices)++] = (struct snapshot_notice){k[i].name, k[i].why_not};
	}
	return n;
}

void view_status(void *ctx, api_status_fn visit, void *arg)
{
	struct agent *a = ctx;
	struct snapshot_notice notices[KERNEL_HOOKS + 1];
	struct snapshot_drop drops[HEARTH_DROP_REASONS + 1];
	struct snapshot_hook hooks[KERNEL_HOOKS];
	struct snapshot_map maps[KERNEL_FILLS];
	uint64_t dropped[HEARTH_DROP_REASONS];
	struct kernel_fill fills[KERNEL_FILLS];
	struct snapshot_status out = {
	    .notices = notices, .hooks = hooks, .drops = drops, .maps = maps};
	size_t i;

	out.version = HEARTH_VERSION;
	out.mode = agent_mode_name(a->config->mode);
	out.pid = getpid();
	out.started_at_s = (double)a->started_ns / 1e9;
	out.uptime_s = ns_to_s(unix_ns()) - out.started_at_s;
	out.cpu_s = cpu_seconds();
	out.memory_bytes = resident_bytes();
	out.config = a->config->path;
	out.pin_dir = a->config->pin_dir;
	out.state_file = a->state_path;
	out.state_saved_at_s = a->state_saved_ns ? (double)a->state_saved_ns / 1e9 : NAN;
	out.cgroup_root = a->cgroot;
	out.attach = a->attach;
	out.adopted = kernel_adopted(a->kernel);
	view_totals(a, &out);
	view_memory(a, &out);
	out.guard.pid = a->guard_pid;
	out.guard.alive = guard_alive(a->guard, a->guard_pid, a->guard_pidfd) == GUARD_WATCHING;
	out.guard.thaw_epoch = guard_table_epoch(a->guard);
	out.wake.fifo = wake_is_fifo(a->wake);
	out.wake.priority = a->config->wake_priority;
	out.wake.count = a->wakes;
	out.wake.why_not_fifo = out.wake.fifo              ? NULL
				: a->config->wake_priority ? strerror(-wake_fifo_error(a->wake))
							   : "wake_priority = 0";
	all_wakes(a, &out.wake.p50_us, &out.wake.p99_us);
	out.n_hooks = view_hooks(a, hooks, notices, &out.n_notices);
	if (!out.wake.fifo)
		notices[out.n_notices++] = (struct snapshot_notice){
		    "SCHED_FIFO",
		    "the wake thread has no real-time priority: wakes may wait for other work"};
	kernel_drops(a->kernel, dropped);
	for (i = 0; i < HEARTH_DROP_REASONS; i++)
		drops[i] = (struct snapshot_drop){kernel_drop_name(i), dropped[i]};
	drops[i++] = (struct snapshot_drop){"wake-notes", wake_notes_dropped(a->wake)};
	out.n_drops = i;
	out.n_maps = kernel_fill(a->kernel, fills);
	for (i = 0; i < out.n_maps; i++)
		maps[i] = (struct snapshot_map){fills[i].name, fills[i].used, fills[i].max};
	visit(&out, arg);
}

void view_images(void *ctx, api_images_fn visit, void *arg)
{
	struct agent *a = ctx;
	struct snapshot_images out;

	images_view_look(a->images, &out);
	visit(&out, arg);
}
