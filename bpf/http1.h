/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * HTTP/1 framing (RFC 9112): just enough of a message head to know where the
 * message ends. Reads at most HEAD_MAX bytes of one segment; a head that does
 * not end within is "not parsed" and the caller falls back to `direction`.
 * Names are looked for at line starts, eight bytes at a time. The parsers are
 * global functions, so that the verifier checks each once and not per call: that
 * is what keeps hearthd's start short.
 */
#ifndef HEARTH_HTTP1_H
#define HEARTH_HTTP1_H

#include "kernel.h"

#define HEAD_WINDOW 256
#define HEAD_STEP   (HEAD_WINDOW - 16) /* a line start needs 9 bytes after it */
#define HEAD_CHUNKS 6
#define HEAD_MAX    (HEAD_CHUNKS * HEAD_STEP)

/* Eight lower-case characters as the little-endian word they load as. */
#define WORD(a, b, c, d, e, f, g, h)                                                               \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 |   \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)
#define LOWER 0x2020202020202020ULL

/* A longer body cannot be followed by 32-bit sequence numbers. */
#define LENGTH_MAX 0x70000000

enum head_flag {
	HEAD_LENGTH = 1, /* Content-Length was there */
	HEAD_CHUNKED = 2,
};

struct head {
	__u32 size;  /* bytes up to and with the empty line; 0: it did not end here */
	__u32 flags; /* enum head_flag */
	__u64 length;
	__u32 agent; /* offset of the User-Agent value; 0: none */
};

/* Load up to eight bytes; the missing ones stay zero. */
static __always_inline __u64 load_word(const struct __sk_buff *skb, __u32 off, __u32 len)
{
	__u64 w = 0;

	if (len >= 8)
		bpf_skb_load_bytes(skb, off, &w, 8);
	return w;
}

/* Load what the segment has of `size` bytes at `off`; the rest stays zero. */
static __always_inline bool load_some(const struct __sk_buff *skb, __u32 off, void *to, __u32 size)
{
	__u32 n = skb->len - off;

	if (off >= skb->len)
		return false;
	if (n >= size)
		return !bpf_skb_load_bytes(skb, off, to, size);
	/* 1 to 15 in any case (size is 16 at most), hidden from clang, for 6.1's verifier to see */
	asm volatile("" : "+r"(n));
	n = ((n - 1) & 15) + 1;
	return !bpf_skb_load_bytes(skb, off, to, n);
}

/* Decimal value of a header at `off`; -1 if it is not a number we can use. */
static __always_inline __s64 load_decimal(const struct __sk_buff *skb, __u32 off)
{
	char buf[16] = {};
	__u64 value = 0;
	int i, digits = 0;

	if (!load_some(skb, off, buf, sizeof(buf)))
		return -1;
	for (i = 0; i < (int)sizeof(buf); i++) {
		__u8 c = buf[i];

		if ((c == ' ' || c == '\t') && !digits)
			continue;
		if (c < '0' || c > '9')
			return digits && (c == '\r' || c == '\n' || c == ' ') ? (__s64)value : -1;
		value = value * 10 + (c - '0');
		digits++;
	}
	return -1;
}

/* A header line that may matter starts at `off`. */
__weak __noinline int head_line(struct __sk_buff *skb, __u32 off, struct head *head)
{
	__u64 w[2] = {};
	__s64 value;

	if (!head || bpf_skb_load_bytes(skb, off, w, sizeof(w)))
		return 0;
	w[0] |= LOWER;
	w[1] |= LOWER;
	if (w[0] == WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-')) {
		if (w[1] << 8 != WORD(0, 'l', 'e', 'n', 'g', 't', 'h', ':'))
			return 0;
		value = load_decimal(skb, off + 15);
		if (value >= 0) {
			head->length = value;
			head->flags |= HEAD_LENGTH;
		}
	} else if (w[0] == WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r')) {
		if (w[1] == WORD('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n'))
			head->flags |= HEAD_CHUNKED;
	} else if (w[0] == WORD('u', 's', 'e', 'r', '-', 'a', 'g', 'e')) {
		head->agent = off + 12; /* "User-Agent: " */
	}
	return 0;
}

