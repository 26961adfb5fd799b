/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the cgroup tree to instances: what appeared, went, or changed its name. */
#include <errno.h>
#include <string.h>

#include "agent/registry_internal.h"
#include "lib/cgroup.h"
#include "lib/util.h"

static void look_at(struct registry *r, int fd, uint64_t cgid, const char *path, bool fresh)
{
	struct instance *inst = registry_instance(r, cgid), *outer;
	struct naming_result name;
	struct hearth_ref ref;
	bool populated;

	if (!naming_match(r->config->naming, path, &name)) {
		kernel_early_forget(r->o.kernel, cgid);
		if (inst)
			registry_remove(r, inst);
		else if (kernel_ref_get(r->o.kernel, cgid, &ref) &&
			 (outer = registry_outer(r, fd))) {
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
		registry_remove(r, inst);
	registry_add(r, fd, cgid, path, &name, fresh);
}

void registry_vanish(struct registry *r, uint64_t cgid)
{
	struct instance *inst = registry_instance(r, cgid);

	if (inst)
		registry_remove(r, inst);
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
			registry_remove(r, inst);
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

static bool is_gone(uint64_t cgid, void *arg)
{
	const struct registry *r = arg;
	_cleanup_close_ int fd = cgroup_open_by_id(r->o.cgroot_fd, cgid);

	return fd == -ENOENT;
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
	kernel_early_sweep(r->o.kernel, is_gone, r);
	for (slot = 0; slot < r->maps->n_instances; slot++)
		if ((r->maps->instances[slot].gen & 1) && !r->by_slot[slot])
			registry_release(r, slot);
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
