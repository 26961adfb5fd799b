/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * HTTP/1 framing (RFC 9112): just enough of a message head to know where the
 * message ends. Reads at most HEAD_MAX bytes of one segment; a head that does
 * not end within is "not parsed" and the caller falls back to `direction`. It is
 * copied once, in windows that overlap by what a line needs: a copy from a packet
 * is the dearest step here. Names are looked for at line starts, eight bytes at a
 * time. The parsers are global functions, so that the verifier checks each once
 * and not per call: that is what keeps hearthd's start short.
 */
#ifndef HEARTH_HTTP1_H
#define HEARTH_HTTP1_H

#include "kernel.h"

#define HEAD_WINDOW 256
#define HEAD_STEP   (HEAD_WINDOW - 32) /* a line that matters needs 31 bytes from its start */
#define HEAD_CHUNKS 7
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
	HEAD_AGENT = 4, /* set by the caller: look for the User-Agent */
};

struct head {
	__u64 start[2]; /* its first 16 bytes */
	__u64 length;
	__u32 size;   /* bytes up to and with the empty line; 0: it did not end here */
	__u32 flags;  /* enum head_flag */
	__u32 agent;  /* where the User-Agent value is, from the start; 0: none */
	__u32 number; /* where in the window the value of Content-Length is; 0: none */
};

/* A part of a head. */
struct head_window {
	__u64 words[HEAD_WINDOW / 8];
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

static __always_inline bool is_method(__u64 w)
{
	__u32 w4 = (__u32)w;

	return w4 == ('G' | 'E' << 8 | 'T' << 16 | ' ' << 24) ||
	       w4 == ('P' | 'O' << 8 | 'S' << 16 | 'T' << 24) ||
	       w4 == ('H' | 'E' << 8 | 'A' << 16 | 'D' << 24) ||
	       w4 == ('P' | 'U' << 8 | 'T' << 16 | ' ' << 24) ||
	       w4 == ('D' | 'E' << 8 | 'L' << 16 | 'E' << 24) ||
	       w4 == ('P' | 'A' << 8 | 'T' << 16 | 'C' << 24) ||
	       w4 == ('O' | 'P' << 8 | 'T' << 16 | 'I' << 24) ||
	       w4 == ('T' | 'R' << 8 | 'A' << 16 | 'C' << 24);
}

static __always_inline bool is_answer(__u64 w)
{
	return (__u32)w == ('H' | 'T' << 8 | 'T' << 16 | 'P' << 24);
}

/* Bit 7 of each byte that is a newline. */
static __always_inline __u64 newlines(__u64 w)
{
	__u64 low = 0x7f7f7f7f7f7f7f7fULL, x = w ^ 0x0a0a0a0a0a0a0a0aULL;

	return ~(((x & low) + low) | x | low);
}

/* Which byte the lowest bit of newlines() is in. */
static __always_inline __u32 lowest_byte(__u64 bits)
{
	return ((bits & -bits) >> 7) * 0x0001020304050607ULL >> 56 & 7;
}

/* Eight bytes of the window, from anywhere in it. */
static __always_inline __u64 word_at(const struct head_window *win, __u32 at)
{
	return *(const __u64 *)((const char *)win->words + at);
}

/* Decimal value at `at` in the window; -1 if it is not a number we can use. */
__weak __noinline __s64 head_number(const struct head_window *win, __u32 at)
{
	__u64 value = 0;
	int i, digits = 0;

	if (!win || at > HEAD_WINDOW - 16)
		return -1;
	for (i = 0; i < 16; i++) {
		__u8 c = ((const __u8 *)win->words)[at + i];

		if ((c == ' ' || c == '\t') && !digits)
			continue;
		if (c < '0' || c > '9')
			return digits && (c == '\r' || c == '\n' || c == ' ') ? (__s64)value : -1;
		value = value * 10 + (c - '0');
		digits++;
	}
	return -1;
}

/* Does the line at `at` in the window matter? `base` is where the window is in the head. */
static __always_inline void head_line(const struct head_window *win, __u32 base, __u32 at,
				      struct head *head)
{
	__u64 name = word_at(win, at) | LOWER, more = word_at(win, at + 8) | LOWER;

	if (name == WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-')) {
		if (more << 8 == WORD(0, 'l', 'e', 'n', 'g', 't', 'h', ':'))
			head->number = at + 15;
	} else if (name == WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r')) {
		if (more == WORD('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n'))
			head->flags |= HEAD_CHUNKED;
	} else if (name == WORD('u', 's', 'e', 'r', '-', 'a', 'g', 'e')) {
		if (head->flags & HEAD_AGENT)
			head->agent = base + at + 12; /* "User-Agent: " */
	}
}

/* Look at every line that begins in the first HEAD_STEP bytes of the window, until one is empty. */
__weak __noinline int head_lines(const struct head_window *win, __u32 base, struct head *head)
{
	__u32 i, k, at;

	if (!win || !head)
		return 0;
	for (i = 0; i < HEAD_STEP / 8; i++) {
		__u64 bits = newlines(win->words[i]);

		for (k = 0; k < 8 && bits; k++, bits &= bits - 1) {
			at = i * 8 + lowest_byte(bits) + 1;
			if ((word_at(win, at) & 0xffff) == ('\r' | '\n' << 8)) {
				head->size = base + at + 2;
				return 0;
			}
			head_line(win, base, at, head);
		}
	}
	return 0;
}

/*
 * Parse the head that starts at `off` of a segment with `len` bytes there, 8 or
 * more. head->size stays 0 if the empty line is not among them, and everything but
 * head->start does if they are not HTTP/1.
 */
__weak __noinline int parse_head(struct __sk_buff *skb, __u32 off, __u32 len, struct head *head)
{
	struct head_window win;
	__u32 chunk;
	__s64 value;

	if (!head)
		return 0;
	for (chunk = 0; chunk < HEAD_CHUNKS; chunk++) {
		__u32 base = chunk * HEAD_STEP, n = len - base;

		if (base >= len)
			break;
		if (n > HEAD_WINDOW)
			n = HEAD_WINDOW;
		__builtin_memset(&win, 0, sizeof(win));
		/* hidden from clang, which would drop checks that 6.1's verifier needs */
		asm volatile("" : "+r"(n));
		if (n < 3 || n > HEAD_WINDOW || bpf_skb_load_bytes(skb, off + base, &win, n))
			break;
		if (!chunk) {
			head->start[0] = win.words[0];
			head->start[1] = win.words[1];
			if (!is_method(win.words[0]) && !is_answer(win.words[0]))
				break;
		}
		head_lines(&win, base, head);
		if (head->number) {
			value = head_number(&win, head->number);
			if (value >= 0) {
				head->length = value;
				head->flags |= HEAD_LENGTH;
			}
			head->number = 0;
		}
		if (head->size)
			break;
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