#define EMPTY_LINE 0x100

/*
 * Where in the first of three words the line begins that follows a newline in
 * it and matters; with EMPTY_LINE, where the head ends; 0: nothing here. A line
 * that matters is longer than a word, so there is one at most.
 */
__weak __noinline int head_word(__u64 first, __u64 second, __u64 third)
{
	__u32 k;

#pragma unroll
	for (k = 0; k < 8; k++) {
		__u64 w = k < 7 ? first >> 8 * (k + 1) | second << (56 - 8 * k) : second;
		__u64 next = k < 7 ? second >> 8 * (k + 1) : third;

		if ((first >> 8 * k & 0xff) != '\n')
			continue;
		if ((w & 0xffff) == ('\r' | '\n' << 8))
			return (k + 3) | EMPTY_LINE;
		w |= LOWER;
		/* Content-Type and its like are no business of ours. */
		if ((w == WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
		     ((next & 0xff) | ' ') == 'l') ||
		    w == WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') ||
		    w == WORD('u', 's', 'e', 'r', '-', 'a', 'g', 'e'))
			return k + 1;
	}
	return 0;
}

/*
 * Parse the head that starts at `off` of a segment with `len` bytes there.
 * head->size stays 0 if the empty line is not among them.
 */
__weak __noinline int parse_head(struct __sk_buff *skb, __u32 off, __u32 len, struct head *head)
{
	__u32 chunk, i, at;
	__u64 window[HEAD_WINDOW / 8 + 1];

	if (!head)
		return 0;
	for (chunk = 0; chunk < HEAD_CHUNKS; chunk++) {
		__u32 base = chunk * HEAD_STEP, n = HEAD_WINDOW;

		if (base >= len)
			break;
		if (n > len - base)
			n = len - base;
		__builtin_memset(window, 0, sizeof(window));
		if (n < 4 || n > HEAD_WINDOW || bpf_skb_load_bytes(skb, off + base, window, n))
			break;
		for (i = 0; i < HEAD_STEP / 8; i++) {
			__u64 w = window[i] ^ 0x0a0a0a0a0a0a0a0aULL;

			/* Most words have no newline in them. */
			if (!((w - 0x0101010101010101ULL) & ~w & 0x8080808080808080ULL))
				continue;
			at = head_word(window[i], window[i + 1], window[i + 2]);
			if (at & EMPTY_LINE) {
				head->size = base + i * 8 + (at & ~EMPTY_LINE);
				return 0;
			}
			if (at)
				head_line(skb, off + base + i * 8 + at, head);
		}
	}
	return 0;
}

/*
 * Does the stream end with the last chunk, "\r\n0\r\n\r\n"? `tail` rolls over
 * segments, so the mark may be split. A chunk whose data ends a segment with
 * exactly these bytes would be taken for the end; the bytes that follow then
 * count as unparsed, which holds the instance for idle_grace.
 */
static __always_inline bool last_chunk(struct __sk_buff *skb, __u32 off, __u32 len, __u64 *tail)
{
	__u64 last = 0;

	if (len >= 8) {
		if (bpf_skb_load_bytes(skb, off + len - 8, &last, 8))
			return false;
		*tail = last;
	} else if (len) {
		__u32 i;

		for (i = 0; i < 8; i++) {
			__u8 c;

			if (i >= len || bpf_skb_load_bytes(skb, off + i, &c, 1))
				break;
			*tail = *tail >> 8 | (__u64)c << 56;
		}
	}
	return *tail >> 8 == WORD('\r', '\n', '0', '\r', '\n', '\r', '\n', 0);
}

#endif
