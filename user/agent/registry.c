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
static void slot_release(struct registry *r, uint32_t slot)
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

/* ---- adoption of what ran before */

struct adoption {
	struct registry *r;
	struct instance *inst;
	bool listens;
	unsigned int processes;
};

static int adopt_socket(const struct hearth_socket *s, void *arg)
{
	struct adoption *a = arg;
	struct hearth_ref ref;

	/* One made elsewhere (socket activation) says nothing of whether it is up. */
	if ((s->flags & HEARTH_SOCK_SERVER) && s->state == TCP_LISTEN &&
	    !kernel_ref_get(a->r->o.kernel, s->cgid, &ref) && ref.slot == a->inst->slot)
		a->listens = true;
	return 0;
}

static int adopt_process(pid_t pid, void *arg)
{
	struct adoption *a = arg;

	a->processes++;
	kernel_sockets(a->r->o.kernel, pid, adopt_socket, a);
	return 0;
}

/* Is the cgroup another instance's, nested in this one? Then it keeps its reference. */
static bool belongs_to_nested(const struct adoption *a, uint64_t id)
{
	struct instance *other;
	struct hearth_ref ref;

	if (kernel_ref_get(a->r->o.kernel, id, &ref))
		return false;
	other = registry_slot(a->r, ref.slot);
	if (!other || other == a->inst || other->gen != ref.gen ||
	    strlen(other->path) <= strlen(a->inst->path))
		return false;
	if (other->cgid == id && !other->outer) {
		other->outer = a->inst;
		a->inst->nested++;
	}
	return true;
}

static int adopt_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	struct adoption *a = arg;
	struct hearth_ref ref = {.slot = a->inst->slot, .gen = a->inst->gen};

	(void)path;
	if (id != a->inst->cgid && belongs_to_nested(a, id))
		return 0;
	if (id != a->inst->cgid)
		kernel_ref_set(a->r->o.kernel, id, &ref);
	cgroup_procs(fd, adopt_process, a); /* one that vanished has nothing to adopt */
	return 0;
}

/* Processes and sockets from before the registration: entry points and servers. */
void registry_adopt(struct registry *r, struct instance *inst)
{
	struct hearth_instance *slot = &r->maps->instances[inst->slot];
	struct adoption a = {.r = r, .inst = inst};

	cgroup_walk(r->o.cgroot_fd, inst->path, adopt_cgroup, &a);
	if (a.processes && !slot->entered)
		slot->entered = a.processes;
	if (a.listens)
		slot->ready = 1;
}

/* ---- instances */

static struct instance *outer_of(struct registry *r, int fd)
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

static void register_cgroup(struct registry *r, int fd, uint64_t cgid, const char *path,
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
		slot_release(r, inst->slot);
		instance_done(inst);
		return;
	}
	inst->outer = outer_of(r, fd);
	if (inst->outer)
		inst->outer->nested++;
	publish(r, inst);
	registry_adopt(r, inst);
	inst->adopt_due = true; /* again soon: a connection may have waited to be accepted */
	inst->registered_ns = inst->started_ns = now_ns();
	inst->populated = cgroup_read_populated(inst->fd) == 1;
	inst->stopped = cgroup_read_frozen(inst->fd) == 1;
	/* Not made while we watched: its completed invocations count as proof. */
	inst->base_ends = fresh ? r->maps->instances[inst->slot].ends : 0;
	r->o.events.appeared(inst, r->o.events.arg);
}

