// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Exec-per-request functions (classic watchdog, CGI). An exec whose parent
 * lives in the same instance begins an invocation, the exit of that process
 * ends it; its descendants belong to it. The entry point, trees that entered
 * from outside and handlers of a live request are not invocations. Where an
 * image manager fills the cgroup it is the other way round: who enters is one.
 *
 * From 7.0 on, tasks are preempted inside tracing programs, and until such a task
 * goes on the kernel runs that program for nobody else on its CPU (it counts
 * recursion_misses). So programs that tasks run have a second one behind them there
 * (`_again`, here and in the other files), which does what the first was kept from, and
 * nothing twice: here the marks tell what has been done. The tracepoints of cgroups need
 * none, for the kernel calls them under a spin lock with interrupts off.
 */
#include "marks.h"

#define ANCESTORS 4 /* how far up a process that is moved along belongs to a claimed spare */

/* Of this instance, or of what came early to it, whether it has been taken yet or not. */
static __always_inline bool is_of(const struct hearth_mark *mark, const struct hearth_ref *ref)
{
	struct hearth_ref *of;
	__u64 cgid;

	if (mark->kind != HEARTH_MARK_EARLY)
		return mark->slot == ref->slot && mark->gen == ref->gen;
	cgid = mark_cgid(mark);
	of = bpf_map_lookup_elem(&cgroups, &cgid);
	return of && of->slot == ref->slot && of->gen == ref->gen &&
	       bpf_map_lookup_elem(&early, &cgid);
}

/* The mark of its nearest marked ancestor: a claimed spare may bring what it has started along. */
static __always_inline struct hearth_mark *mark_above(struct task_struct *leader)
{
	struct task_struct *up = leader;
	struct hearth_mark *mark;
	__u32 tgid;
	int i;

	for (i = 0; i < ANCESTORS; i++) {
		up = up->real_parent;
		tgid = up->tgid;
		mark = bpf_map_lookup_elem(&marks, &tgid);
		if (mark && mark->start_ns == up->group_leader->start_boottime)
			return mark;
	}
	return NULL;
}

/*
 * A process came into an instance from outside. If an image manager fills its cgroup, that is an
 * invocation. Else, before the instance is up, it is its entry point; afterwards it is a stranger
 * (docker exec, exec probe), who holds the instance until it exits; its children are not counted
 * either. Either way it must not sit in a frozen cgroup: wake and hold.
 */
static __always_inline void enter(struct task_struct *leader, __u32 tgid,
				  const struct hearth_ref *ref, __u64 now, enum begin_how how)
{
	struct hearth_instance *inst = instance_of(ref->slot, ref->gen);
	struct hearth_control *ctl = control_of(ref->slot);
	struct hearth_mark *mark;
	bool up, adopted;

	if (!inst || !ctl)
		return;
	mark = mark_of(leader, tgid, now);
	if (mark && is_of(mark, ref))
		return; /* moved within the instance */
	if (mark)
		mark_drop(tgid, now); /* it left another instance */
	if (counts_by(inst, ctl, HEARTH_SRC_IMAGE)) {
		mark = mark_above(leader);
		if (mark && is_of(mark, ref))
			mark_set(tgid, leader->start_boottime, mark->slot, mark->gen, mark->kind,
				 mark->root);
		else
			image_begin(leader, tgid, inst, ref, now, how);
		return;
	}
	adopted = inst->entered && ctl->adopted == tgid; /* while it was on its way in */
	up = inst->ready || ((ctl->flags & HEARTH_CTL_EXEC_OPEN) && inst->entered && !adopted);
	if (!up)
		__sync_fetch_and_add(&inst->entered, !adopted);
	else if (mark_set(tgid, leader->start_boottime, ref->slot, ref->gen, HEARTH_MARK_OUTSIDE,
			  tgid))
		__sync_fetch_and_add(&inst->outsiders, 1);
	hold(inst, ref->slot, &inst->last_enter_ns, now, HEARTH_WAKE_ENTER);
	emit(HEARTH_EV_ENTER, now, ctl->cgid, ref->slot, ctl->function, tgid, BPF_RB_FORCE_WAKEUP);
}

