// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What comes in: requests on TCP server sockets, and activity on UDP ones. A
 * socket counts only if it carries storage inherited from a listener that an
 * instance made, so a function's outbound calls never do. A request begins with
 * new payload; answer.bpf.c ends it, socket.bpf.c if its socket goes away.
 */
#include "account.h"
#include "http1.h"
#include "segment.h"

struct request {
	__u64 tail;  /* last bytes of a chunked body so far */
	__u32 flags; /* CONN_HTTP, CONN_HEAD */
	__u32 framing;
	__u32 end;   /* sequence number after the body */
	__u32 agent; /* offset of the User-Agent value in the segment; 0: none */
};

/* Does the segment start with the head of a request? */
static __always_inline bool starts_request(struct __sk_buff *skb, const struct segment *seg)
{
	return is_method(load_word(skb, seg->payload, seg->len));
}

/* Where its body ends, who asks if that matters, and whether another request follows. */
static __always_inline void parse_request(struct __sk_buff *skb, const struct segment *seg,
					  bool want_agent, struct request *req)
{
	struct head head = {.flags = want_agent ? HEAD_AGENT : 0};

	if (seg->len < 8)
		return;
	parse_head(skb, seg->payload, seg->len, &head);
	if (!is_method(head.start[0]))
		return;
	req->flags = CONN_HTTP;
	if ((head.start[0] & 0xff) == 'H')
		req->flags |= CONN_HEAD;
	if (head.agent)
		req->agent = seg->payload + head.agent;
	if (!head.size)
		return;
	if (head.flags & HEAD_CHUNKED) {
		if (!last_chunk(skb, seg->payload, seg->len, &req->tail))
			req->framing = FRAMING_CHUNKED;
		return;
	}
	if (head.flags & HEAD_LENGTH) {
		if (head.length >= LENGTH_MAX)
			return;
		req->framing = FRAMING_LENGTH;
		head.size += (__u32)head.length;
	}
	req->end = seg->seq + head.size;
	if (after(seg->seq + seg->len, req->end))
		req->flags |= CONN_MORE;
}

/* Does the User-Agent start with one of the function's probe prefixes? */
static __always_inline bool is_probe_agent(struct __sk_buff *skb, __u32 agent,
					   const struct hearth_fn_control *fctl)
{
	char buf[HEARTH_UA_LEN] = {};
	int i, k;

	if (!agent || !load_some(skb, agent, buf, sizeof(buf)))
		return false;
	for (i = 0; i < (int)HEARTH_UA_PREFIXES; i++) {
		__u8 len = fctl->ua_len[i];
		bool same = len > 0;

		for (k = 0; k < (int)HEARTH_UA_LEN; k++)
			if (k < len && fctl->ua[i][k] != buf[k])
				same = false;
		if (same)
			return true;
	}
	return false;
}

/* Part of the body that the head announced, not a new request. */
static __always_inline bool rest_of_body(struct __sk_buff *skb, const struct segment *seg,
					 struct conn *c)
{
	if (c->in_framing == FRAMING_LENGTH)
		return !after(seg->seq + seg->len, c->in_end);
	if (c->in_framing != FRAMING_CHUNKED)
		return false;
	if (last_chunk(skb, seg->payload, seg->len, &c->in_tail))
		c->in_framing = FRAMING_UNKNOWN;
	return true;
}

static __always_inline void begin_request(struct conn *c, struct hearth_instance *inst,
					  const struct request *req, __u32 snd_nxt, __u64 now,
					  bool probe)
{
	c->flags = (c->flags & ~(CONN_HTTP | CONN_HEAD | CONN_MORE)) | req->flags;
	c->in_framing = req->framing;
	c->in_end = req->end;
	c->in_tail = req->tail;
	c->out_nxt = snd_nxt;
	c->out_end = 0;
	c->out_tail = 0;
	c->out_framing = req->flags & CONN_HTTP ? FRAMING_UNKNOWN : FRAMING_DIRECTION;
	conn_begin(c, inst, now, HEARTH_SRC_REQUEST, probe || (c->flags & CONN_PROBE_PEER));
}

