// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * TCP server sockets come and go: a listener gives its instance to every
 * connection it accepts, and a socket that goes away ends the request on it,
 * once, when nobody can be computing its answer any more.
 */
#include "marks.h"

SEC("cgroup/sock_release")
int hearth_sock_release(struct bpf_sock *sk)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	struct hearth_instance *inst;

	if (!c || c->phase == CONN_IDLE)
		return 1;
	inst = instance_of(c->slot, c->gen);
	if (inst)
		conn_end(c, inst, bpf_ktime_get_ns());
	return 1;
}

/* The instance is up; its listener is known before the first SYN. */
static __always_inline void listening(struct sock *sk)
{
	struct task_struct *leader = bpf_get_current_task_btf()->group_leader;
	__u64 cgid = task_cgroup_id(leader), now = bpf_ktime_get_ns();
	struct hearth_ref *ref = bpf_map_lookup_elem(&cgroups, &cgid);
	struct hearth_instance *inst;
	struct conn *c;

	if (!ref)
		return;
	inst = instance_of(ref->slot, ref->gen);
	if (!inst)
		return;
	inst->listens = 1;
	mark_unlisten(leader, leader->tgid, now);
	inst->ready = 1;
	c = bpf_sk_storage_get(&conns, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!c) {
		count_drop(HEARTH_DROP_STORAGE);
		return;
	}
	c->slot = ref->slot;
	c->gen = ref->gen;
}

/*
 * To CLOSE without a file: reset before accept, or never accepted. A socket
 * that somebody still holds ends when it is released, for its server may still
 * be computing.
 */
static __always_inline void closed(struct sock *sk)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	struct hearth_instance *inst;

	if (!c || c->phase == CONN_IDLE)
		return;
	inst = instance_of(c->slot, c->gen);
	if (inst)
		conn_end(c, inst, bpf_ktime_get_ns());
}

static __always_inline int state_set(struct sock *sk, int oldstate, int newstate)
{
	if (newstate == TCP_LISTEN)
		listening(sk);
	else if (newstate == TCP_CLOSE && oldstate != TCP_LISTEN && !sk->sk_socket)
		closed(sk);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(hearth_set_state, struct sock *sk, int oldstate, int newstate)
{
	return state_set(sk, oldstate, newstate);
}

/* See exec.bpf.c. What is done to a socket that listens or is closed is done once. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(hearth_set_state_again, struct sock *sk, int oldstate, int newstate)
{
	return state_set(sk, oldstate, newstate);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
