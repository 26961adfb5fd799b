/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel side's parser of HTTP/1 heads, run here on bytes in memory: table of
 * what it finds, and random heads of every length against a plain parser.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>
#include <linux/types.h>

#include "lib/util.h"

/* What bpf/kernel.h gives to programs. BPF loads a word from any address. */
#define HEARTH_KERNEL_H
#undef __always_inline
#define __always_inline inline __attribute__((no_sanitize("alignment")))
#define __noinline      static __attribute__((noinline, no_sanitize("alignment")))
#define __weak

struct __sk_buff {
	__u32 len;
	const char *bytes;
};

static unsigned copies; /* of bytes out of a packet */

static long bpf_skb_load_bytes(const struct __sk_buff *skb, __u32 off, void *to, __u32 n)
{
	if (off > skb->len || n > skb->len - off)
		return -EFAULT;
	memcpy(to, skb->bytes + off, n);
	copies++;
	return 0;
}

#include "../../bpf/http1.h"

#define BEFORE 40 /* bytes of other headers before the payload */
#define ROOM   4096

static struct head parsed(const char *text, size_t len, __u32 flags)
{
	struct head head = {.flags = flags};
	/* exactly as long as it is, so that a byte too many is found */
	char *packet = malloc(BEFORE + len);
	struct __sk_buff skb = {.len = BEFORE + len, .bytes = packet};

	assert_non_null(packet);
	memset(packet, '\n', BEFORE);
	memcpy(packet + BEFORE, text, len);
	parse_head(&skb, BEFORE, len, &head);
	free(packet);
	return head;
}

static void heads_are_understood(void **state)
{
	static const struct {
		const char *text;
		__u32 beyond; /* bytes after the head */
		__u32 flags;
		__u64 length;
	} cases[] = {
	    {"GET / HTTP/1.1\r\n\r\n", 0, 0, 0},
	    {"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /", 5, 0, 0},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n", 6, HEAD_LENGTH, 6},
	    {"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", 0, HEAD_LENGTH, 0},
	    {"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: \t 12345678901\r\n\r\n", 0, HEAD_LENGTH,
	     12345678901},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", 0, 0, 0},
	    {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, 0, 0},
	    {"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", 0, 0, 0},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 12345678901234567890\r\n\r\n", 0, 0, 0},
	    {"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Language: 7\r\n\r\n", 0, 0, 0},
	    {"HTTP/1.1 200 OK\r\nX-Content-Length: 7\r\n\r\n", 0, 0, 0},
	    {"HTTP/1.1 200 OK\r\n\vContent-Length: 7\r\n\r\n", 0, 0, 0},
	    {"HTTP/1.1 200 OK\r\na:\r\nb:\r\nContent-Length: 7\r\nc:\r\n\r\n", 0, HEAD_LENGTH, 7},
	    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5, HEAD_CHUNKED, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].text);
		struct head head = parsed(cases[i].text, len, 0);

		assert_int_equal(head.size, len - cases[i].beyond);
		assert_int_equal(head.flags, cases[i].flags);
		assert_int_equal(head.length, cases[i].length);
		assert_int_equal(head.agent, 0);
	}
}

static void what_is_no_head_is_let_alone(void **state)
{
	static const char *const texts[] = {
	    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	    "\x16\x03\x01\x02\x10\x01\x02\x02\r\n\r\n",
	    "BREW / HTTP/1.1\r\nContent-Length: 6\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct head head = parsed(texts[i], strlen(texts[i]), 0);

		assert_int_equal(head.size, 0);
		assert_int_equal(head.flags, 0);
		assert_memory_equal(head.start, texts[i], sizeof(head.start));
	}
}

/* A copy is the dearest step: one for what fits into a window, and none for a look at the start. */
static void short_head_is_copied_once(void **state)
{
	static const char text[] = "POST / HTTP/1.1\r\nHost: x\r\nUser-Agent: probe\r\n"
				   "Content-Length: 6\r\n\r\nhello\n";
	struct head head;

	(void)state;
	copies = 0;
	head = parsed(text, sizeof(text) - 1, HEAD_AGENT);
	assert_int_equal(copies, 1);
	assert_int_equal(head.length, 6);
	assert_memory_equal(text + head.agent, "probe", 5);
}

/* ---- against a plain parser */

struct plain {
	__u32 size;
	__u32 flags;
	__u64 length;
	__u32 agent;
};

