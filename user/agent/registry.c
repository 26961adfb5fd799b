/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Instances: from a cgroup that a rule names to a live slot, and back. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <utlist.h>

#include "agent/registry_internal.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

int registry_new(const struct registry_options *o, const struct config *config,
		 struct registry **out)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->o = *o;
	r->maps = kernel_maps(o->kernel);
	r->config = config;
	r->by_index = calloc(r->maps->n_functions, sizeof(*r->by_index));
	r->by_slot = calloc(r->maps->n_instances, sizeof(*r->by_slot));
	if (!r->by_index || !r->by_slot) {
		registry_free(r);
		return -ENOMEM;
	}
	registry_prior_make(r);
	registry_functions_adopt(r);
	*out = r;
	return 0;
}

static void instance_done(struct instance *inst)
{
	free(inst->path);
	free(inst);
}

/* The main loop has ended: no timer of an instance is left in it. */
void registry_free(struct registry *r)
{
	struct instance *inst, *next;
	struct function *fn, *tmp;

	if (!r)
		return;
	HASH_ITER (hh, r->instances, inst, next) {
		HASH_DEL(r->instances, inst);
		instance_done(inst);
	}
	HASH_ITER (hh, r->functions, fn, tmp) {
		HASH_DEL(r->functions, fn);
		registry_function_done(fn);
	}
	free(r->by_index);
	free(r->by_slot);
	free(r);
}

struct instance *registry_instance(struct registry *r, uint64_t cgid)
{
	struct instance *inst;

	HASH_FIND(hh, r->instances, &cgid, sizeof(cgid), inst);
	return inst;
}

struct instance *registry_slot(struct registry *r, uint32_t slot)
{
	return slot < r->maps->n_instances ? r->by_slot[slot] : NULL;
}

struct instance *registry_instances(struct registry *r)
{
	return r->instances;
}

unsigned int registry_n_instances(const struct registry *r)
{
	return HASH_COUNT(r->instances);
}

const struct registry_counts *registry_forgotten(const struct registry *r)
{
	return &r->forgotten;
}

/* ---- slots */

/* A free slot has an even generation and nobody here. */
static int slot_find(struct registry *r, uint32_t *out)
{
	uint32_t i, slot;

	for (i = 0; i < r->maps->n_instances; i++) {
		slot = (r->cursor + i) % r->maps->n_instances;
		if (r->by_slot[slot] || (r->maps->instances[slot].gen & 1))
			continue;
		r->cursor = slot + 1;
		*out = slot;
		return 0;
	}
	return -ENOSPC;
}

static void slot_reset(struct registry *r, uint32_t slot, uint64_t cgid, bool fresh)
{
	struct hearth_instance *i = &r->maps->instances[slot];
	struct hearth_control *ctl = &r->maps->controls[slot];
	uint32_t gen = i->gen + 1;

	memset(i, 0, sizeof(*i));
	memset(ctl, 0, sizeof(*ctl));
	ctl->cgid = cgid;
	ctl->gen = gen;
	i->fresh = fresh;
	__atomic_store_n(&i->gen, gen, __ATOMIC_SEQ_CST);
}

/* The kernel retires a slot at rmdir; this is for one it no longer watches. */
void registry_release(struct registry *r, uint32_t slot)
{
	struct hearth_instance *i = &r->maps->instances[slot];
	struct hearth_function *fn = &r->maps->functions[r->maps->controls[slot].function];

	__atomic_fetch_add(&i->gen, 1, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&i->inflight, 0, __ATOMIC_SEQ_CST) > 0) {
		fn->last_idle_ns = now_ns();
		__atomic_fetch_sub(&fn->busy, 1, __ATOMIC_SEQ_CST);
	}
}

static uint32_t source_bits(enum source_choice source)
{
	switch (source) {
	case SOURCE_REQUEST:
		return HEARTH_SRC_REQUEST;
	case SOURCE_EXEC:
		return HEARTH_SRC_EXEC;
	case SOURCE_UNIX:
		return HEARTH_SRC_UNIX;
	case SOURCE_IMAGE:
		return HEARTH_SRC_REQUEST | HEARTH_SRC_IMAGE;
	case SOURCE_AUTO:
		break;
	}
	return HEARTH_SRC_REQUEST | HEARTH_SRC_EXEC;
}

static void set_control(struct registry *r, struct instance *inst)
{
	struct hearth_control *ctl = &r->maps->controls[inst->slot];
	const struct fn_settings *s = &inst->fn->settings;
	struct act_holds holds = {
	    .syn_ns = s->syn_hold_ns,
	    .enter_ns = s->enter_hold_ns,
	    .idle_ns = s->idle_grace_ns,
	};
	enum source_choice source = config_source(s, inst->rule_source);

	ctl->function = inst->fn->index;
	ctl->sources = source_bits(source);
	ctl->flags = (s->end == END_DIRECTION ? HEARTH_CTL_DIRECTION : 0) |
		     (source == SOURCE_EXEC ? HEARTH_CTL_EXEC_OPEN : 0);
	act_set_holds(r->o.act, inst->slot, &holds);
}

/* ---- instances */

struct instance *registry_outer(struct registry *r, int fd)
{
	_cleanup_close_ int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct instance *outer;
	struct hearth_ref ref;
	uint64_t id;

