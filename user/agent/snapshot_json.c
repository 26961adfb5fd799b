/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Values are set through four small helpers that add up failures in the object
 * itself: an object that could not take a value is dropped at the end.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/snapshot_json.h"
#include "lib/clock.h"
#include "lib/util.h"

/* An object under construction; o becomes NULL once anything failed. */
struct builder {
	json_t *o;
};

static void put(struct builder *b, const char *key, json_t *value)
{
	if (b->o && json_object_set_new(b->o, key, value) == 0)
		return;
	json_decref(b->o);
	b->o = NULL;
}

json_t *snapshot_text_json(const char *text)
{
	_cleanup_free_ char *clean = NULL;
	json_t *value;

	if (!text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	clean = strdup(text);
	for (char *p = clean; p && *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(clean);
}

static void put_text(struct builder *b, const char *key, const char *text)
{
	put(b, key, snapshot_text_json(text));
}

static json_t *real(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static void put_real(struct builder *b, const char *key, double v)
{
	put(b, key, real(v));
}

static void put_int(struct builder *b, const char *key, uint64_t v)
{
	put(b, key, json_integer((json_int_t)v));
}

static void put_bool(struct builder *b, const char *key, bool v)
{
	put(b, key, json_boolean(v));
}

json_t *snapshot_instance_json(const struct snapshot_instance *i)
{
	struct builder b = {json_object()};

	put_text(&b, "cgroup", i->cgroup);
	put_int(&b, "id", i->id);
	put_text(&b, "function", i->function);
	put_text(&b, "name", i->name);
	put_text(&b, "tier", i->tier);
	put_text(&b, "hold", i->hold);
	put_text(&b, "sources", i->sources);
	put_bool(&b, "proven", i->proven);
	put_bool(&b, "fresh", i->fresh);
	put_int(&b, "inflight", i->inflight);
	put_int(&b, "probes", i->probes);
	put_int(&b, "outsiders", i->outsiders);
	put_int(&b, "invocations", i->invocations);
	put_int(&b, "stragglers", i->stragglers);
	put_int(&b, "freezes", i->freezes);
	put_int(&b, "wakes", i->wakes);
	put_real(&b, "last_begin_s", i->last_begin_s);
	put_real(&b, "last_end_s", i->last_end_s);
	put_real(&b, "idle_s", i->idle_s);
	put_real(&b, "frozen_s", i->frozen_s);
	put_real(&b, "memory_bytes", i->memory_bytes);
	return b.o;
}

static json_t *windows_json(const struct snapshot_function *f)
{
	json_t *a = json_array();

	for (unsigned int i = 0; i < f->n_windows; i++) {
		json_t *w = json_array();

		json_array_append_new(w, real(f->windows[i].open_s));
		json_array_append_new(w, real(f->windows[i].close_s));
		json_array_append_new(a, w);
	}
	return a;
}

static json_t *next_json(const struct snapshot_next *n)
{
	struct builder b = {json_object()};

	put_text(&b, "action", n->action);
	put_real(&b, "in_s", n->in_s);
	put_text(&b, "reason", n->reason);
	return b.o;
}

static json_t *instances_json(const struct snapshot_function *f)
{
	json_t *a = json_array();

	for (size_t i = 0; i < f->n_instances; i++)
		json_array_append_new(a, snapshot_instance_json(&f->instances[i]));
	return a;
}

static json_t *histogram_json(const struct snapshot_function *f)
{
	const struct hearth_hist *h = &f->hist;
	struct builder b = {json_object()};
	json_t *bins = json_array();
	uint32_t n = h->bins ? h->nbins : 0;

	while (n > 0 && h->bins[n - 1] == 0)
		n--;
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(bins, json_integer(h->bins[i]));
	put_real(&b, "bin_s", h->bin_s);
	put_int(&b, "nbins", h->nbins);
	put(&b, "bins", bins);
	put_int(&b, "s1", h->s1);
	put_int(&b, "s2", h->s2);
	put_int(&b, "oob", h->oob);
	put_int(&b, "unbinned", f->unbinned);
	return b.o;
}

static json_t *row_json(const struct snapshot_shadow *s)
{
	struct builder b = {json_object()};

	put_text(&b, "policy", s->policy);
	put_bool(&b, "acting", s->acting);
	put_int(&b, "cold_starts", s->cold_starts);
	put_int(&b, "lukewarm_starts", s->lukewarm_starts);
	put_int(&b, "warm_starts", s->warm_starts);
	put_int(&b, "loads", s->loads);
	put_real(&b, "waste_s", s->waste_s);
	put_real(&b, "waste_gb_s", s->waste_gb_s);
	put_real(&b, "cost_s", s->cost_s);
	put_real(&b, "cost_gb_s", s->cost_gb_s);
	return b.o;
}

json_t *snapshot_shadow_json(const struct snapshot_function *f)
{
	struct builder b;
	json_t *rows;

	if (!f->n_shadows)
		return json_null();
	b.o = json_object();
	rows = json_array();
	for (size_t i = 0; i < f->n_shadows; i++)
		json_array_append_new(rows, row_json(&f->shadows[i]));
	put_text(&b, "function", f->name);
	put_real(&b, "since_at_s", f->shadow_since_s);
	put_real(&b, "cold_cost_s", f->cold_cost_s);
	put_real(&b, "memory_bytes", f->memory_bytes);
	put(&b, "policies", rows);
	return b.o;
}

static void put_learned(struct builder *b, const struct snapshot_function *f)
{
	put_real(b, "first_seen_s", f->first_seen_s);
	put_real(b, "last_seen_s", f->last_seen_s);
	put_real(b, "idle_s", f->idle_s);
	put_real(b, "it_p50_s", f->it_p50_s);
	put_real(b, "it_p99_s", f->it_p99_s);
	put_int(b, "it_count", f->it_count);
	put(b, "windows", windows_json(f));
	put_text(b, "decision_reason", f->decision_reason);
	put(b, "next", next_json(&f->next));
	put_text(b, "why", f->why);
	put_real(b, "frozen_s", f->frozen_s);
	put_real(b, "frozen_share", f->frozen_share);
	put_real(b, "wake_p50_us", f->wake_p50_us);
	put_real(b, "wake_p99_us", f->wake_p99_us);
	put_real(b, "memory_bytes", f->memory_bytes);
}

static json_t *measures_json(const struct measures *m)
{
	struct builder b = {json_object()};

	for (int w = 0; m && w < MEASURES; w++) {
		struct builder row = {json_object()};

		put_int(&row, "count", measure_count(m, w));
		put_real(&row, "p50", measure_quantile(m, w, 0.5));
		put_real(&row, "p90", measure_quantile(m, w, 0.9));
		put(&b, measure_name(w), row.o);
	}
	return b.o;
}

json_t *snapshot_function_json(const struct snapshot_function *f, bool with_histogram)
{
	struct builder b = {json_object()};

	put_text(&b, "name", f->name);
	put_text(&b, "policy", f->policy);
	put_text(&b, "policy_from", f->policy_from);
	put_text(&b, "mode", f->mode);
	put_int(&b, "invocations", f->invocations);
	put_int(&b, "busy_spans", f->busy_spans);
	put_int(&b, "inflight", f->inflight);
	put_int(&b, "cold_starts", f->cold_starts);
	put_int(&b, "lukewarm_starts", f->lukewarm_starts);
	put_int(&b, "freezes", f->freezes);
	put_int(&b, "wakes", f->wakes);
	put_int(&b, "reclaims", f->reclaims);
	put_real(&b, "returned_bytes", f->returned_bytes);
	put_int(&b, "evictions", f->evictions);
	put_int(&b, "prewarms_hit", f->prewarms_hit);
	put_int(&b, "prewarms_early", f->prewarms_early);
	put_int(&b, "prewarms_wasted", f->prewarms_wasted);
	put_bool(&b, "pinned", f->pinned);
	put_learned(&b, f);
	put(&b, "instances", instances_json(f));
	if (with_histogram) {
		put(&b, "histogram", histogram_json(f));
		put(&b, "shadow", snapshot_shadow_json(f));
		put(&b, "measures", measures_json(f->measures));
	}
	return b.o;
}

static json_t *totals_json(const struct snapshot_status *s)
{
	struct builder b = {json_object()};

	put_int(&b, "functions", s->totals.functions);
	put_int(&b, "instances", s->totals.instances);
	put_int(&b, "frozen", s->totals.frozen);
	put_int(&b, "inflight", s->totals.inflight);
	put_int(&b, "invocations", s->totals.invocations);
	put_int(&b, "busy_spans", s->totals.busy_spans);
	put_int(&b, "cold_starts", s->totals.cold_starts);
	put_int(&b, "lukewarm_starts", s->totals.lukewarm_starts);
	put_int(&b, "freezes", s->totals.freezes);
	put_int(&b, "wakes", s->totals.wakes);
	put_int(&b, "freeze_failures", s->totals.freeze_failures);
	put_int(&b, "foreign_freezes", s->totals.foreign_freezes);
	return b.o;
}

static json_t *memory_json(const struct snapshot_status *s)
{
	struct builder b = {json_object()};

	put_real(&b, "idle_bytes", s->memory.idle_bytes);
	put_real(&b, "budget_bytes", s->memory.budget_bytes);
	put_real(&b, "returned_bytes", s->memory.returned_bytes);
	put_real(&b, "swapped_bytes", s->memory.swapped_bytes);
	put_real(&b, "swap_budget_bytes", s->memory.swap_budget_bytes);
	put_int(&b, "reclaimed", s->memory.reclaimed);
	put_int(&b, "evictions", s->memory.evictions);
	put_int(&b, "prewarms_hit", s->memory.prewarms_hit);
	put_int(&b, "prewarms_early", s->memory.prewarms_early);
	put_int(&b, "prewarms_wasted", s->memory.prewarms_wasted);
	put_int(&b, "pressure_events", s->memory.pressure_events);
	put_real(&b, "pressure_some", s->memory.pressure_some);
	put_real(&b, "pressure_full", s->memory.pressure_full);
	put_text(&b, "why_no_pressure", s->memory.why_no_pressure);
	return b.o;
}

static json_t *guard_json(const struct snapshot_status *s)
{
	struct builder b = {json_object()};

	put_int(&b, "pid", (uint64_t)s->guard.pid);
	put_bool(&b, "alive", s->guard.alive);
	put_int(&b, "thaw_epoch", s->guard.thaw_epoch);
	return b.o;
}

static json_t *wake_json(const struct snapshot_status *s)
{
	struct builder b = {json_object()};

	put_bool(&b, "fifo", s->wake.fifo);
	put(&b, "priority", json_integer(s->wake.priority));
	put_real(&b, "p50_us", s->wake.p50_us);
	put_real(&b, "p99_us", s->wake.p99_us);
	put_int(&b, "count", s->wake.count);
	put_text(&b, "why_not_fifo", s->wake.why_not_fifo);
	return b.o;
}

static json_t *hooks_json(const struct snapshot_status *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_hooks; i++) {
		const struct snapshot_hook *h = &s->hooks[i];
		struct builder b = {json_object()};

		put_text(&b, "name", h->name);
		put_bool(&b, "attached", h->attached);
		put_text(&b, "why_not", h->why_not);
		put_int(&b, "run_count", h->run_count);
		put_int(&b, "run_time_ns", h->run_time_ns);
		json_array_append_new(a, b.o);
	}
	return a;
}

static json_t *drops_json(const struct snapshot_status *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_drops; i++) {
		struct builder b = {json_object()};

		put_text(&b, "reason", s->drops[i].reason);
		put_int(&b, "count", s->drops[i].count);
		json_array_append_new(a, b.o);
	}
	return a;
}

static json_t *maps_json(const struct snapshot_status *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_maps; i++) {
		struct builder b = {json_object()};

		put_text(&b, "name", s->maps[i].name);
		put_int(&b, "used", s->maps[i].used);
		put_int(&b, "max", s->maps[i].max);
		json_array_append_new(a, b.o);
	}
	return a;
}

