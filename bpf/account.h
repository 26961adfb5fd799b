/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The accounting every source shares: begin, end, wake. The order matters:
 * a begin is visible in inflight before `armed` is looked at, and the agent
 * arms before it looks at inflight, so one of the two sees the other.
 */
#ifndef HEARTH_ACCOUNT_H
#define HEARTH_ACCOUNT_H

#include "maps.h"

/* A connection attempt that woke the instance makes a begin within this time lukewarm. */
#define CONNECT_NS 1000000000ULL

static __always_inline void count_drop(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&drops, &reason);

	if (n)
		*n += 1;
}

/* The live instance a reference names, or NULL if it has been removed since. */
static __always_inline struct hearth_instance *instance_of(__u32 slot, __u32 gen)
{
	struct hearth_instance *inst = bpf_map_lookup_elem(&instances, &slot);

	return inst && inst->gen == gen ? inst : NULL;
}

static __always_inline struct hearth_control *control_of(__u32 slot)
{
	return bpf_map_lookup_elem(&controls, &slot);
}

/* Reserved and filled in: bpf_ringbuf_output is dearer for a record as short as this. */
static __always_inline void emit_event(const struct hearth_event *what, __u64 wakeup)
{
	struct hearth_event *ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);

	if (!ev) {
		count_drop(HEARTH_DROP_EVENTS_FULL);
		return;
	}
	*ev = *what;
	bpf_ringbuf_submit(ev, wakeup);
}

static __always_inline void emit(__u32 type, __u64 now, __u64 cgid, __u32 slot, __u32 function,
				 __u64 value, __u64 wakeup)
{
	struct hearth_event ev = {.ts_ns = now,
				  .cgid = cgid,
				  .value = value,
				  .slot = slot,
				  .function = function,
				  .type = type};

	emit_event(&ev, wakeup);
}

/* Per-invocation records wait for the agent's tick; half full wakes it early. */
static __always_inline __u64 quietly(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENTS_HALF ? BPF_RB_FORCE_WAKEUP
									   : BPF_RB_NO_WAKEUP;
}

/* Of the two records of a busy span, the first looks whether the ring is half full. */
static __always_inline void emit_span(__u32 type, __u64 now, const struct hearth_control *ctl,
				      __u32 slot, __u64 value, __u16 span, __u16 start)
{
	struct hearth_event ev = {.ts_ns = now,
				  .cgid = ctl->cgid,
				  .value = value,
				  .slot = slot,
				  .function = ctl->function,
				  .type = type,
				  .start = start,
				  .span = span};

	emit_event(&ev, type == HEARTH_EV_BUSY ? quietly() : BPF_RB_NO_WAKEUP);
}

/*
 * One record per arming: only who swaps 1 -> 2 tells the wake thread, so a
 * flood of requests cannot spin it. A full ring costs nothing but delay: the
 * wake thread also scans for slots that are armed and busy.
 */
static __always_inline bool wake_if_armed(struct hearth_control *ctl, __u32 slot, __u64 now,
					  __u32 cause)
{
	struct hearth_wake *wake;

	if (ctl->armed != HEARTH_ARMED)
		return false;
	if (__sync_val_compare_and_swap(&ctl->armed, HEARTH_ARMED, HEARTH_WOKEN) != HEARTH_ARMED)
		return false;
	wake = bpf_ringbuf_reserve(&wakes, sizeof(*wake), 0);
	if (!wake) {
		count_drop(HEARTH_DROP_WAKES_FULL);
		return true;
	}
	wake->ts_ns = now;
	wake->slot = slot;
	wake->cause = cause;
	bpf_ringbuf_submit(wake, BPF_RB_FORCE_WAKEUP);
	return true;
}

/* A sign that work is coming: keeps the instance thawed for a short hold. */
static __always_inline void hold(struct hearth_instance *inst, __u32 slot, __u64 *since_ns,
				 __u64 now, __u32 cause)
{
	struct hearth_control *ctl = control_of(slot);

	/* A full barrier: the hold is visible before `armed` is read. */
	__sync_lock_test_and_set(since_ns, now);
	if (ctl && wake_if_armed(ctl, slot, now, cause) && cause == HEARTH_WAKE_SYN)
		inst->woken = 1;
}

/* S2 grows by 2c + 1 when a bin that holds c gets one more: exact, integers only. */
static __always_inline void learn_idle_time(struct hearth_function *fn, __u32 function,
					    __u64 idle_ns)
{
	struct hearth_fn_control *fctl = bpf_map_lookup_elem(&fn_controls, &function);
	__u64 bin, c;

	if (!fctl || !fctl->bin_ns) {
		__sync_fetch_and_add(&fn->unbinned, 1);
		return;
	}
	bin = idle_ns / fctl->bin_ns;
	if (bin >= fctl->nbins || bin >= HEARTH_BINS) {
		__sync_fetch_and_add(&fn->oob, 1);
		return;
	}
	c = __sync_fetch_and_add(&fn->bins[bin], 1);
	__sync_fetch_and_add(&fn->s1, 1);
	__sync_fetch_and_add(&fn->s2, 2 * c + 1);
}

