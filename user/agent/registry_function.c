/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Functions: their slot, settings, policy and learned history. A function
 * outlives its instances, so that the next one starts with what is known; only
 * at the cap is the one unseen for longest forgotten.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/registry_internal.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

struct function *registry_function(struct registry *r, const char *name)
{
	struct function *fn;

	HASH_FIND_STR(r->functions, name, fn);
	return fn;
}

struct function *registry_function_index(struct registry *r, uint32_t index)
{
	return index < r->maps->n_functions ? r->by_index[index] : NULL;
}

static int by_name(const struct function *a, const struct function *b)
{
	return strcmp(a->name, b->name);
}

struct function *registry_functions(struct registry *r)
{
	HASH_SORT(r->functions, by_name);
	return r->functions;
}

/* ---- settings */

/* What the kernel must know to tell health checks from invocations. */
static void set_probes(struct registry *r, struct function *fn)
{
	struct hearth_fn_control *ctl = &r->maps->fn_controls[fn->index];
	size_t i;

	kernel_probe_nets_clear(r->o.kernel, fn->index);
	for (i = 0; i < fn->settings.n_probe_nets; i++)
		if (kernel_probe_net_set(r->o.kernel, fn->index, fn->settings.probe_nets[i].addr,
					 fn->settings.probe_nets[i].prefix))
			log_warn("%s: no room for another probe network", fn->name);
	ctl->probe_nets = (uint32_t)fn->settings.n_probe_nets;
	memset(ctl->ua_len, 0, sizeof(ctl->ua_len));
	for (i = 0; i < ARRAY_SIZE(fn->settings.probe_ua) && fn->settings.probe_ua[i]; i++) {
		size_t len = strnlen(fn->settings.probe_ua[i], HEARTH_UA_LEN);

		memcpy(ctl->ua[i], fn->settings.probe_ua[i], len);
		ctl->ua_len[i] = (uint8_t)len;
	}
}

/* Take over a parsed policy: fresh memory, and the histogram it wants. */
static int use_policy(struct registry *r, struct function *fn, struct hearth_policy *policy)
{
	struct hearth_fn_control *ctl = &r->maps->fn_controls[fn->index];
	/* The same policy again (a reload) keeps what it has learned; another begins with the gaps.
	 */
	bool fresh =
	    !fn->policy || strcmp(hearth_policy_spec(fn->policy), hearth_policy_spec(policy));
	void *state = fresh ? calloc(1, MAX(hearth_policy_state_size(policy), (size_t)1))
			    : steal_ptr(fn->policy_state);
	uint32_t nbins;
	double bin_s;

	if (!state) {
		hearth_policy_free(policy);
		return -ENOMEM;
	}
	if (fresh)
		hearth_gaps_teach(&fn->gaps, policy, state);
	hearth_policy_free(fn->policy);
	free(fn->policy_state);
	fn->policy = policy;
	fn->policy_state = state;
	fn->decided_span = UINT64_MAX;
	hearth_policy_geometry(policy, &bin_s, &nbins);
	if (hearth_policy_uses_hist(policy) || !ctl->nbins) /* else the bins there are will do */
		history_geometry(&r->maps->functions[fn->index], ctl, s_to_ns(bin_s), nbins);
	return 0;
}

/* Unix time of the open idle time's start; NAN: none seen yet, INFINITY: busy. */
static double idle_since_s(const struct registry *r, const struct function *fn)
{
	const struct hearth_function *slot = &r->maps->functions[fn->index];

	if (slot->busy > 0)
		return INFINITY;
	return slot->last_idle_ns ? ns_to_s(slot->last_idle_ns + r->o.wall_offset_ns) : NAN;
}

static void configure_shadows(struct registry *r, struct function *fn)
{
	struct hearth_hist hist =
	    history_view(&r->maps->functions[fn->index], &r->maps->fn_controls[fn->index]);
	struct shadow_start start = {
	    .acting = fn->policy,
	    .acting_state = fn->policy_state,
	    .specs = fn->settings.shadow,
	    .prior = &r->prior,
	    .cold_cost_s = ns_to_s(fn->settings.cold_cost_ns),
	    .now_s = ns_to_s(now_ns() + r->o.wall_offset_ns),
	    .hist = &hist,
	    .gaps = &fn->gaps,
	    .idle_since_s = idle_since_s(r, fn),
	    .may_go = fn->settings.tiers >> HEARTH_GONE & 1,
	};
	int rc = shadow_configure(&fn->shadow, &start);

	if (rc)
		log_error("%s: shadow policies: %s", fn->name, strerror(-rc));
}