static json_t *notices_json(const struct snapshot_status *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_notices; i++) {
		struct builder b = {json_object()};

		put_text(&b, "name", s->notices[i].name);
		put_text(&b, "reason", s->notices[i].reason);
		json_array_append_new(a, b.o);
	}
	return a;
}

json_t *snapshot_status_json(const struct snapshot_status *s)
{
	struct builder b = {json_object()};

	put_text(&b, "version", s->version);
	put_text(&b, "mode", s->mode);
	put_int(&b, "pid", (uint64_t)s->pid);
	put_real(&b, "started_at_s", s->started_at_s);
	put_real(&b, "uptime_s", s->uptime_s);
	put_real(&b, "cpu_s", s->cpu_s);
	put_real(&b, "memory_bytes", s->memory_bytes);
	put_text(&b, "config", s->config);
	put_text(&b, "pin_dir", s->pin_dir);
	put_text(&b, "state_file", s->state_file);
	put_real(&b, "state_saved_at_s", s->state_saved_at_s);
	put_text(&b, "cgroup_root", s->cgroup_root);
	put_text(&b, "attach", s->attach);
	put_bool(&b, "adopted", s->adopted);
	put(&b, "totals", totals_json(s));
	put(&b, "memory", memory_json(s));
	put(&b, "guard", guard_json(s));
	put(&b, "wake", wake_json(s));
	put(&b, "hooks", hooks_json(s));
	put(&b, "drops", drops_json(s));
	put(&b, "maps", maps_json(s));
	put(&b, "notices", notices_json(s));
	return b.o;
}

