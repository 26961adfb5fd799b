// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Invocations of source image that the hooks saw before the agent knew the
 * cgroup, or never saw: the agent runs these programs when it registers an
 * instance, or hears of one that was gone before. What came early is taken
 * once; what ends while it is taken is ended here or by the exit hook, not both.
 */
#include "marks.h"

/* An idle time that ended before the function's last one began is nothing to learn from. */
static __always_inline __u64 idle_since(const struct hearth_function *fn, __u64 first_ns)
{
	return first_ns > fn->last_idle_ns ? fn->last_idle_ns : 0;
}

/* The instance is busy since then. */
static __always_inline void busy_since(struct hearth_function *fn, struct hearth_control *ctl,
				       __u32 slot, const struct hearth_missed *m)
{
	__u64 first = m->first_ns > fn->last_idle_ns ? m->first_ns : fn->last_idle_ns;
	__s32 before = __sync_fetch_and_add(&fn->busy, 1);

	if (before >= (__s32)fn->peak)
		fn->peak = before + 1;
	if (before == 0)
		function_open(fn, ctl, slot, idle_since(fn, m->first_ns), first,
			      m->cold ? HEARTH_START_COLD : HEARTH_START_WARM);
}

static __always_inline void count_begins(struct hearth_function *fn, const struct hearth_missed *m)
{
	__sync_fetch_and_add(&fn->invocations, m->begins);
	if (m->cold)
		__sync_fetch_and_add(&fn->cold_starts, 1);
}

/* All of it is over. In a time in which others ran it is no busy span of its own, but may end it.
 */
static __always_inline void count_over(struct hearth_function *fn, struct hearth_control *ctl,
				       __u32 slot, const struct hearth_missed *m)
{
	if (fn->busy > 0 || m->last_ns <= fn->last_idle_ns)
		return;
	if (m->first_ns <= fn->last_idle_ns) {
		fn->last_idle_ns = m->last_ns;
		return;
	}
	busy_since(fn, ctl, slot, m);
	function_leave(fn, ctl, slot, m->last_ns);
}

static __always_inline void end_many(struct hearth_instance *inst, struct hearth_control *ctl,
				     struct hearth_function *fn, __u32 slot, __s32 n, __u64 now)
{
	inst->last_end_ns = now;
	inst->ready = 1;
	__sync_fetch_and_add(&inst->ends, n);
	if (__sync_fetch_and_add(&inst->inflight, -n) == n)
		function_leave(fn, ctl, slot, now);
}

/* The cgroup is an instance that counts by image. */
SEC("syscall")
int hearth_take_early(struct hearth_take *take)
{
	struct hearth_instance *inst = instance_of(take->slot, take->gen);
	struct hearth_control *ctl = control_of(take->slot);
	__u64 cgid = take->cgid, word, ends, late;
	struct hearth_missed m = {};
	struct hearth_function *fn;
	struct hearth_early *e;
	__s32 runs;

	e = bpf_map_lookup_elem(&early, &cgid);
	if (!inst || !ctl || !e)
		return 0;
	fn = bpf_map_lookup_elem(&functions, &ctl->function);
	if (!fn)
		return 0;
	word = __sync_fetch_and_or(&e->word, HEARTH_EARLY_TAKEN);
	if ((word & HEARTH_EARLY_TAKEN) || inst->listens)
		return 0;
	m.begins = word & HEARTH_EARLY_MASK;
	m.first_ns = e->first_ns;
	m.last_ns = e->last_ns;
	m.cold = e->cold;
	ends = word / HEARTH_EARLY_END & HEARTH_EARLY_MASK;
	runs = m.begins - ends;
	if (m.begins) {
		inst->last_begin_ns = m.first_ns;
		inst->last_end_ns = m.last_ns;
		if (m.cold)
			inst->fresh = 0;
		count_begins(fn, &m);
		if (runs <= 0)
			count_over(fn, ctl, take->slot, &m);
		else if (__sync_fetch_and_add(&inst->inflight, runs) == 0)
			busy_since(fn, ctl, take->slot, &m);
		__sync_fetch_and_add(&inst->begins, m.begins);
		__sync_fetch_and_add(&inst->ends, ends);
	}
	/* From here on an exit ends it at the instance; what ended since, here. */
	word = __sync_fetch_and_or(&e->word, HEARTH_EARLY_COUNTED);
	late = (word / HEARTH_EARLY_END & HEARTH_EARLY_MASK) - ends;
	if (late)
		end_many(inst, ctl, fn, take->slot, late, bpf_ktime_get_ns());
	return 0;
}

/* The cgroup would have been an instance of the function that event.function says. */
SEC("syscall")
int hearth_count_missed(struct hearth_missed *m)
{
	struct hearth_control ctl = {.cgid = m->event.cgid, .function = m->event.function};
	struct hearth_missed copy = {
	    .begins = m->begins, .first_ns = m->first_ns, .last_ns = m->last_ns, .cold = m->cold};
	struct hearth_function *fn = bpf_map_lookup_elem(&functions, &ctl.function);

	if (!fn)
		return 0;
	count_begins(fn, &copy);
	count_over(fn, &ctl, HEARTH_NO_SLOT, &copy);
	return 0;
}

/* Is it counted? Not by a mark from before its cgroup was forgotten. */
static __always_inline bool is_marked(struct task_struct *task, __u32 tgid, __u64 now)
{
	struct hearth_mark *mark = mark_of(task, tgid, now);
	__u64 cgid;

	if (!mark)
		return false;
	cgid = mark_cgid(mark);
	if (mark->kind != HEARTH_MARK_EARLY || bpf_map_lookup_elem(&early, &cgid))
		return true;
	mark_drop(tgid, now);
	return false;
}

/* One that entered before the hooks were there. Its children belong to it. */
SEC("iter/task")
int hearth_adopt_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct hearth_ref *ref, *from;
	struct hearth_instance *inst;
	struct hearth_control *ctl;
	__u32 tgid;
	__u64 now;

	if (!task || task->pid != task->tgid || !task->signal->live.counter)
		return 0;
	ref = ref_of(task);
	if (!ref)
		return 0;
	inst = instance_of(ref->slot, ref->gen);
	ctl = control_of(ref->slot);
	from = ref_of(task->real_parent);
	if (!inst || !ctl || !counts_by(inst, ctl, HEARTH_SRC_IMAGE) ||
	    (from && from->slot == ref->slot))
		return 0;
	tgid = task->tgid;
	now = bpf_ktime_get_ns();
	if (is_marked(task, tgid, now))
		return 0;
	image_begin(task, tgid, inst, ref, now, BEGIN_FORKED);
	if (!task->signal->live.counter) /* its exit may have come before its mark */
		mark_drop(tgid, now);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