	if (parent < 0 || cgroup_id_of_fd(parent, &id) || kernel_ref_get(r->o.kernel, id, &ref))
		return NULL;
	outer = registry_slot(r, ref.slot);
	return outer && outer->gen == ref.gen ? outer : NULL;
}

/* Keep the slot that pinned maps hold for this cgroup, or take a free one. */
static int take_slot(struct registry *r, struct instance *inst, bool fresh)
{
	struct hearth_ref ref;

	if (!kernel_ref_get(r->o.kernel, inst->cgid, &ref) && ref.slot < r->maps->n_instances &&
	    r->maps->instances[ref.slot].gen == ref.gen &&
	    r->maps->controls[ref.slot].cgid == inst->cgid &&
	    r->maps->controls[ref.slot].function == inst->fn->index && !r->by_slot[ref.slot]) {
		inst->slot = ref.slot;
		inst->gen = ref.gen;
		return 0;
	}
	if (slot_find(r, &inst->slot)) {
		if (!r->full_told)
			log_warn("max_instances (%u) is reached: further instances are not managed",
				 r->maps->n_instances);
		r->full_told = true;
		return -ENOSPC;
	}
	slot_reset(r, inst->slot, inst->cgid, fresh);
	inst->gen = r->maps->controls[inst->slot].gen;
	return 0;
}

/* The fd is consumed. Function and slot are set, nothing is visible yet. */
static struct instance *instance_new(struct registry *r, uint64_t cgid, const char *path,
				     const struct naming_result *name, bool fresh)
{
	struct instance *inst = calloc(1, sizeof(*inst));

	if (!inst)
		return NULL;
	inst->cgid = cgid;
	inst->watch = -1;
	inst->rule_source = name->source;
	inst->path = strdup(path);
	snprintf(inst->name, sizeof(inst->name), "%s", name->instance);
	inst->fn = inst->path ? registry_function_get(r, name->function) : NULL;
	if (!inst->fn || take_slot(r, inst, fresh)) {
		instance_done(inst);
		return NULL;
	}
	return inst;
}

static void publish(struct registry *r, struct instance *inst)
{
	struct hearth_ref ref = {.slot = inst->slot, .gen = inst->gen};

	HASH_ADD(hh, r->instances, cgid, sizeof(inst->cgid), inst);
	r->by_slot[inst->slot] = inst;
	DL_APPEND(inst->fn->instances, inst);
	inst->fn->n_instances++;
	set_control(r, inst);
	if (kernel_ref_set(r->o.kernel, inst->cgid, &ref))
		log_warn("%s: the cgroup map is full: its invocations are not counted", inst->path);
}

void registry_add(struct registry *r, int fd, uint64_t cgid, const char *path,
		  const struct naming_result *name, bool fresh)
{
	struct instance *inst = instance_new(r, cgid, path, name, fresh);
	int err;

	if (!inst)
		return;
	inst->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	err = inst->fd < 0 ? -errno : act_register(r->o.act, inst->slot, cgid, inst->fd);
	if (err) {
		if (err != -ENOENT)
			log_warn("%s: %s", path, strerror(-err));
		if (inst->fd >= 0)
			close(inst->fd);
		registry_release(r, inst->slot);
		instance_done(inst);
		return;
	}
	inst->outer = registry_outer(r, fd);
	if (inst->outer)
		inst->outer->nested++;
	publish(r, inst);
	registry_adopt(r, inst);
	registry_adopt_images(r, inst);
	inst->adopt_due = true; /* again soon: a connection may have waited to be accepted */
	inst->registered_ns = inst->started_ns = now_ns();
	inst->populated = cgroup_read_populated(inst->fd) == 1;
	inst->stopped = cgroup_read_frozen(inst->fd) == 1;
	/* Not made while we watched: its completed invocations count as proof. */
	inst->base_ends = fresh ? r->maps->instances[inst->slot].ends : 0;
	r->o.events.appeared(inst, r->o.events.arg);
}

void registry_remove(struct registry *r, struct instance *inst)
{
	struct instance *other, *tmp;
	uint64_t now = now_ns();

	r->o.events.vanishing(inst, r->o.events.arg);
	act_retire(r->o.act, inst->slot);
	if (r->maps->instances[inst->slot].gen == inst->gen)
		registry_release(r, inst->slot);
	kernel_ref_del(r->o.kernel, inst->cgid);
	if (inst->nested)
		HASH_ITER (hh, r->instances, other, tmp)
			if (other->outer == inst)
				other->outer = NULL;
	if (inst->outer)
		inst->outer->nested--;
	if (inst->frozen_at_ns)
		inst->fn->frozen_s += ns_to_s(now - inst->frozen_at_ns);
	inst->fn->instance_s += ns_to_s(now - inst->registered_ns);
	DL_DELETE(inst->fn->instances, inst);
	inst->fn->n_instances--;
	HASH_DEL(r->instances, inst);
	r->by_slot[inst->slot] = NULL;
	r->full_told = false;
	free(steal_ptr(inst->path));
	r->o.events.freed(inst, r->o.events.arg);
}

void registry_configure(struct registry *r, const struct config *config)
{
	struct instance *inst, *tmp;
	struct function *fn, *next;

	r->config = config;
	registry_prior_make(r);
	HASH_ITER (hh, r->functions, fn, next)
		registry_function_configure(r, fn);
	registry_sync(r, false);
	HASH_ITER (hh, r->instances, inst, tmp) {
		set_control(r, inst);
		registry_adopt_images(r, inst);
	}
}
