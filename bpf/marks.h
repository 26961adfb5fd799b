/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Process marks, keyed by tgid (task storage is lost on exec from a non-leader
 * thread). A mark says: member of an invocation, of a request, or of a tree
 * that entered from outside, perhaps before its cgroup was known. It is valid only for the process
 * whose start time it holds, because pids are reused after a lost exit record.
 */
#ifndef HEARTH_MARKS_H
#define HEARTH_MARKS_H

#include "account.h"

static __always_inline struct hearth_ref *ref_of(struct task_struct *task)
{
	__u64 cgid = task_cgroup_id(task);

	return bpf_map_lookup_elem(&cgroups, &cgid);
}

static __always_inline __u64 mark_cgid(const struct hearth_mark *mark)
{
	return (__u64)mark->gen << 32 | mark->slot;
}

/* Make a mark from before the registration name the instance, if that has taken it as its own. */
static __always_inline bool mark_resolve(struct hearth_mark *mark)
{
	__u64 cgid = mark_cgid(mark);
	struct hearth_early *e;
	struct hearth_ref *ref;

	if (mark->kind != HEARTH_MARK_EARLY)
		return true;
	e = bpf_map_lookup_elem(&early, &cgid);
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (!e || !ref || !(e->word & HEARTH_EARLY_COUNTED))
		return false;
	mark->slot = ref->slot;
	mark->gen = ref->gen;
	mark->kind = HEARTH_MARK_INVOCATION;
	return true;
}

/* An end that the instance has not taken yet is counted for it; true: it has. */
static __always_inline bool early_end(const struct hearth_mark *mark, __u64 now)
{
	__u64 cgid = mark_cgid(mark);
	struct hearth_early *e = bpf_map_lookup_elem(&early, &cgid);

	if (!e)
		return false;
	e->last_ns = now;
	return __sync_fetch_and_add(&e->word, HEARTH_EARLY_END) & HEARTH_EARLY_COUNTED;
}

/* End what a root mark stands for. */
static __always_inline void mark_settle(struct hearth_mark *mark, __u32 tgid, __u64 now)
{
	struct hearth_instance *inst;

	if (mark->root != tgid)
		return;
	if (mark->kind == HEARTH_MARK_EARLY && (!early_end(mark, now) || !mark_resolve(mark)))
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
 * A process is an invocation of source image from when it enters until it exits. The hook and an
 * adoption may find it at once: who sets its mark counts it.
 */
static __always_inline void image_begin(struct task_struct *leader, __u32 tgid,
					struct hearth_instance *inst, const struct hearth_ref *ref,
					__u64 now, enum begin_how how)
{
	struct hearth_mark mark = {.slot = ref->slot,
				   .gen = ref->gen,
				   .kind = HEARTH_MARK_INVOCATION,
				   .root = tgid,
				   .start_ns = leader->start_boottime};
	long err = bpf_map_update_elem(&marks, &tgid, &mark, BPF_NOEXIST);

	if (!err) {
		account_begin(inst, ref->slot, now, how);
	} else if (err != -EEXIST) {
		count_drop(HEARTH_DROP_MARKS_FULL);
		hold(inst, ref->slot, &inst->last_enter_ns, now, HEARTH_WAKE_ENTER);
	}
}

/*
 * A process that listens is a server, not a handler: if its tree was taken for
 * an invocation, that begin is taken back.
 */
static __always_inline void mark_unlisten(struct task_struct *leader, __u32 tgid, __u64 now)
{
	struct hearth_mark *mark = mark_of(leader, tgid, now);
	struct hearth_instance *inst;
	struct hearth_mark copy;
	__u32 root;

	if (!mark)
		return;
	copy = *mark;
	root = copy.root;
	if (!mark_resolve(&copy)) {
		/* Perhaps it is being taken right now: ended, it is not in flight as long as the
		 * server runs. */
		mark_drop(root, now);
		return;
	}
	if (copy.kind != HEARTH_MARK_INVOCATION)
		return;
	bpf_map_delete_elem(&marks, &tgid);
	if (root != tgid && bpf_map_delete_elem(&marks, &root))
		return; /* somebody settled it before us */
	inst = instance_of(copy.slot, copy.gen);
	if (inst)
		account_undo(inst, copy.slot, now);
}

#endif
