/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Adoption: processes, sockets, nested cgroups and invocations from before the registration. */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include "agent/registry_internal.h"
#include "lib/cgroup.h"
#include "lib/log.h"
#include "lib/util.h"

struct adoption {
	struct registry *r;
	struct instance *inst;
	bool listens;
	bool counts; /* what is in it counts by image */
	unsigned int processes;
	pid_t last;
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
	a->last = pid;
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
	if (a.processes && !slot->entered) {
		/* It may be on its way in: it can be seen before the hook tells that it entered. */
		r->maps->controls[inst->slot].adopted = a.processes == 1 ? (uint32_t)a.last : 0;
		__atomic_store_n(&slot->entered, a.processes, __ATOMIC_RELEASE);
	}
	if (a.listens)
		slot->ready = slot->listens = 1;
}

/* ---- source image */

static int adopt_image_process(pid_t pid, void *arg)
{
	struct adoption *a = arg;

	kernel_adopt_process(a->r->o.kernel, pid);
	return 0;
}

static int adopt_image_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	struct adoption *a = arg;
	struct hearth_ref ref;

	(void)path;
	if (kernel_ref_get(a->r->o.kernel, id, &ref) || ref.slot != a->inst->slot)
		return 0;
	if (a->counts)
		kernel_early_take(a->r->o.kernel, id, &ref);
	else
		kernel_early_forget(a->r->o.kernel, id);
	if (a->counts)
		cgroup_procs(fd, adopt_image_process, a);
	return 0;
}

void registry_adopt_images(struct registry *r, struct instance *inst)
{
	struct adoption a = {.r = r, .inst = inst};

	a.counts = (r->maps->controls[inst->slot].sources & HEARTH_SRC_IMAGE) &&
		   !r->maps->instances[inst->slot].listens;
	cgroup_walk(r->o.cgroot_fd, inst->path, adopt_image_cgroup, &a);
}

void registry_missed(struct registry *r, const struct hearth_missed *missed)
{
	struct hearth_missed copy = *missed;
	struct fn_settings settings;
	struct naming_result name;
	enum source_choice source;
	struct function *fn;

	copy.path[sizeof(copy.path) - 1] = '\0';
	if (!naming_match(r->config->naming, copy.path + (copy.path[0] == '/'), &name) ||
	    config_settings(r->config, name.function, &settings))
		return;
	source = config_source(&settings, name.source);
	fn_settings_done(&settings);
	fn = source == SOURCE_IMAGE ? registry_function_get(r, name.function) : NULL;
	if (!fn)
		return;
	copy.event.function = fn->index;
	kernel_count_missed(r->o.kernel, &copy);
}