static int set_policy(struct registry *r, struct function *fn, const char *spec, char *err,
		      size_t err_size)
{
	const char *wanted = spec ? spec : fn->settings.policy;
	struct hearth_policy *policy;
	char *copy = NULL;
	int rc;

	rc =
	    hearth_policy_parse(wanted, ns_to_s(fn->settings.cold_cost_ns), &policy, err, err_size);
	if (rc)
		return rc;
	if (hearth_policy_needs(policy)) {
		snprintf(err, err_size, "%s knows the future: only `hearth sim` can run it",
			 wanted);
		hearth_policy_free(policy);
		return -EINVAL;
	}
	if (spec && !(copy = strdup(spec))) {
		hearth_policy_free(policy);
		return -ENOMEM;
	}
	hearth_policy_set_prior(policy, r->prior.cells, r->prior.n);
	rc = use_policy(r, fn, policy);
	if (rc) {
		free(copy);
		return rc;
	}
	free(fn->api_policy);
	fn->api_policy = copy;
	return 0;
}

int registry_set_policy(struct registry *r, struct function *fn, const char *spec, char *err,
			size_t err_size)
{
	int rc = set_policy(r, fn, spec, err, err_size);

	if (!rc)
		configure_shadows(r, fn);
	return rc;
}

static int configure(struct registry *r, struct function *fn)
{
	struct fn_settings settings;
	char err[256];
	int rc;

	rc = config_settings(r->config, fn->name, &settings);
	if (rc)
		return rc;
	fn_settings_done(&fn->settings);
	fn->settings = settings;
	set_probes(r, fn);
	rc = set_policy(r, fn, fn->api_policy, err, sizeof(err));
	if (rc)
		log_error("%s: policy: %s", fn->name, err);
	return rc;
}

void registry_function_configure(struct registry *r, struct function *fn)
{
	if (!configure(r, fn))
		configure_shadows(r, fn);
}

/* ---- life */

static void function_free(struct registry *r, struct function *fn)
{
	HASH_DEL(r->functions, fn);
	r->by_index[fn->index] = NULL;
	kernel_name_set(r->o.kernel, fn->index, "");
	kernel_probe_nets_clear(r->o.kernel, fn->index);
	registry_function_done(fn);
}

void registry_function_done(struct function *fn)
{
	hearth_policy_free(fn->policy);
	free(fn->policy_state);
	shadow_free(fn->shadow);
	free(fn->api_policy);
	fn_settings_done(&fn->settings);
	free(fn);
}

static void keep_counts(struct registry *r, const struct function *fn)
{
	const struct hearth_function *slot = &r->maps->functions[fn->index];

	r->forgotten.invocations += MAX(slot->invocations, fn->most_invocations);
	r->forgotten.busy_spans += slot->busy_spans;
	r->forgotten.cold_starts += slot->cold_starts;
	r->forgotten.lukewarm_starts += slot->lukewarm_starts;
}

/* At the cap the function without instances that was used least recently goes. */
static bool forget_one(struct registry *r)
{
	struct function *fn, *tmp, *oldest = NULL;

	HASH_ITER (hh, r->functions, fn, tmp) {
		if (fn->n_instances)
			continue;
		if (!oldest || r->maps->functions[fn->index].last_busy_ns <
				   r->maps->functions[oldest->index].last_busy_ns)
			oldest = fn;
	}
	if (!oldest)
		return false;
	log_warn("max_functions reached: forgetting %s, unused for longest", oldest->name);
	keep_counts(r, oldest);
	function_free(r, oldest);
	return true;
}

/* A slot nobody's name stands in; adopted names keep theirs. */
static int find_index(struct registry *r, uint32_t *out)
{
	uint32_t i;

	for (i = 0; i < r->maps->n_functions; i++) {
		if (r->by_index[i])
			continue;
		*out = i;
		return 0;
	}
	return -ENOSPC;
}

static struct function *function_new(struct registry *r, const char *name, uint32_t index)
{
	struct function *fn = calloc(1, sizeof(*fn));

	if (!fn)
		return NULL;
	snprintf(fn->name, sizeof(fn->name), "%s", name);
	fn->index = index;
	fn->needed = 1;
	fn->first_seen_ns = unix_ns();
	fn->decided_span = UINT64_MAX;
	HASH_ADD_STR(r->functions, name, fn);
	r->by_index[index] = fn;
	return fn;
}

/*
 * Settings, and what the state file knows beyond the kernel's own slot. The
 * policy that was set through the API comes before any geometry is chosen:
 * pinned bins are not to pass through the configured one's.
 */