/* A busy span opens; since: when the idle time before it began, 0 if there is none to learn. */
static __always_inline void function_open(struct hearth_function *fn, struct hearth_control *ctl,
					  __u32 slot, __u64 since, __u64 now, __u16 start)
{
	__u64 spans, idle_ns = 0;

	if (since) {
		idle_ns = now > since ? now - since : 0;
		learn_idle_time(fn, ctl->function, idle_ns);
	}
	fn->last_busy_ns = now;
	spans = __sync_fetch_and_add(&fn->busy_spans, 1) + 1;
	emit_span(HEARTH_EV_BUSY, now, ctl, slot, idle_ns, spans, start);
}

/* An instance became busy; if it is the function's first, an idle time closes. */
static __always_inline void function_enter(struct hearth_function *fn, struct hearth_control *ctl,
					   __u32 slot, __u64 now, __u16 start)
{
	__s32 before = __sync_fetch_and_add(&fn->busy, 1);

	if (before >= (__s32)fn->peak)
		fn->peak = before + 1; /* a lost race costs one instance of advice */
	if (before == 0)
		function_open(fn, ctl, slot, fn->last_idle_ns, now, start);
}

/* last_idle_ns is published before the decrement that lets a begin read it. */
static __always_inline void function_leave(struct hearth_function *fn, struct hearth_control *ctl,
					   __u32 slot, __u64 now)
{
	__u64 since = fn->last_busy_ns, spans = fn->busy_spans;

	fn->last_idle_ns = now;
	if (__sync_fetch_and_add(&fn->busy, -1) == 1)
		emit_span(HEARTH_EV_IDLE, now, ctl, slot, now > since ? now - since : 0, spans, 0);
}

/* How a begin came about. */
enum begin_how {
	BEGIN_EXEC,
	BEGIN_SOCKET,
	BEGIN_STARTED, /* by whoever started the process */
	BEGIN_FORKED,  /* from an image: no cold start, however new the instance */
};

static __always_inline void account_begin(struct hearth_instance *inst, __u32 slot, __u64 now,
					  enum begin_how how)
{
	struct hearth_control *ctl = control_of(slot);
	__u16 start = HEARTH_START_WARM;
	struct hearth_function *fn;
	bool first, lukewarm;

	if (!ctl)
		return;
	first = __sync_fetch_and_add(&inst->inflight, 1) == 0;
	lukewarm = wake_if_armed(ctl, slot, now, HEARTH_WAKE_BEGIN);
	if (how == BEGIN_SOCKET)
		__sync_fetch_and_add(&inst->requests, 1);
	__sync_fetch_and_add(&inst->begins, 1);
	inst->last_begin_ns = now;

	fn = bpf_map_lookup_elem(&functions, &ctl->function);
	if (!fn)
		return;
	__sync_fetch_and_add(&fn->invocations, 1);
	if (inst->woken) {
		lukewarm = lukewarm || now - inst->last_syn_ns < CONNECT_NS;
		inst->woken = 0;
	}
	if (lukewarm) { /* whatever its tier was, it was armed */
		__sync_fetch_and_add(&fn->lukewarm_starts, 1);
		start = HEARTH_START_LUKEWARM;
	}
	if (how != BEGIN_FORKED && inst->fresh && __sync_lock_test_and_set(&inst->fresh, 0)) {
		__sync_fetch_and_add(&fn->cold_starts, 1);
		start = HEARTH_START_COLD;
	}
	if (first)
		function_enter(fn, ctl, slot, now, start);
}

/* Take one off inflight; the function goes idle with its last busy instance. */
static __always_inline void inflight_drop(struct hearth_instance *inst, __u32 slot, __u64 now)
{
	struct hearth_control *ctl = control_of(slot);
	struct hearth_function *fn;
	__s32 before;

	before = __sync_fetch_and_add(&inst->inflight, -1);
	if (before <= 0) {
		__sync_fetch_and_add(&inst->inflight, 1);
		count_drop(HEARTH_DROP_UNDERFLOW);
		return;
	}
	if (before != 1 || !ctl)
		return;
	fn = bpf_map_lookup_elem(&functions, &ctl->function);
	if (fn)
		function_leave(fn, ctl, slot, now);
}

static __always_inline void account_end(struct hearth_instance *inst, __u32 slot, __u64 now,
					bool socket)
{
	inst->last_end_ns = now;
	__sync_fetch_and_add(&inst->ends, 1);
	if (socket && __sync_fetch_and_add(&inst->requests, -1) <= 0)
		__sync_fetch_and_add(&inst->requests, 1); /* a repair came between */
	inst->ready = 1;
	inflight_drop(inst, slot, now);
}

