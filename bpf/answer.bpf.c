// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What goes out: a request ends where its answer ends, by HTTP/1 framing if both
 * parse, else with the first answer byte (`direction`). A retransmission of an
 * older answer ends nothing.
 */
#include "account.h"
#include "http1.h"
#include "segment.h"

/*
 * First bytes of an answer: find its framing. Interim answers (1xx) are stepped
 * over, the final one may follow in the same segment. True: it ends at once.
 */
static __always_inline bool answer_head(struct __sk_buff *skb, const struct segment *seg,
					struct conn *c)
{
	__u32 off = seg->payload, left = seg->len;
	struct head head;
	__u32 status;
	int i;

	for (i = 0; i < 2; i++) {
		if (left < 16)
			break;
		__builtin_memset(&head, 0, sizeof(head));
		parse_head(skb, off, left, &head);
		if (!is_answer(head.start[0]))
			break;
		/* "HTTP/1.1 200 OK": the status is characters 9 to 11. */
		status = ((head.start[1] >> 8 & 0xff) - '0') * 100 +
			 ((head.start[1] >> 16 & 0xff) - '0') * 10 +
			 ((head.start[1] >> 24 & 0xff) - '0');
		if (status == 101) {
			c->flags |= CONN_TUNNEL;
			return true;
		}
		if (!head.size)
			break;
		off += head.size;
		left -= head.size < left ? head.size : left;
		if (status >= 200) {
			if ((c->flags & CONN_HEAD) || status == 204 || status == 304)
				return true;
			if (head.flags & HEAD_CHUNKED) {
				c->out_framing = FRAMING_CHUNKED;
			} else if (!(head.flags & HEAD_LENGTH)) {
				c->out_framing = FRAMING_CLOSE;
			} else if (head.length < LENGTH_MAX) {
				c->out_framing = FRAMING_LENGTH;
				c->out_end = seg->seq + (off - seg->payload) + (__u32)head.length;
			} else {
				break;
			}
			return false;
		}
		if (!left)
			return false; /* 100 Continue and nothing yet */
	}
	c->out_framing = FRAMING_DIRECTION;
	return true;
}

/* Does this segment end the answer? */
static __always_inline bool answer_ends(struct __sk_buff *skb, const struct segment *seg,
					struct conn *c)
{
	if (c->out_framing == FRAMING_UNKNOWN && answer_head(skb, seg, c))
		return true;
	switch (c->out_framing) {
	case FRAMING_DIRECTION:
		return true;
	case FRAMING_LENGTH:
		return !after(c->out_end, seg->seq + seg->len);
	case FRAMING_CHUNKED:
		return last_chunk(skb, seg->payload, seg->len, &c->out_tail);
	default:
		return false;
	}
}

/* TCP read the clock to send the segment: that saves us a second reading. */
static __always_inline __u64 sent_ns(struct bpf_sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	return tp && bpf_core_field_exists(tp->tcp_clock_cache) ? tp->tcp_clock_cache
								: bpf_ktime_get_ns();
}

/* A segment of an instance's connection that has payload, or a FIN. */
static __always_inline void segment_out(struct __sk_buff *skb, struct bpf_sock *sk,
					const struct segment *seg, struct conn *c,
					struct hearth_instance *inst)
{
	bool ends = seg->flags & TCP_FIN, loose = false, late = c->phase == CONN_IDLE;
	__u64 now;

	/* out_nxt was set at the begin: a retransmission of an older answer ends nothing. */
	if (seg->len && after(seg->seq + seg->len, c->out_nxt)) {
		c->out_nxt = seg->seq + seg->len;
		if (!late && answer_ends(skb, seg, c))
			ends = true;
		loose = late || is_loose(c) || c->out_framing == FRAMING_DIRECTION ||
			(ends && ((c->flags & CONN_MORE) || c->in_framing == FRAMING_CHUNKED));
	}
	ends = ends && c->phase != CONN_IDLE;
	if (!ends && !loose)
		return;
	now = sent_ns(sk);
	if (loose)
		touch_loose(inst, now);
	if (ends)
		conn_end(c, inst, now);
}

/* Cheapest first: a bare ACK has cost no call of a helper when it is let go. */
SEC("cgroup_skb/egress")
int hearth_egress(struct __sk_buff *skb)
{
	struct hearth_instance *inst;
	struct bpf_sock *sk = skb->sk;
	struct segment seg = {};
	struct conn *c;

	if (!sk || !parse_segment(skb, &seg) || !(seg.len || (seg.flags & TCP_FIN)))
		return 1;
	if (sk->state == TCP_LISTEN)
		return 1;
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c)
		return 1;
	inst = instance_of(c->slot, c->gen);
	if (inst)
		segment_out(skb, sk, &seg, c, inst);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