static int function_start(struct registry *r, struct function *fn, bool slot_is_empty)
{
	struct state_function saved = {};
	bool known = r->o.saved && state_take(r->o.saved, fn->name, &saved);
	int err;

	if (known) {
		fn->pinned = saved.pinned;
		fn->frozen_s = saved.frozen_s;
		fn->instance_s = saved.instance_s;
		fn->freezes = saved.freezes;
		fn->wakes = saved.wakes;
		fn->first_seen_ns = s_to_ns(saved.first_seen_s);
		fn->gaps = saved.gaps;
		fn->measures = saved.measures;
		fn->api_policy = steal_ptr(saved.policy);
	}
	err = configure(r, fn);
	if (err && fn->api_policy) {
		log_warn("%s: the saved policy no longer parses: back to the configured one",
			 fn->name);
		free(steal_ptr(fn->api_policy));
		err = configure(r, fn);
	}
	if (!err && known && slot_is_empty)
		history_restore(&r->maps->functions[fn->index], &r->maps->fn_controls[fn->index],
				&saved);
	spans_start(fn, &r->maps->functions[fn->index]);
	if (!err && saved.blob && saved.blob_bytes == hearth_policy_state_size(fn->policy) &&
	    !strcmp(saved.blob_spec, hearth_policy_spec(fn->policy)))
		memcpy(fn->policy_state, saved.blob, saved.blob_bytes);
	if (!err)
		configure_shadows(r, fn);
	if (err && known) { /* not lost: it goes back among the functions not seen yet */
		saved.policy = steal_ptr(fn->api_policy);
		state_add(r->o.saved, &saved);
	}
	state_function_done(&saved);
	return err;
}

struct function *registry_function_get(struct registry *r, const char *name)
{
	struct function *fn = registry_function(r, name);
	uint32_t index;

	if (fn)
		return fn;
	if (find_index(r, &index) && (!forget_one(r) || find_index(r, &index))) {
		log_warn("%s: not managed, max_functions (%u) is reached", name,
			 r->maps->n_functions);
		return NULL;
	}
	fn = function_new(r, name, index);
	if (!fn)
		return NULL;
	memset(&r->maps->functions[index], 0, sizeof(r->maps->functions[index]));
	memset(&r->maps->fn_controls[index], 0, sizeof(r->maps->fn_controls[index]));
	if (function_start(r, fn, true)) {
		function_free(r, fn);
		return NULL;
	}
	kernel_name_set(r->o.kernel, index, name);
	return fn;
}

/* Functions whose slots an earlier agent pinned: same name, same slot. */
void registry_functions_adopt(struct registry *r)
{
	struct hearth_name name;
	struct function *fn;
	uint32_t i;

	for (i = 0; i < r->maps->n_functions; i++) {
		if (kernel_name_get(r->o.kernel, i, &name) || !name.text[0])
			continue;
		name.text[sizeof(name.text) - 1] = '\0';
		if (registry_function(r, name.text) || !(fn = function_new(r, name.text, i)))
			continue;
		if (function_start(r, fn, false))
			function_free(r, fn);
	}
}

/* ---- what others ask */

void registry_times(const struct function *fn, uint64_t now, double *frozen_s, double *instance_s)
{
	const struct instance *i;

	*frozen_s = fn->frozen_s;
	*instance_s = fn->instance_s;
	for (i = fn->instances; i; i = i->next) {
		*instance_s += ns_to_s(now - i->registered_ns);
		if (i->frozen_at_ns)
			*frozen_s += ns_to_s(now - i->frozen_at_ns);
	}
}

static int save_function(struct registry *r, const struct function *fn, struct state *s)
{
	const struct hearth_function *slot = &r->maps->functions[fn->index];
	struct state_function out = {
	    .freezes = fn->freezes,
	    .wakes = fn->wakes,
	    .first_seen_s = ns_to_s(fn->first_seen_ns),
	    .policy = fn->api_policy,
	    .pinned = fn->pinned,
	    .gaps = fn->gaps,
	    .measures = fn->measures,
	    .blob_spec = (char *)hearth_policy_spec(fn->policy),
	    .blob = fn->policy_state,
	    .blob_bytes = (uint32_t)hearth_policy_state_size(fn->policy),
	};
	uint64_t now = now_ns(), seen = MAX(slot->last_busy_ns, slot->last_idle_ns);
	int err;

	snprintf(out.name, sizeof(out.name), "%s", fn->name);
	out.last_seen_s = ns_to_s(unix_ns() - (seen && seen < now ? now - seen : 0));
	if (!out.blob_bytes || out.blob_bytes > STATE_BLOB) {
		out.blob = NULL;
		out.blob_spec = NULL;
		out.blob_bytes = 0;
	}
	registry_times(fn, now, &out.frozen_s, &out.instance_s);
	err = history_save(slot, &r->maps->fn_controls[fn->index], &out);
	if (!err)
		err = state_add(s, &out);
	free(out.bins);
	return err;
}

int registry_save(struct registry *r, struct state *s)
{
	struct function *fn, *tmp;
	size_t i;
	int err;

	HASH_ITER (hh, r->functions, fn, tmp) {
		err = save_function(r, fn, s);
		if (err == -ENOMEM)
			return err;
		if (err)
			log_error("%s: cannot be saved: %s", fn->name, strerror(-err));
	}
	/* Functions of earlier runs that have not come back yet are not forgotten. */
	for (i = 0; r->o.saved && i < r->o.saved->n; i++) {
		err = state_add(s, &r->o.saved->functions[i]);
		if (err)
			return err;
	}
	return 0;
}