/* The cgroup was made a moment ago: whether it is an instance is being found out. */
static __always_inline void enter_early(struct task_struct *leader, __u32 tgid, __u64 cgid,
					__u64 now, enum begin_how how)
{
	struct hearth_early *e = bpf_map_lookup_elem(&early, &cgid);
	struct hearth_mark *above;
	struct hearth_ref *ref;

	if (!e)
		return;
	above = mark_above(leader);
	if (above && above->kind == HEARTH_MARK_EARLY && mark_cgid(above) == cgid) {
		mark_set(tgid, leader->start_boottime, above->slot, above->gen, above->kind,
			 above->root);
		return;
	}
	if (!mark_set(tgid, leader->start_boottime, (__u32)cgid, cgid >> 32, HEARTH_MARK_EARLY,
		      tgid))
		return;
	if (!e->first_ns) {
		e->first_ns = now;
		e->cold = how == BEGIN_STARTED;
	}
	if (!(__sync_fetch_and_add(&e->word, HEARTH_EARLY_BEGIN) & HEARTH_EARLY_TAKEN))
		return;
	bpf_map_delete_elem(&marks, &tgid); /* found out meanwhile */
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (ref)
		enter(leader, tgid, ref, now, how);
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(hearth_attach_task, struct cgroup *dst, const char *path, struct task_struct *task,
	     bool threadgroup)
{
	struct hearth_ref *ref;
	__u64 cgid, now;

	if (dst->root->hierarchy_id != 0)
		return 0;
	cgid = cgroup_id(dst);
	now = bpf_ktime_get_ns();
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (ref) {
		enter(task->group_leader, task->tgid, ref, now, BEGIN_FORKED);
	} else {
		mark_drop(task->tgid, now); /* it left an instance, if it was in one */
		enter_early(task->group_leader, task->tgid, cgid, now, BEGIN_FORKED);
	}
	return 0;
}

/*
 * Born into a cgroup that is no instance, or not yet: of an invocation there, or its root. Most
 * processes are born where their parents are, and the parent is nobody we know.
 */
static __always_inline void fork_early(struct task_struct *parent, struct task_struct *child,
				       enum begin_how how)
{
	__u64 cgid = task_cgroup_id(child);
	__u32 parent_tgid = parent->tgid;
	struct hearth_mark *mark;

	if (task_cgroup_id(parent) != cgid) {
		enter_early(child, child->tgid, cgid, bpf_ktime_get_ns(), how);
		return;
	}
	mark = bpf_map_lookup_elem(&marks, &parent_tgid);
	if (mark && mark->kind == HEARTH_MARK_EARLY &&
	    mark->start_ns == parent->group_leader->start_boottime)
		mark_set(child->tgid, child->start_boottime, mark->slot, mark->gen, mark->kind,
			 mark->root);
}

static __always_inline int forked(struct task_struct *parent, struct task_struct *child)
{
	__u32 parent_tgid = parent->tgid, tgid = child->tgid;
	struct hearth_ref *ref, *from;
	struct hearth_mark *mark;
	enum begin_how how;

	if (tgid == parent_tgid)
		return 0; /* a thread */
	/* An image forks siblings of its own (CLONE_PARENT), others start children. */
	how = (__u32)child->real_parent->tgid == parent_tgid ? BEGIN_STARTED : BEGIN_FORKED;
	ref = ref_of(child);
	if (!ref) {
		fork_early(parent, child, how);
		return 0;
	}
	mark = bpf_map_lookup_elem(&marks, &parent_tgid);
	if (mark && is_of(mark, ref) && mark->start_ns == parent->group_leader->start_boottime) {
		mark_set(tgid, child->start_boottime, mark->slot, mark->gen, mark->kind,
			 mark->root);
		return 0;
	}
	from = ref_of(parent);
	if (!from || from->slot != ref->slot)
		enter(child, tgid, ref, bpf_ktime_get_ns(), how);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(hearth_fork, struct task_struct *parent, struct task_struct *child)
{
	return forked(parent, child);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(hearth_fork_again, struct task_struct *parent, struct task_struct *child)
{
	__u32 tgid = child->tgid;
	struct hearth_mark *mark = bpf_map_lookup_elem(&marks, &tgid);
	struct hearth_ref *ref = ref_of(child);
	struct hearth_instance *inst = ref ? instance_of(ref->slot, ref->gen) : NULL;

	/* It has not run yet: the first program made this mark ... */
	if (mark && mark->start_ns == child->start_boottime)
		return 0;
	/* ... or let it in as an entry point, which has none: entered twice, it would be a
	 * stranger. */
	if (inst && inst->last_enter_ns >= child->start_time)
		return 0;
	return forked(parent, child);
}

static __always_inline int executed(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader, *parent;
	struct hearth_ref *ref = ref_of(task), *from;
	struct hearth_instance *inst;
	struct hearth_control *ctl;
	struct hearth_mark *mark;
	__u32 tgid = task->tgid;
	__u64 now;

	if (!ref)
		return 0;
	ctl = control_of(ref->slot);
	inst = instance_of(ref->slot, ref->gen);
	if (!ctl || !inst || !(ctl->sources & HEARTH_SRC_EXEC))
		return 0;
	if (!inst->ready && !(ctl->flags & HEARTH_CTL_EXEC_OPEN))
		return 0; /* still the entry point, or what it starts */
	now = bpf_ktime_get_ns();
	mark = mark_of(leader, tgid, now);
	if (mark && mark->kind != HEARTH_MARK_EARLY)
		return 0;
	parent = task->real_parent;
	from = ref_of(parent);
	if (!from || from->slot != ref->slot)
		return 0;
	if ((ctl->sources & HEARTH_SRC_REQUEST) && (inst->requests > 0 || inst->probes > 0)) {
		mark_set(tgid, leader->start_boottime, ref->slot, ref->gen, HEARTH_MARK_IN_REQUEST,
			 tgid);
		return 0;
	}
	if (mark_set(tgid, leader->start_boottime, ref->slot, ref->gen, HEARTH_MARK_INVOCATION,
		     tgid))
		account_begin(inst, ref->slot, now, BEGIN_EXEC);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(hearth_exec, struct task_struct *task, int old_pid, void *bprm)
{
	return executed(task);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(hearth_exec_again, struct task_struct *task, int old_pid, void *bprm)
{
	return executed(task);
}

/*
 * Newer kernels say group_dead in a second argument; signal->live tells it on
 * all. Two threads that exit at once may both read 0: the deletion of the mark
 * is what happens once.
 */
static __always_inline int exited(struct task_struct *task)
{
	struct hearth_instance *inst;
	struct hearth_mark *mark;
	__u32 tgid = task->tgid, root;

	mark = bpf_map_lookup_elem(&marks, &tgid);
	if (!mark || task->signal->live.counter != 0)
		return 0;
	root = mark->root;
	if (root != tgid && mark->kind == HEARTH_MARK_INVOCATION &&
	    !bpf_map_lookup_elem(&marks, &root)) {
		inst = instance_of(mark->slot, mark->gen);
		if (inst)
			__sync_fetch_and_add(&inst->stragglers, 1);
	}
	mark_drop(tgid, bpf_ktime_get_ns());
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(hearth_exit, struct task_struct *task)
{
	return exited(task);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(hearth_exit_again, struct task_struct *task)
{
	return exited(task);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
