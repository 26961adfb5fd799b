/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet at the cgroup hooks: IP header first, no link layer. Finds the TCP
 * segment in it on IPv4 and IPv6 with extension headers.
 */
#ifndef HEARTH_SEGMENT_H
#define HEARTH_SEGMENT_H

#include "kernel.h"

struct segment {
	__u32 payload; /* offset of the payload */
	__u32 len;     /* bytes of it */
	__u32 seq;
	__u16 port; /* source, host order */
	__u8 flags; /* TCP flags byte */
};

#define TCP_FIN 1
#define TCP_SYN 2

#define IPV6_EXT_MAX 6

static __always_inline bool after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* Offset of the transport header and its protocol; 0 if it is not for us. */
static __always_inline __u32 transport(struct __sk_buff *skb, __u8 *protocol)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u8 *p = data;
	__u32 off;
	int i;

	if (data + 40 > end)
		return data + 28 <= end && (p[0] >> 4) == 4 ? (*protocol = p[9], (p[0] & 15) * 4)
							    : 0;
	if ((p[0] >> 4) == 4) {
		*protocol = p[9];
		return (p[0] & 15) * 4;
	}
	*protocol = p[6];
	off = 40;
	for (i = 0; i < IPV6_EXT_MAX; i++) {
		__u8 ext[2];

		/* Hop-by-hop, routing and destination options; fragments are not sockets' business.
		 */
		if (*protocol != 0 && *protocol != 43 && *protocol != 60)
			break;
		if (bpf_skb_load_bytes(skb, off, ext, 2))
			return 0;
		*protocol = ext[0];
		off += (ext[1] + 1) * 8;
	}
	return off;
}

/* False: it is none, or not to be read. */
static __always_inline bool parse_segment(struct __sk_buff *skb, struct segment *seg)
{
	__u8 protocol = 0, copy[20], *p = copy;
	__u32 off = transport(skb, &protocol);
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (off < 20 || off > 512 || protocol != IPPROTO_TCP)
		return false;
	if (data + off + sizeof(copy) <= end)
		p = data + off;
	else if (bpf_skb_load_bytes(skb, off, copy, sizeof(copy)))
		return false;
	seg->port = (__u16)p[0] << 8 | p[1];
	seg->seq = (__u32)p[4] << 24 | (__u32)p[5] << 16 | (__u32)p[6] << 8 | p[7];
	seg->payload = off + (p[12] >> 4) * 4;
	seg->flags = p[13];
	seg->len = skb->len > seg->payload ? skb->len - seg->payload : 0;
	return true;
}

#endif