/* The mirror of learn_idle_time, unless the geometry changed meanwhile. */
static __always_inline void unlearn_idle_time(struct hearth_function *fn, __u32 function,
					      __u64 idle_ns)
{
	struct hearth_fn_control *fctl = bpf_map_lookup_elem(&fn_controls, &function);
	__u64 bin, c;

	if (!fctl || !fctl->bin_ns)
		return;
	bin = idle_ns / fctl->bin_ns;
	if (bin >= fctl->nbins || bin >= HEARTH_BINS) {
		if (fn->oob)
			__sync_fetch_and_add(&fn->oob, -1);
		return;
	}
	if (!fn->bins[bin])
		return;
	c = __sync_fetch_and_add(&fn->bins[bin], -1);
	__sync_fetch_and_add(&fn->s1, -1);
	__sync_fetch_and_add(&fn->s2, 1 - 2 * c);
}

/*
 * What was begun turned out to be a server. If its begin opened the function's busy span and
 * nothing else is in it, the idle time goes on as if it had not been.
 */
static __always_inline void account_undo(struct hearth_instance *inst, __u32 slot, __u64 now)
{
	struct hearth_control *ctl = control_of(slot);
	struct hearth_function *fn;
	__u64 since, busy, spans;
	__s32 before;
	bool opened;

	fn = ctl ? bpf_map_lookup_elem(&functions, &ctl->function) : NULL;
	if (!fn)
		return;
	__sync_fetch_and_add(&inst->begins, -1);
	__sync_fetch_and_add(&fn->invocations, -1);
	since = fn->last_idle_ns;
	busy = fn->last_busy_ns;
	spans = fn->busy_spans;
	opened = inst->last_begin_ns == busy;
	before = __sync_fetch_and_add(&inst->inflight, -1);
	if (before <= 0) {
		__sync_fetch_and_add(&inst->inflight, 1);
		return;
	}
	if (before != 1)
		return;
	if (!opened) {
		function_leave(fn, ctl, slot, now);
		return;
	}
	if (__sync_fetch_and_add(&fn->busy, -1) != 1)
		return;
	if (since)
		unlearn_idle_time(fn, ctl->function, busy > since ? busy - since : 0);
	emit_span(HEARTH_EV_IDLE, now, ctl, slot, now > busy ? now - busy : 0, spans, 0);
}

/* Health checks wake and hold, but are neither counted nor learned. */
static __always_inline void probe_begin(struct hearth_instance *inst, __u32 slot, __u64 now)
{
	struct hearth_control *ctl = control_of(slot);

	/* The result is looked at so that the addition is a full barrier everywhere. */
	if (__sync_fetch_and_add(&inst->probes, 1) >= 0 && ctl)
		wake_if_armed(ctl, slot, now, HEARTH_WAKE_BEGIN);
	__sync_fetch_and_add(&inst->probe_begins, 1);
}

static __always_inline void probe_end(struct hearth_instance *inst)
{
	if (__sync_fetch_and_add(&inst->probes, -1) <= 0) {
		__sync_fetch_and_add(&inst->probes, 1);
		count_drop(HEARTH_DROP_UNDERFLOW);
	}
}

/* Not HTTP/1, or not any more: where its answers end cannot be told. */
static __always_inline bool is_loose(const struct conn *c)
{
	return !(c->flags & CONN_HTTP) || (c->flags & CONN_TUNNEL);
}

/* Sockets whose ends cannot be told keep the instance by idle_grace instead. */
static __always_inline void touch_loose(struct hearth_instance *inst, __u64 now)
{
	inst->last_loose_ns = now;
}

/* One that was forked from an image is its own invocation until it listens, a server afterwards. */
static __always_inline bool counts_by(const struct hearth_instance *inst,
				      const struct hearth_control *ctl, __u32 source)
{
	if ((ctl->sources & HEARTH_SRC_IMAGE) && (source == HEARTH_SRC_IMAGE) == !!inst->listens)
		return false;
	return ctl->sources & source;
}

/*
 * Start the request or probe of a connection, unless it is in one. `source` is what an invocation
 * of this kind is counted by: where the instance does not count by it, the request only holds and
 * wakes, as a probe.
 */
static __always_inline void conn_begin(struct conn *c, struct hearth_instance *inst, __u64 now,
				       __u32 source, bool probe)
{
	struct hearth_control *ctl = control_of(c->slot);
	__u32 phase = probe || (ctl && !counts_by(inst, ctl, source)) ? CONN_PROBE : CONN_REQUEST;

	if (__sync_val_compare_and_swap(&c->phase, CONN_IDLE, phase) != CONN_IDLE)
		return;
	if (phase == CONN_PROBE)
		probe_begin(inst, c->slot, now);
	else
		account_begin(inst, c->slot, now, BEGIN_SOCKET);
}

/* End whatever the connection is in; the swap makes it once. */
static __always_inline void conn_end(struct conn *c, struct hearth_instance *inst, __u64 now)
{
	__u32 phase = __sync_lock_test_and_set(&c->phase, CONN_IDLE);

	if (phase == CONN_REQUEST)
		account_end(inst, c->slot, now, true);
	else if (phase == CONN_PROBE)
		probe_end(inst);
}

#endif
