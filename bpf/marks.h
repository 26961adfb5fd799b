/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Process marks, keyed by tgid (task storage is lost on exec from a non-leader
 * thread). A mark says: member of an invocation, of a request, or of a tree
 * that entered from outside. It is valid only for the process whose start time
 * it holds, because pids are reused after a lost exit record.
 */
#ifndef HEARTH_MARKS_H
#define HEARTH_MARKS_H

#include "account.h"

/* End what a root mark stands for. */
static __always_inline void mark_settle(const struct hearth_mark *mark, __u32 tgid, __u64 now)
{
	struct hearth_instance *inst;

	if (mark->root != tgid)
		return;
	inst = instance_of(mark->slot, mark->gen);
	if (!inst)
		return;
	if (mark->kind == HEARTH_MARK_INVOCATION)
		account_end(inst, mark->slot, now, false);
	else if (mark->kind == HEARTH_MARK_OUTSIDE &&
		 __sync_fetch_and_add(&inst->outsiders, -1) <= 0)
		__sync_fetch_and_add(&inst->outsiders, 1); /* a repair came between */
}

/* Delete a mark; whoever deletes it settles it, so it happens once. */
static __always_inline void mark_drop(__u32 tgid, __u64 now)
{
	struct hearth_mark *found = bpf_map_lookup_elem(&marks, &tgid), mark;

	if (!found)
		return;
	mark = *found;
	if (!bpf_map_delete_elem(&marks, &tgid))
		mark_settle(&mark, tgid, now);
}

/* The mark of this very process; a stale one of an earlier owner of the pid is settled. */
static __always_inline struct hearth_mark *mark_of(struct task_struct *leader, __u32 tgid,
						   __u64 now)
{
	struct hearth_mark *mark = bpf_map_lookup_elem(&marks, &tgid);

	if (!mark)
		return NULL;
	if (mark->start_ns == leader->start_boottime)
		return mark;
	mark_drop(tgid, now);
	return NULL;
}

static __always_inline bool mark_set(__u32 tgid, __u64 start_ns, __u32 slot, __u32 gen, __u32 kind,
				     __u32 root)
{
	struct hearth_mark mark = {
	    .slot = slot, .gen = gen, .kind = kind, .root = root, .start_ns = start_ns};

	if (!bpf_map_update_elem(&marks, &tgid, &mark, BPF_ANY))
		return true;
	count_drop(HEARTH_DROP_MARKS_FULL);
	return false;
}

/*
 * A process that listens is a server, not a handler: if its tree was taken for
 * an invocation, that begin is taken back.
 */
static __always_inline void mark_unlisten(struct task_struct *leader, __u32 tgid, __u64 now)
{
	struct hearth_mark *mark = mark_of(leader, tgid, now);
	struct hearth_control *ctl;
	struct hearth_function *fn;
	struct hearth_instance *inst;
	struct hearth_mark copy;
	__u32 root;

	if (!mark || mark->kind != HEARTH_MARK_INVOCATION)
		return;
	copy = *mark;
	root = copy.root;
	bpf_map_delete_elem(&marks, &tgid);
	if (root != tgid && bpf_map_delete_elem(&marks, &root))
		return; /* somebody settled it before us */
	inst = instance_of(copy.slot, copy.gen);
	ctl = control_of(copy.slot);
	if (!inst || !ctl)
		return;
	__sync_fetch_and_add(&inst->begins, -1);
	fn = bpf_map_lookup_elem(&functions, &ctl->function);
	if (fn)
		__sync_fetch_and_add(&fn->invocations, -1);
	inflight_drop(inst, copy.slot, now);
}

#endif