static json_t *seconds_or_null(uint64_t ns)
{
	return ns ? json_real(ns_to_s(ns)) : json_null();
}

json_t *snapshot_entry_json(const struct journal_entry *e)
{
	struct builder b = {json_object()};

	put_int(&b, "seq", e->seq);
	put_real(&b, "time_s", ns_to_s(e->wall_ns));
	put_real(&b, "mono_s", ns_to_s(e->mono_ns));
	put_text(&b, "action", journal_action_name(e->action));
	put_text(&b, "function", e->function[0] ? e->function : NULL);
	put_text(&b, "cgroup", e->cgroup[0] ? e->cgroup : NULL);
	put(&b, "id", e->cgid ? json_integer((json_int_t)e->cgid) : json_null());
	put_text(&b, "actor", journal_actor_name(e->actor));
	if (e->actor == JOURNAL_BY_API) {
		put_int(&b, "uid", e->uid);
		put_int(&b, "pid", (uint64_t)e->pid);
	}
	put_text(&b, "reason", e->reason);
	put(&b, "idle_s", seconds_or_null(e->idle_ns));
	put(&b, "took_s", seconds_or_null(e->took_ns));
	put_text(&b, "error", e->error ? strerrordesc_np(e->error) : NULL);
	return b.o;
}

json_t *snapshot_span_json(const struct span *s)
{
	struct builder b = {json_object()};

	put_int(&b, "seq", s->seq);
	put_text(&b, "function", s->function);
	if (s->lost) {
		put_int(&b, "lost", s->lost);
		return b.o;
	}
	put_real(&b, "begin_at_s", ns_to_s(s->begin_ns));
	put_real(&b, "end_at_s", ns_to_s(s->end_ns));
	put_text(&b, "start", spans_start_name(s->start));
	put_real(&b, "memory_bytes", s->memory_bytes);
	return b.o;
}
