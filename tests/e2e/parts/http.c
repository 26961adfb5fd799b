/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * HTTP/1 behaviours of the test server, one function per path. Every path
 * takes the query "hold": it then waits at the gate before it answers.
 * A behaviour returns 0 to keep the connection and -1 to end it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "gate.h"

extern char **environ;
static atomic_bool burning;

static long query_number(const struct request *r, const char *key, long fallback)
{
	const char *p = strstr(r->query, key);
	size_t n = strlen(key);

	return p && p[n] == '=' ? atol(p + n + 1) : fallback;
}

static int answer(struct conn *c, const char *body)
{
	return conn_print(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
			  body);
}

static int run_plain(struct conn *c, const struct request *r)
{
	if (strcmp(r->method, "HEAD") == 0)
		return conn_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	return answer(c, "hello\n");
}

static int run_204(struct conn *c, const struct request *r)
{
	(void)r;
	return conn_print(c, "HTTP/1.1 204 No Content\r\n\r\n");
}

/* A 304 carries the length the body would have had, and no body. */
static int run_304(struct conn *c, const struct request *r)
{
	(void)r;
	return conn_print(c, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n");
}

static int run_gap_length(struct conn *c, const struct request *r)
{
	(void)r;
	if (conn_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345") < 0)
		return -1;
	gate_wait("gap");
	return conn_print(c, "67890");
}

/* Gaps after the header, between chunks and inside the terminator. */
static int run_gap_chunked(struct conn *c, const struct request *r)
{
	static const char *const parts[] = {
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "5\r\nhello\r\n",
	    "5\r\n0\r\n\r\n\r\n0\r", /* a chunk that holds what looks like the terminator */
	    "\n\r\n",
	};

	(void)r;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (i > 0)
			gate_wait("gap");
		if (conn_print(c, "%s", parts[i]) < 0)
			return -1;
	}
	return 0;
}

/* A head longer than any hook reads, then a gap before the body. */
static int run_gap_long_head(struct conn *c, const struct request *r)
{
	char head[3000] = "HTTP/1.1 200 OK\r\nSet-Cookie: ";
	static const char end[] = "\r\nContent-Length: 5\r\n\r\n";
	size_t at = strlen(head);

	(void)r;
	memset(head + at, 'c', sizeof(head) - at);
	memcpy(head + sizeof(head) - sizeof(end) + 1, end, sizeof(end) - 1);
	if (conn_send(c, head, sizeof(head)) < 0)
		return -1;
	gate_wait("gap");
	return conn_print(c, "hello");
}

/* The last chunk is followed by a trailer, so the stream does not end as usual. */
static int run_trailers(struct conn *c, const struct request *r)
{
	(void)r;
	return conn_print(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "5\r\nhello\r\n0\r\nDigest: none\r\n\r\n");
}

static int run_until_close(struct conn *c, const struct request *r)
{
	(void)r;
	if (conn_print(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nfirst") < 0)
		return -1;
	gate_wait("gap");
	conn_print(c, "last");
	return -1;
}

static int run_large(struct conn *c, const struct request *r)
{
	static char block[65536];
	long left = query_number(r, "bytes", 20000000);

	if (conn_print(c, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", left) < 0)
		return -1;
	while (left > 0) {
		size_t n = left < (long)sizeof(block) ? (size_t)left : sizeof(block);

		if (conn_send(c, block, n) < 0)
			return -1;
		left -= (long)n;
	}
	return 0;
}

static int run_upload(struct conn *c, const struct request *r)
{
	char body[64];

	snprintf(body, sizeof(body), "%zu\n", r->content_length);
	return answer(c, body);
}

static int run_noreply(struct conn *c, const struct request *r)
{
	(void)c;
	(void)r;
	return -1;
}

static int run_events(struct conn *c, const struct request *r)
{
	long n = query_number(r, "events", 3);

	if (conn_print(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n") < 0)
		return -1;
	for (long i = 0; i < n; i++) {
		gate_wait("event");
		if (conn_print(c, "data: %ld\n\n", i) < 0)
			return -1;
	}
	return -1;
}

/* After the upgrade every byte comes back; frames are of no interest here. */
static int run_websocket(struct conn *c, const struct request *r)
{
	(void)r;
	if (conn_print(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			  "Connection: Upgrade\r\n\r\n") < 0)
		return -1;
	do {
		if (conn_send(c, c->buf, c->len) < 0)
			return -1;
		c->len = 0;
	} while (conn_fill(c) > 0);
	return -1;
}

static int dial(long port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Asks a "database" on an outbound connection before it answers. */
static int run_outbound(struct conn *c, const struct request *r)
{
	char reply[64];
	int fd = dial(query_number(r, "port", 0));
	ssize_t n = -1;

	if (fd >= 0 && send(fd, "query\n", 6, MSG_NOSIGNAL) == 6)
		n = recv(fd, reply, sizeof(reply), 0);
	if (fd >= 0)
		close(fd);
	return n > 0 ? answer(c, "row\n") : -1;
}

static void *read_pushed(void *arg)
{
	char buf[4096];
	int fd = (int)(intptr_t)arg;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		gate_say("pushed %zd", n);
	close(fd);
	return NULL;
}

/* Leaves an outbound connection open, on which the other side pushes data. */
static int run_subscribe(struct conn *c, const struct request *r)
{
	pthread_t thread;
	int fd = dial(query_number(r, "port", 0));

	if (fd < 0 || pthread_create(&thread, NULL, read_pushed, (void *)(intptr_t)fd) != 0)
		return -1;
	pthread_detach(thread);
	return answer(c, "subscribed\n");
}

/* Executes programs inside the request: they are part of it. */
static int run_exec(struct conn *c, const struct request *r)
{
	char *argv[] = {"true", NULL};
	long n = query_number(r, "n", 3);

	for (long i = 0; i < n; i++) {
		pid_t pid;

		if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) != 0)
			return -1;
		waitpid(pid, NULL, 0);
	}
	gate_wait("executed");
	return answer(c, "executed\n");
}

static void *burn(void *arg)
{
	while (atomic_load(&burning))
		;
	return arg;
}

/* Goes on computing after the answer, until "/calm". */
static int run_burn(struct conn *c, const struct request *r)
{
	pthread_t thread;

	(void)r;
	if (!atomic_exchange(&burning, true)) {
		if (pthread_create(&thread, NULL, burn, NULL) != 0)
			return -1;
		pthread_detach(thread);
	}
	return answer(c, "burning\n");
}

static int run_calm(struct conn *c, const struct request *r)
{
	(void)r;
	atomic_store(&burning, false);
	return answer(c, "calm\n");
}

static unsigned char *kept;
static size_t kept_bytes;

/*
 * Keeps mb megabytes from now on, of text that compresses to nothing or, with
 * random=1, of noise; with every=4, of one word of noise in four, as heaps are.
 */
static int run_keep(struct conn *c, const struct request *r)
{
	size_t period = (size_t)query_number(r, "every", 1) * sizeof(uint64_t), i;
	bool noise = query_number(r, "random", 0);
	uint64_t x = 88172645463325252, word;

	free(kept);
	kept_bytes = (size_t)query_number(r, "mb", 64) << 20;
	kept = malloc(kept_bytes);
	if (!kept)
		return -1;
	for (i = 0; i < kept_bytes; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (!noise)
			x &= 0xff00000000000000 | i; /* few values, many zeros */
		word = i % period ? i >> 12 : x;
		memcpy(kept + i, &word, sizeof(word));
	}
	return answer(c, "kept\n");
}

/*
 * Touches the first share % of what it keeps, one byte in step (by default, of each
 * page), and with write=0 only reads it; says how many us that took.
 */
static int run_touch(struct conn *c, const struct request *r)
{
	size_t end = kept_bytes / 100 * (size_t)query_number(r, "share", 100), i;
	size_t step = (size_t)query_number(r, "step", 4096);
	bool write = query_number(r, "write", 1);
	struct timespec from, to;
	unsigned int sum = 0;
	char body[64];

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < end; i += step)
		sum += write ? kept[i]++ : kept[i];
	clock_gettime(CLOCK_MONOTONIC, &to);
	snprintf(body, sizeof(body), "%ld %u\n",
		 (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000, sum);
	return answer(c, body);
}

static const struct route {
	const char *path;
	int (*run)(struct conn *c, const struct request *r);
} routes[] = {
    {"/", run_plain},
    {"/204", run_204},
    {"/304", run_304},
    {"/gap-length", run_gap_length},
    {"/gap-chunked", run_gap_chunked},
    {"/gap-long-head", run_gap_long_head},
    {"/trailers", run_trailers},
    {"/until-close", run_until_close},
    {"/large", run_large},
    {"/upload", run_upload},
    {"/noreply", run_noreply},
    {"/events", run_events},
    {"/websocket", run_websocket},
    {"/outbound", run_outbound},
    {"/subscribe", run_subscribe},
    {"/exec", run_exec},
    {"/burn", run_burn},
    {"/calm", run_calm},
    {"/keep", run_keep},
    {"/touch", run_touch},
};

static bool header(const char *line, const char *name, const char **value)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	*value = line + n + 1 + strspn(line + n + 1, " ");
	return true;
}

/* head is the NUL-terminated request head. 0, or -1 if it is none. */
static int parse(const char *head, struct request *r)
{
	char target[512], version[16];
	const char *line = strstr(head, "\r\n"), *value;
	char *mark;

	*r = (struct request){0};
	if (!line || sscanf(head, "%15s %511s %15s", r->method, target, version) != 3)
		return -1;
	mark = strchr(target, '?');
	if (mark) {
		*mark = '\0';
		snprintf(r->query, sizeof(r->query), "%.255s", mark + 1);
	}
	snprintf(r->path, sizeof(r->path), "%.255s", target);
	r->keep_alive = strcmp(version, "HTTP/1.1") == 0;
	for (; line[2] != '\r' && line[2] != '\0'; line = strstr(line + 2, "\r\n")) {
		if (header(line + 2, "Content-Length", &value))
			r->content_length = strtoul(value, NULL, 10);
		else if (header(line + 2, "Transfer-Encoding", &value))
			r->chunked = true;
		else if (header(line + 2, "Expect", &value))
			r->expect_continue = true;
		else if (header(line + 2, "Connection", &value) && !strncasecmp(value, "close", 5))
			r->keep_alive = false;
	}
	return 0;
}

static int read_head(struct conn *c, struct request *r)
{
	char *end;

	while (!(end = memmem(c->buf, c->len, "\r\n\r\n", 4)))
		if (conn_fill(c) <= 0)
			return -1;
	end[2] = '\0';
	if (parse(c->buf, r) < 0)
		return -1;
	conn_consume(c, (size_t)(end - c->buf) + 4);
	return 0;
}

/* To the last chunk; the tests' chunks never contain its mark. */
static int read_chunks(struct conn *c)
{
	char *end;

	while (!(end = memmem(c->buf, c->len, "0\r\n\r\n", 5)))
		if (conn_fill(c) <= 0)
			return -1;
	conn_consume(c, (size_t)(end - c->buf) + 5);
	return 0;
}

static int read_body(struct conn *c, const struct request *r)
{
	size_t left = r->content_length;

	if (r->chunked)
		return read_chunks(c);

	if (r->expect_continue && conn_print(c, "HTTP/1.1 100 Continue\r\n\r\n") < 0)
		return -1;
	while (left > 0) {
		size_t n = c->len < left ? c->len : left;

		conn_consume(c, n);
		left -= n;
		if (left > 0 && conn_fill(c) <= 0)
			return -1;
	}
	return 0;
}

void http_serve(struct conn *c)
{
	struct request r;

	while (read_head(c, &r) == 0 && read_body(c, &r) == 0) {
		const struct route *found = NULL;

		for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
			if (strcmp(routes[i].path, r.path) == 0)
				found = &routes[i];
		if (strstr(r.query, "hold"))
			gate_wait(r.path);
		if (!found) {
			conn_print(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
			return;
		}
		if (found->run(c, &r) < 0 || !r.keep_alive)
			return;
	}
}
