// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * AF_UNIX stream servers (optional: the tracepoints exist since 6.3). An
 * accepted socket carries its *client's* cgroup, so the instance is found
 * through the listener while nobody has accepted yet, else through the task
 * that receives. The server's end is the one with an address. A request ends
 * with its first answer byte, and idle_grace covers the rest. A close is not
 * seen: the recount repairs what it leaves.
 */
#include "account.h"

static __always_inline bool is_unix_stream(const struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_UNIX && sk->sk_type == SOCK_STREAM;
}

static __always_inline struct conn *conn_make(struct sock *sk, __u32 slot, __u32 gen)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!c) {
		count_drop(HEARTH_DROP_STORAGE);
		return NULL;
	}
	c->slot = slot;
	c->gen = gen;
	return c;
}

static __always_inline bool counts_unix(__u32 slot)
{
	struct hearth_control *ctl = control_of(slot);

	return ctl && (ctl->sources & HEARTH_SRC_UNIX);
}

static __always_inline struct conn *conn_of_cgroup(struct sock *sk, __u64 cgid)
{
	struct hearth_ref *ref = bpf_map_lookup_elem(&cgroups, &cgid);

	return ref && counts_unix(ref->slot) ? conn_make(sk, ref->slot, ref->gen) : NULL;
}

/* A connect() queued on a listener: the early wake, as a SYN is for TCP. */
static __always_inline void connecting(struct sock *sk, __u64 now)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	struct hearth_instance *inst;

	if (!c || !instance_of(c->slot, c->gen))
		c = conn_of_cgroup(sk, BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id));
	if (!c)
		return;
	inst = instance_of(c->slot, c->gen);
	if (inst)
		hold(inst, c->slot, &inst->last_syn_ns, now, HEARTH_WAKE_SYN);
}

/* The connection of a socket nobody accepted yet belongs to its listener's instance. */
static __always_inline struct conn *conn_of_embryo(struct sock *sk)
{
	struct unix_sock *u = bpf_skc_to_unix_sock(sk);
	struct conn *listener;

	if (!u || !bpf_core_field_exists(u->listener))
		return NULL;
	listener = bpf_sk_storage_get(&conns, u->listener, NULL, 0);
	return listener ? conn_make(sk, listener->slot, listener->gen) : NULL;
}

static __always_inline void begin(struct conn *c)
{
	struct hearth_instance *inst = instance_of(c->slot, c->gen);

	if (!inst)
		return;
	touch_loose(inst, bpf_ktime_get_ns());
	if (c->phase == CONN_IDLE)
		conn_begin(c, inst, bpf_ktime_get_ns(), HEARTH_SRC_UNIX, false);
}

/*
 * Has the first program seen what this thread does? What it leaves in the connection for the second
 * one (see exec.bpf.c) uses fields that are TCP's alone. Two threads at once on one socket may take
 * it from each other: then it is done twice, which the phase makes harmless.
 */
static __always_inline bool seen(__u32 *by, bool again)
{
	__u32 pid = (__u32)bpf_get_current_pid_tgid();
	bool before = again && *by == pid;

	*by = again ? 0 : pid;
	return before;
}

static __always_inline int data_ready(struct sock *sk, bool again)
{
	struct conn *c;

	if (!is_unix_stream(sk))
		return 0;
	if (sk->__sk_common.skc_state == TCP_LISTEN) {
		connecting(sk, bpf_ktime_get_ns());
		return 0;
	}
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (c && seen(&c->in_nxt, again))
		return 0;
	/* The server may have read it already, and even answered: then recv saw it. */
	if (!sk->sk_receive_queue.qlen)
		return 0;
	if (!c) {
		c = conn_of_embryo(sk);
		if (c)
			seen(&c->in_nxt, again);
	}
	if (c)
		begin(c);
	return 0;
}

/* New here: a connection accepted before its first data, or data read before it was told of. */
static __always_inline int received(struct sock *sk, int ret, bool again)
{
	struct unix_sock *u;
	struct conn *c;

	if (ret <= 0 || !is_unix_stream(sk))
		return 0;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c) {
		u = bpf_skc_to_unix_sock(sk);
		if (!u || !u->addr)
			return 0; /* the client's end */
		c = conn_of_cgroup(sk, bpf_get_current_cgroup_id());
	}
	if (c && !seen(&c->in_end, again))
		begin(c);
	return 0;
}

static __always_inline int sent(struct sock *sk, int ret, bool again)
{
	struct hearth_instance *inst;
	struct conn *c;

	if (ret <= 0 || !is_unix_stream(sk))
		return 0;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c || seen(&c->out_nxt, again))
		return 0;
	inst = instance_of(c->slot, c->gen);
	if (!inst)
		return 0;
	touch_loose(inst, bpf_ktime_get_ns());
	if (c->phase != CONN_IDLE)
		conn_end(c, inst, bpf_ktime_get_ns());
	return 0;
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(hearth_data_ready, struct sock *sk)
{
	return data_ready(sk, false);
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(hearth_data_ready_again, struct sock *sk)
{
	return data_ready(sk, true);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(hearth_recv, struct sock *sk, int ret, int flags)
{
	return received(sk, ret, false);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(hearth_recv_again, struct sock *sk, int ret, int flags)
{
	return received(sk, ret, true);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(hearth_send, struct sock *sk, int ret, int flags)
{
	return sent(sk, ret, false);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(hearth_send_again, struct sock *sk, int ret, int flags)
{
	return sent(sk, ret, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