/* Everything about a request that its first segment tells. True: it is a probe. */
static __always_inline bool look_at_request(struct __sk_buff *skb, const struct segment *seg,
					    const struct conn *c, struct request *req)
{
	struct hearth_control *ctl = control_of(c->slot);
	struct hearth_fn_control *fctl;
	bool want_agent;

	if (!ctl || (ctl->flags & HEARTH_CTL_DIRECTION) || (c->flags & CONN_TUNNEL))
		return false;
	fctl = bpf_map_lookup_elem(&fn_controls, &ctl->function);
	want_agent = fctl && fctl->ua_len[0];
	parse_request(skb, seg, want_agent, req);
	return want_agent && is_probe_agent(skb, req->agent, fctl);
}

/*
 * Data on the third ACK reaches the hook with the listener as its socket; the
 * connection appears right after, in the same softirq on the same CPU.
 */
struct third_ack {
	struct request req;
	__u32 port; /* the client's, host order; 0: nothing remembered */
	__u32 in_nxt;
	__u32 probe;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct third_ack);
} third_acks SEC(".maps");

static __always_inline void remember_third_ack(struct __sk_buff *skb, const struct segment *seg,
					       const struct conn *listener)
{
	struct request req = {};
	struct third_ack *third;
	__u32 zero = 0;

	third = bpf_map_lookup_elem(&third_acks, &zero);
	if (!third)
		return;
	third->probe = look_at_request(skb, seg, listener, &req);
	third->req = req;
	third->in_nxt = seg->seq + seg->len + !!(seg->flags & TCP_SYN);
	third->port = seg->port;
}

/* The instance a listener belongs to, remembered in its storage from the first SYN on. */
static __always_inline struct conn *listener_conn(struct bpf_sock *sk)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	struct hearth_ref *ref;
	__u64 cgid;

	if (c && instance_of(c->slot, c->gen))
		return c;
	cgid = bpf_sk_cgroup_id(sk);
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (!ref)
		return NULL;
	if (!c)
		c = bpf_sk_storage_get(&conns, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!c) {
		count_drop(HEARTH_DROP_STORAGE);
		return NULL;
	}
	c->slot = ref->slot;
	c->gen = ref->gen;
	return c;
}

static __always_inline void listener_ingress(struct __sk_buff *skb, struct bpf_sock *sk,
					     const struct segment *seg)
{
	struct hearth_instance *inst;
	struct conn *c;

	if (!(seg->flags & TCP_SYN) && !seg->len)
		return;
	c = listener_conn(sk);
	if (!c)
		return;
	inst = instance_of(c->slot, c->gen);
	if (!inst)
		return;
	if (seg->flags & TCP_SYN)
		hold(inst, c->slot, &inst->last_syn_ns, bpf_ktime_get_ns(), HEARTH_WAKE_SYN);
	if (seg->len) /* on the third ACK, or on the SYN itself (fast open) */
		remember_third_ack(skb, seg, c);
}

/* Datagrams have no begin and end: they are activity, and wake a frozen instance. */
static __always_inline void datagram_ingress(struct bpf_sock *sk)
{
	struct hearth_instance *inst;
	struct hearth_ref *ref;
	__u64 cgid;

	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_UDP)
		return;
	cgid = bpf_sk_cgroup_id(sk);
	ref = bpf_map_lookup_elem(&cgroups, &cgid);
	if (!ref)
		return;
	inst = instance_of(ref->slot, ref->gen);
	if (inst)
		hold(inst, ref->slot, &inst->last_loose_ns, bpf_ktime_get_coarse_ns(),
		     HEARTH_WAKE_DATAGRAM);
}

/*
 * More bytes while a request is in flight: the rest of its body, or another
 * request behind it. A client that sends one while the last chunk of the answer
 * went unseen (trailers) has had its answer: then the old one ends here.
 */
static __always_inline void more_ingress(struct __sk_buff *skb, const struct segment *seg,
					 struct conn *c, struct hearth_instance *inst)
{
	if (rest_of_body(skb, seg, c))
		return;
	if (c->out_framing == FRAMING_CHUNKED && starts_request(skb, seg))
		conn_end(c, inst, bpf_ktime_get_ns());
	else
		c->flags |= CONN_MORE;
}

/*
 * New payload only: no retransmission, no keep-alive probe. The hook runs before TCP looks at
 * sequence numbers: what it will refuse is nothing to us.
 */
static __always_inline bool is_new(const struct segment *seg, const struct tcp_sock *tp)
{
	return after(seg->seq + seg->len, tp->rcv_nxt) &&
	       !after(seg->seq, tp->rcv_wup + tp->rcv_wnd);
}