static void remove_instance(struct registry *r, struct instance *inst)
{
	struct instance *other, *tmp;
	uint64_t now = now_ns();

	r->o.events.vanishing(inst, r->o.events.arg);
	act_retire(r->o.act, inst->slot);
	if (r->maps->instances[inst->slot].gen == inst->gen)
		slot_release(r, inst->slot);
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

void registry_vanish(struct registry *r, uint64_t cgid)
{
	struct instance *inst = registry_instance(r, cgid);

	if (inst)
		remove_instance(r, inst);
}

/* ---- from cgroups to instances */

static void look_at(struct registry *r, int fd, uint64_t cgid, const char *path, bool fresh)
{
	struct instance *inst = registry_instance(r, cgid), *outer;
	struct naming_result name;
	struct hearth_ref ref;
	bool populated;

	if (!naming_match(r->config->naming, path, &name)) {
		if (inst)
			remove_instance(r, inst);
		else if (kernel_ref_get(r->o.kernel, cgid, &ref) && (outer = outer_of(r, fd))) {
			ref = (struct hearth_ref){.slot = outer->slot, .gen = outer->gen};
			kernel_ref_set(r->o.kernel, cgid, &ref);
		}
		return;
	}
	if (inst && !strcmp(inst->fn->name, name.function)) {
		populated = cgroup_read_populated(inst->fd) == 1;
		if (populated != inst->populated) /* an event was lost */
			r->o.events.populated(inst, populated, r->o.events.arg);
		snprintf(inst->name, sizeof(inst->name), "%s", name.instance);
		inst->rule_source = name.source;
		return;
	}
	if (inst)
		remove_instance(r, inst);
	register_cgroup(r, fd, cgid, path, &name, fresh);
}

int registry_appear(struct registry *r, uint64_t cgid)
{
	_cleanup_close_ int fd = cgroup_open_by_id(r->o.cgroot_fd, cgid);
	char path[4096];
	int err;

	if (fd < 0)
		return fd;
	err = cgroup_path_of_fd(r->o.cgroot_fd, fd, path, sizeof(path));
	if (!err && *path)
		look_at(r, fd, cgid, path, true);
	return err;
}

struct sync {
	struct registry *r;
	bool fresh;
};

static int sync_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	struct sync *s = arg;

	if (*path)
		look_at(s->r, fd, id, path, s->fresh);
	return 0;
}

/* Instances whose cgroups went without an event, or that no rule names any more. */
static void drop_vanished(struct registry *r)
{
	struct instance *inst, *tmp;
	struct naming_result name;

	HASH_ITER (hh, r->instances, inst, tmp)
		if (cgroup_read_populated(inst->fd) == -ENOENT ||
		    !naming_match(r->config->naming, inst->path, &name))
			remove_instance(r, inst);
}

struct stale_refs {
	struct registry *r;
	uint64_t ids[64];
	size_t n;
};

static void find_stale(uint64_t cgid, const struct hearth_ref *ref, void *arg)
{
	struct stale_refs *s = arg;
	struct instance *inst = registry_slot(s->r, ref->slot);

	if (s->n < ARRAY_SIZE(s->ids) && (!inst || inst->gen != ref->gen))
		s->ids[s->n++] = cgid;
}

/* References that an earlier agent or a lost event left behind, and their slots. */
static void drop_stale(struct registry *r)
{
	struct stale_refs s;
	uint32_t slot;
	size_t i;

	do {
		s = (struct stale_refs){.r = r};
		kernel_ref_each(r->o.kernel, find_stale, &s);
		for (i = 0; i < s.n; i++)
			kernel_ref_del(r->o.kernel, s.ids[i]);
	} while (s.n == ARRAY_SIZE(s.ids));
	for (slot = 0; slot < r->maps->n_instances; slot++)
		if ((r->maps->instances[slot].gen & 1) && !r->by_slot[slot])
			slot_release(r, slot);
}

int registry_sync(struct registry *r, bool fresh)
{
	struct sync s = {.r = r, .fresh = fresh};
	char path[4096];
	int err;

	drop_vanished(r);
	naming_common_ancestor(r->config->naming, path, sizeof(path));
	err = cgroup_walk(r->o.cgroot_fd, path, sync_cgroup, &s);
	if (!err || err == -ENOENT)
		drop_stale(r);
	return err == -ENOENT ? 0 : err;
}

void registry_configure(struct registry *r, const struct config *config)
{
	struct instance *inst, *tmp;
	struct function *fn, *next;

	r->config = config;
	HASH_ITER (hh, r->functions, fn, next)
		registry_function_configure(r, fn);
	registry_sync(r, false);
	HASH_ITER (hh, r->instances, inst, tmp)
		set_control(r, inst);
}