static bool has_name(const char *line, size_t left, const char *name)
{
	return left >= strlen(name) && strncasecmp(line, name, strlen(name)) == 0;
}

static struct plain plainly(const char *text, size_t len)
{
	struct plain out = {0};

	for (size_t i = 0; i < len && i < HEAD_MAX; i++) {
		const char *line = text + i + 1;
		size_t left = len - i - 1;

		if (text[i] != '\n')
			continue;
		if (left >= 2 && line[0] == '\r' && line[1] == '\n') {
			out.size = i + 3;
			return out;
		}
		if (has_name(line, left, "content-length:") && memchr(line, '\r', left)) {
			out.flags |= HEAD_LENGTH;
			out.length = strtoull(line + 15, NULL, 10);
		}
		if (has_name(line, left, "transfer-encodin"))
			out.flags |= HEAD_CHUNKED;
		if (has_name(line, left, "user-age"))
			out.agent = i + 13;
	}
	return out;
}

static unsigned random_state;

static unsigned draw(unsigned below)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % below;
}

/* Names that matter, once each; others that nearly do; and lines of nothing but letters. */
static size_t random_head(char *text)
{
	static const char *const near[] = {"Content-Type: x", "Transfer: 1", "User: me", "\v", "",
					   "Content-Length"};
	unsigned lines = draw(40), number = draw(lines + 1), agent = draw(lines + 1),
		 encoding = draw(2 * lines + 1);
	size_t len = (size_t)sprintf(text, draw(2) ? "GET / HTTP/1.1\r\n" : "HTTP/1.1 200 OK\r\n");

	for (unsigned i = 0; i < lines; i++) {
		if (i == number)
			len += (size_t)sprintf(text + len, "Content-Length: %u\r\n", draw(1000000));
		else if (i == agent)
			len += (size_t)sprintf(text + len, "uSER-aGENT: curl\r\n");
		else if (i == encoding)
			len += (size_t)sprintf(text + len, "Transfer-Encoding: chunked\r\n");
		else if (draw(3) == 0)
			len += (size_t)sprintf(text + len, "%s\n", near[draw(ARRAY_SIZE(near))]);
		else
			len += (size_t)sprintf(text + len, "X-%0*u: y\r\n", (int)draw(90) + 1, i);
	}
	len += (size_t)sprintf(text + len, "\r\n");
	for (unsigned rest = draw(20); rest > 0; rest--)
		text[len++] = "\r\nab"[draw(4)];
	return len;
}

static void random_heads_are_as_a_plain_parser_finds(void **state)
{
	unsigned ended = 0, cut = 0;
	char text[ROOM * 2];

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		size_t len = random_head(text);
		struct plain plain;
		struct head head;

		if (draw(2))
			len = 8 + draw((unsigned)len - 7); /* the rest is in a later segment */
		plain = plainly(text, len);
		head = parsed(text, len, HEAD_AGENT);
		assert_int_equal(head.size, plain.size);
		if (!plain.size) { /* what a half head says is not looked at */
			cut++;
			continue;
		}
		ended++;
		assert_int_equal(head.flags & ~HEAD_AGENT, plain.flags);
		assert_int_equal(head.length, plain.length);
		assert_int_equal(head.agent, plain.agent);
	}
	assert_true(ended > 2000);
	assert_true(cut > 2000);
}

/* Every place of the empty line, the edges of windows among them; one byte less is no end. */
static void empty_line_is_found_anywhere(void **state)
{
	char text[ROOM];

	(void)state;
	for (size_t len = 21; len <= HEAD_MAX + 2; len++) {
		memset(text, 'x', sizeof(text));
		memcpy(text, "GET / HTTP/1.1\r\n", 16);
		memcpy(text + len - 4, "\r\n\r\n", 4);
		assert_int_equal(parsed(text, len, 0).size, len);
		assert_int_equal(parsed(text, len - 1, 0).size, 0);
	}
	memset(text, 'x', sizeof(text));
	memcpy(text, "GET / HTTP/1.1\r\n", 16);
	memcpy(text + HEAD_MAX, "\n\r\n", 3);
	assert_int_equal(parsed(text, HEAD_MAX + 3, 0).size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(heads_are_understood),
	    cmocka_unit_test(what_is_no_head_is_let_alone),
	    cmocka_unit_test(short_head_is_copied_once),
	    cmocka_unit_test(random_heads_are_as_a_plain_parser_finds),
	    cmocka_unit_test(empty_line_is_found_anywhere),
	};

	return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
