// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the hooks could not see: sockets and processes that were there before
 * us, and counters that a lost end left high. The agent runs these iterators
 * and programs on demand; none is on a hot path.
 */
#include "marks.h"

/* Ports that the instance being adopted listens on: a local port found here is a server's. */
struct port_key {
	__u32 slot;
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct port_key);
	__type(value, __u8);
} listen_ports SEC(".maps");

/* What is in flight, per slot, as the recount finds it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HEARTH_MAX_INSTANCES);
	__type(key, __u32);
	__type(value, struct hearth_recount);
} recounts SEC(".maps");

static __always_inline bool sock_in_scope(struct sock *sk)
{
	struct cgroup *cgrp = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	struct hearth_node *n;
	__u32 zero = 0, level;

	n = bpf_map_lookup_elem(&node, &zero);
	if (!n || !cgrp)
		return false;
	level = n->attach_level;
	if ((int)level > BPF_CORE_READ(cgrp, level) || level > 64)
		return false;
	return BPF_CORE_READ(cgrp, ancestors[level], kn, id) == n->attach_id;
}

/*
 * Was a request in flight when we first saw the connection? Unread bytes say
 * yes; so does data that came after the last we sent.
 */
static __always_inline bool mid_request(struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)sk;

	if (!tp)
		return false;
	if (tp->rcv_nxt != tp->copied_seq)
		return true;
	return (__s32)(BPF_CORE_READ(icsk, icsk_ack.lrcvtime) - tp->lsndtime) > 0;
}

static __always_inline void adopt_connection(struct sock *sk, struct conn *c,
					     struct hearth_instance *inst)
{
	struct tcp_sock *tp;

	touch_loose(inst, bpf_ktime_get_ns());
	if (sk->__sk_common.skc_family == AF_UNIX)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	c->in_nxt = tp->rcv_nxt;
	c->out_nxt = tp->snd_nxt;
	c->seen = 1;
	c->out_framing = FRAMING_DIRECTION;
	if (mid_request(sk))
		conn_begin(c, inst, bpf_ktime_get_ns(), HEARTH_SRC_REQUEST, false);
}

/* Is this end the server's? AF_UNIX: the one with an address; TCP: a port we listen on. */
static __always_inline bool is_server(struct sock *sk, __u16 family, __u32 slot)
{
	struct port_key key = {.slot = slot, .port = sk->__sk_common.skc_num};
	struct unix_sock *u;

	if (family != AF_UNIX)
		return bpf_map_lookup_elem(&listen_ports, &key) != NULL;
	u = bpf_skc_to_unix_sock(sk);
	return u && u->addr;
}