/* No new payload passes an armed instance in silence: it is a begin, or it holds. */
static __always_inline void payload_ingress(struct __sk_buff *skb, const struct segment *seg,
					    const struct tcp_sock *tp, struct conn *c,
					    struct hearth_instance *inst)
{
	__u32 end = seg->seq + seg->len;
	struct request req = {};
	__u64 now = 0;
	bool probe;

	/* A number ahead of what TCP has taken may be forged: it only holds. */
	if (c->seen && !after(end, c->in_nxt)) {
		hold(inst, c->slot, &inst->last_loose_ns, bpf_ktime_get_coarse_ns(),
		     HEARTH_WAKE_BEGIN);
		return;
	}
	c->in_nxt = end;
	c->seen = 1;
	if (c->phase != CONN_IDLE)
		more_ingress(skb, seg, c, inst);
	if (c->phase == CONN_IDLE) {
		if (rest_of_body(skb, seg, c) && !starts_request(skb, seg)) {
			hold(inst, c->slot, &inst->last_loose_ns, bpf_ktime_get_coarse_ns(),
			     HEARTH_WAKE_BEGIN);
			return;
		}
		probe = look_at_request(skb, seg, c, &req);
		now = bpf_ktime_get_ns();
		begin_request(c, inst, &req, tp->snd_nxt, now, probe);
	}
	if (is_loose(c))
		touch_loose(inst, now ? now : bpf_ktime_get_coarse_ns());
}

static __always_inline void connection_ingress(struct __sk_buff *skb, struct bpf_sock *sk,
					       const struct segment *seg)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	struct hearth_instance *inst;
	struct tcp_sock *tp;

	if (!c)
		return;
	inst = instance_of(c->slot, c->gen);
	if (!inst)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp && is_new(seg, tp))
		payload_ingress(skb, seg, tp, c, inst);
}

/* Cheapest first: a bare ACK has cost no call of a helper when it is let go. */
SEC("cgroup_skb/ingress")
int hearth_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct segment seg = {};

	if (!sk)
		return 1;
	if (!parse_segment(skb, &seg))
		datagram_ingress(sk);
	else if (sk->state == TCP_LISTEN)
		listener_ingress(skb, sk, &seg);
	else if (seg.len)
		connection_ingress(skb, sk, &seg);
	return 1;
}

/* ---- a connection is there */

static __always_inline bool is_probe_peer(struct bpf_sock_ops *ops, const struct conn *c)
{
	struct hearth_control *ctl = control_of(c->slot);
	struct hearth_fn_control *fctl;
	struct hearth_probe_net key = {};

	if (!ctl)
		return false;
	fctl = bpf_map_lookup_elem(&fn_controls, &ctl->function);
	if (!fctl || !fctl->probe_nets)
		return false;
	key.prefixlen = 32 + 128;
	key.function = ctl->function;
	if (ops->family == AF_INET) {
		__u32 ip = ops->remote_ip4;

		key.addr[10] = key.addr[11] = 0xff;
		__builtin_memcpy(key.addr + 12, &ip, 4);
	} else {
		/* volatile: the verifier takes no wider loads than the words */
		volatile __u32 *from = ops->remote_ip6;
		__u32 ip[4] = {from[0], from[1], from[2], from[3]};

		__builtin_memcpy(key.addr, ip, 16);
	}
	return bpf_map_lookup_elem(&probe_nets, &key) != NULL;
}

SEC("sockops")
int hearth_established(struct bpf_sock_ops *ops)
{
	struct hearth_instance *inst;
	struct third_ack *third;
	struct bpf_sock *sk;
	__u32 zero = 0;
	struct conn *c;

	if (ops->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	sk = ops->sk;
	if (!sk)
		return 1;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c)
		return 1;
	inst = instance_of(c->slot, c->gen);
	if (!inst)
		return 1;
	if (is_probe_peer(ops, c))
		c->flags |= CONN_PROBE_PEER;
	third = bpf_map_lookup_elem(&third_acks, &zero);
	if (!third || !third->port)
		return 1;
	if (third->port == bpf_ntohl(ops->remote_port)) {
		c->in_nxt = third->in_nxt;
		c->seen = 1;
		begin_request(c, inst, &third->req, ops->snd_nxt, bpf_ktime_get_ns(), third->probe);
		if (is_loose(c))
			touch_loose(inst, bpf_ktime_get_coarse_ns());
	}
	third->port = 0;
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
