// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Instances come, go, empty and freeze. Only the default hierarchy, and only
 * cgroups below the attach point, which contains everything a rule can name.
 */
#include "account.h"

static __always_inline bool in_scope(struct cgroup *cgrp)
{
	struct hearth_node *n;
	__u32 zero = 0, level;

	if (cgrp->root->hierarchy_id != 0)
		return false;
	n = bpf_map_lookup_elem(&node, &zero);
	if (!n)
		return false;
	level = n->attach_level;
	if (level > (__u32)cgrp->level || level > 64)
		return false;
	return BPF_CORE_READ(cgrp, ancestors[level], kn, id) == n->attach_id;
}

/* A cgroup made inside an instance is part of it from its first moment. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(hearth_mkdir, struct cgroup *cgrp, const char *path)
{
	__u64 cgid, parent;
	struct hearth_ref *ref, copy;
	struct hearth_early none = {};
	__u32 level;

	if (!in_scope(cgrp))
		return 0;
	level = cgrp->level;
	if (!level || level > 64)
		return 0;
	cgid = cgroup_id(cgrp);
	parent = BPF_CORE_READ(cgrp, ancestors[level - 1], kn, id);
	ref = bpf_map_lookup_elem(&cgroups, &parent);
	if (ref) {
		copy = *ref;
		if (bpf_map_update_elem(&cgroups, &cgid, &copy, BPF_NOEXIST))
			count_drop(HEARTH_DROP_CGROUPS_FULL);
	} else if (bpf_map_update_elem(&early, &cgid, &none, BPF_NOEXIST)) {
		count_drop(HEARTH_DROP_CGROUPS_FULL);
	}
	emit(HEARTH_EV_MKDIR, bpf_ktime_get_ns(), cgid, 0, 0, parent, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* Stale sockets must not touch the slot's next owner: the generation moves on first. */
static __always_inline void instance_gone(struct hearth_instance *inst, struct hearth_control *ctl,
					  __u32 slot, __u64 now)
{
	struct hearth_function *fn = bpf_map_lookup_elem(&functions, &ctl->function);

	__sync_fetch_and_add(&inst->gen, 1);
	if (__sync_lock_test_and_set(&inst->inflight, 0) > 0 && fn)
		function_leave(fn, ctl, slot, now);
}

/* It came and went before the agent looked: the name goes with the count, for it is gone. */
static __always_inline void tell_missed(__u64 cgid, const char *path, __u64 now)
{
	struct hearth_early *e = bpf_map_lookup_elem(&early, &cgid);
	struct hearth_missed *out;
	__u64 word;

	if (!e)
		return;
	word = __sync_fetch_and_or(&e->word, HEARTH_EARLY_TAKEN);
	if (!(word & HEARTH_EARLY_TAKEN) && (word & HEARTH_EARLY_MASK)) {
		out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
		if (out) {
			__builtin_memset(&out->event, 0, sizeof(out->event));
			out->event.ts_ns = now;
			out->event.cgid = cgid;
			out->event.type = HEARTH_EV_MISSED;
			out->begins = word & HEARTH_EARLY_MASK;
			out->first_ns = e->first_ns;
			out->last_ns = e->last_ns;
			out->cold = e->cold;
			out->pad = 0;
			bpf_probe_read_kernel_str(out->path, sizeof(out->path), path);
			bpf_ringbuf_submit(out, quietly());
		} else {
			count_drop(HEARTH_DROP_EVENTS_FULL);
		}
	}
	bpf_map_delete_elem(&early, &cgid);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(hearth_rmdir, struct cgroup *cgrp, const char *path)
{
	struct hearth_instance *inst;
	struct hearth_control *ctl;
	struct hearth_ref *ref, copy = {};
	__u64 cgid, now;

	if (!in_scope(cgrp))
		return 0;
	cgid = cgroup_id(cgrp);
	now = bpf_ktime_get_ns();
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (ref) {
		copy = *ref;
		bpf_map_delete_elem(&cgroups, &cgid);
		inst = instance_of(copy.slot, copy.gen);
		ctl = control_of(copy.slot);
		if (inst && ctl && ctl->cgid == cgid)
			instance_gone(inst, ctl, copy.slot, now);
	}
	tell_missed(cgid, path, now);
	emit(HEARTH_EV_RMDIR, now, cgid, copy.slot, 0, 0, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* Emptied: whoever enters next is an entry point again, and a new start. */
SEC("tp_btf/cgroup_notify_populated")
int BPF_PROG(hearth_populated, struct cgroup *cgrp, const char *path, int populated)
{
	struct hearth_instance *inst;
	struct hearth_control *ctl;
	struct hearth_ref *ref;
	__u64 cgid;

	if (cgrp->root->hierarchy_id != 0)
		return 0;
	cgid = cgroup_id(cgrp);
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (!ref)
		return 0;
	inst = instance_of(ref->slot, ref->gen);
	ctl = control_of(ref->slot);
	if (!inst || !ctl || ctl->cgid != cgid)
		return 0;
	if (!populated) {
		inst->entered = 0;
		inst->ready = 0;
		inst->listens = 0;
		inst->fresh = 1;
	}
	emit(HEARTH_EV_POPULATED, bpf_ktime_get_ns(), cgid, ref->slot, ctl->function, populated,
	     BPF_RB_FORCE_WAKEUP);
	return 0;
}

SEC("tp_btf/cgroup_notify_frozen")
int BPF_PROG(hearth_frozen, struct cgroup *cgrp, const char *path, int frozen)
{
	struct hearth_control *ctl;
	struct hearth_ref *ref;
	__u64 cgid;

	if (cgrp->root->hierarchy_id != 0)
		return 0;
	cgid = cgroup_id(cgrp);
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (!ref)
		return 0;
	ctl = control_of(ref->slot);
	if (ctl && ctl->cgid == cgid)
		emit(HEARTH_EV_FROZEN, bpf_ktime_get_ns(), ctl->cgid, ref->slot, ctl->function,
		     frozen, quietly());
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