static __always_inline void report(struct seq_file *seq, struct sock *sk, __u32 tgid, __u32 fd,
				   __u32 flags)
{
	struct hearth_socket out = {};
	__be32 ip;

	out.cgid = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	out.tgid = tgid;
	out.fd = fd;
	out.family = sk->__sk_common.skc_family;
	out.type = sk->sk_type;
	out.protocol = sk->sk_protocol;
	out.state = sk->__sk_common.skc_state;
	out.flags = flags;
	if (out.state == TCP_LISTEN)
		out.backlog =
		    out.family == AF_UNIX ? sk->sk_receive_queue.qlen : sk->sk_ack_backlog;
	if (out.family == AF_INET || out.family == AF_INET6) {
		out.local_port = sk->__sk_common.skc_num;
		out.remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
	}
	if (out.family == AF_INET) {
		ip = sk->__sk_common.skc_daddr;
		out.remote[10] = out.remote[11] = 0xff;
		__builtin_memcpy(out.remote + 12, &ip, 4);
	} else if (out.family == AF_INET6) {
		BPF_CORE_READ_INTO(&out.remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	}
	bpf_seq_write(seq, &out, sizeof(out));
}

/*
 * One pass over the files of one process (the agent names it in the link).
 * Two passes adopt it: the first finds the listeners, the second the
 * connections accepted from them.
 */
SEC("iter/task_file")
int hearth_adopt_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct hearth_instance *inst;
	struct file *file = ctx->file;
	struct port_key key = {};
	struct hearth_ref *ref;
	struct socket *sock;
	bool stream, server;
	__u32 flags = 0;
	struct sock *sk;
	struct conn *c;
	__u16 family;
	__u64 cgid;
	__u8 one = 1;

	if (!task || !file)
		return 0;
	sock = bpf_sock_from_file(file);
	if (!sock)
		return 0;
	sk = sock->sk;
	if (!sk)
		return 0;
	cgid = task_cgroup_id(task);
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (!ref)
		return 0;
	inst = instance_of(ref->slot, ref->gen);
	if (!inst)
		return 0;
	family = sk->__sk_common.skc_family;
	stream = sk->sk_type == SOCK_STREAM &&
		 (family == AF_UNIX ||
		  ((family == AF_INET || family == AF_INET6) && sk->sk_protocol == IPPROTO_TCP));
	if (!stream) {
		report(ctx->meta->seq, sk, task->tgid, ctx->fd,
		       sock_in_scope(sk) ? HEARTH_SOCK_IN_SCOPE : 0);
		return 0;
	}
	/* Hooks on AF_UNIX are global tracepoints: every cgroup is in their scope. */
	if (family == AF_UNIX || sock_in_scope(sk))
		flags |= HEARTH_SOCK_IN_SCOPE;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (sk->__sk_common.skc_state == TCP_LISTEN) {
		server = true;
		if (family != AF_UNIX) {
			key.slot = ref->slot;
			key.port = sk->__sk_common.skc_num;
			bpf_map_update_elem(&listen_ports, &key, &one, BPF_ANY);
		}
	} else {
		server = is_server(sk, family, ref->slot) || c;
	}
	if (server) {
		flags |= HEARTH_SOCK_SERVER;
		/* Somebody else's (a listener shared by instances) stays theirs. */
		if (!c || !instance_of(c->slot, c->gen)) {
			c = bpf_sk_storage_get(&conns, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
			if (c) {
				c->slot = ref->slot;
				c->gen = ref->gen;
				c->phase = CONN_IDLE;
				if (sk->__sk_common.skc_state != TCP_LISTEN)
					adopt_connection(sk, c, inst);
			}
		}
		if (c)
			flags |= HEARTH_SOCK_ATTRIBUTED;
	}
	report(ctx->meta->seq, sk, task->tgid, ctx->fd, flags);
	return 0;
}

/* Count the sockets in a request: the truth that inflight should agree with. */
SEC("iter/bpf_sk_storage_map")
int hearth_recount(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct conn *c = ctx->value;
	struct sock *sk = ctx->sk;
	struct hearth_recount *n;
	__u32 slot;

	if (!c || !sk || c->phase == CONN_IDLE)
		return 0;
	/* A client keeps the closed socket of an AF_UNIX server alive: nobody serves it. */
	if (sk->__sk_common.skc_family == AF_UNIX && sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	slot = c->slot;
	n = bpf_map_lookup_elem(&recounts, &slot);
	if (!n || !instance_of(slot, c->gen))
		return 0;
	if (c->phase == CONN_REQUEST)
		__sync_fetch_and_add(&n->requests, 1);
	else
		__sync_fetch_and_add(&n->probes, 1);
	return 0;
}

/* Which marked processes still live? */
SEC("iter/task")
int hearth_sweep_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct hearth_mark *mark;
	struct hearth_node *n;
	__u32 zero = 0, tgid;

	if (!task || task->pid != task->tgid)
		return 0;
	tgid = task->tgid;
	mark = bpf_map_lookup_elem(&marks, &tgid);
	n = bpf_map_lookup_elem(&node, &zero);
	/* A process that ended may wait for its parent; its exit was lost if it is marked. */
	if (mark && n && mark->start_ns == task->start_boottime && task->signal->live.counter)
		mark->seen = n->sweep;
	return 0;
}

/* Count the roots of what still runs, drop the marks of what does not. */
static long sweep_mark(struct bpf_map *map, const void *key, void *value, void *ctx)
{
	struct hearth_mark *mark = value, copy;
	__u64 sweep = *(__u64 *)ctx;
	struct hearth_recount *n;
	__u32 tgid = *(__u32 *)key, slot;

	if (mark->seen && mark->seen != sweep) {
		mark_drop(tgid, bpf_ktime_get_ns());
		return 0;
	}
	/* Never looked at: it may be younger than this sweep. The next one decides. */
	if (!mark->seen)
		mark->seen = 1;
	copy = *mark;
	if (!mark_resolve(&copy))
		return 0;
	slot = copy.slot;
	n = bpf_map_lookup_elem(&recounts, &slot);
	if (!n || copy.root != tgid || !instance_of(slot, copy.gen))
		return 0;
	if (copy.kind == HEARTH_MARK_INVOCATION)
		__sync_fetch_and_add(&n->execs, 1);
	else if (copy.kind == HEARTH_MARK_OUTSIDE)
		__sync_fetch_and_add(&n->outsiders, 1);
	return 0;
}

SEC("syscall")
int hearth_sweep_marks(void *ctx)
{
	struct hearth_node *n;
	__u32 zero = 0;
	__u64 sweep;

	n = bpf_map_lookup_elem(&node, &zero);
	if (!n)
		return 0;
	sweep = n->sweep;
	bpf_for_each_map_elem(&marks, sweep_mark, &sweep, 0);
	return 0;
}

/* Bring the counters to what a scan found, unless the instance moved meanwhile. */
SEC("syscall")
int hearth_repair(struct hearth_repair *fix)
{
	struct hearth_instance *inst = instance_of(fix->slot, fix->gen);
	struct hearth_control *ctl = control_of(fix->slot);
	struct hearth_function *fn;
	__s32 before, now;

	fix->repaired = 0;
	if (!inst || !ctl || inst->begins != fix->begins || inst->ends != fix->ends ||
	    inst->probe_begins != fix->probe_begins)
		return 0;
	if (fix->seen_probes != fix->probes)
		fix->repaired |= __sync_val_compare_and_swap(&inst->probes, fix->seen_probes,
							     fix->probes) == fix->seen_probes;
	if (fix->seen_outsiders != fix->outsiders)
		fix->repaired |= __sync_val_compare_and_swap(&inst->outsiders, fix->seen_outsiders,
							     fix->outsiders) == fix->seen_outsiders;
	if (fix->seen_inflight == fix->inflight)
		return 0;
	/* Added, not set: a begin raises inflight just before begins. */
	fix->repaired = 1;
	inst->requests = fix->requests;
	before = __sync_fetch_and_add(&inst->inflight, fix->inflight - fix->seen_inflight);
	now = before + fix->inflight - fix->seen_inflight;
	fn = bpf_map_lookup_elem(&functions, &ctl->function);
	if (!fn)
		return 0;
	if (before > 0 && now <= 0)
		function_leave(fn, ctl, fix->slot, bpf_ktime_get_ns());
	else if (before <= 0 && now > 0)
		function_enter(fn, ctl, fix->slot, bpf_ktime_get_ns(), HEARTH_START_WARM);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
