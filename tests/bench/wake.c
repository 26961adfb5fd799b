/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a frozen instance costs its next client, on a keep-alive connection and
 * on a new one, against the same request to a warm instance in the same minute.
 *
 *	wake hearthd CGROUP SOCKET FUNCTION	a running hearthd freezes and wakes
 *	wake proxy CGROUP			a proxy in the path thaws on the first byte
 *	wake poll CGROUP			a poller looks at /proc/net/tcp every 10 ms
 *
 * The last two are what a user would build without kernel hooks.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "common.h"
#include "lib/cgroup.h"
#include "lib/clock.h"

#define ROUNDS  800
#define WAIT_NS (5 * NSEC_PER_SEC)
#define POLL_NS (10 * NSEC_PER_MSEC)

enum { KEEP_ALIVE, NEW_CONNECTION, KINDS };

/* One way to freeze and be woken; `warm` requests take the same path. */
static struct {
	struct bench_cgroup instance;
	uint16_t port[KINDS]; /* where clients connect */
	void (*freeze)(void);
	/* hearthd */
	int api;
	char freeze_request[256];
	/* proxy and poller */
	uint16_t backend[KINDS];
	_Atomic bool frozen;
	int command[2]; /* to the proxy and back */
} fx;

static void nap(uint64_t ns)
{
	const struct timespec ts = {.tv_nsec = (long)ns};

	nanosleep(&ts, NULL);
}

static void await_frozen(void)
{
	uint64_t deadline = now_ns() + WAIT_NS;

	while (cgroup_read_frozen(fx.instance.fd) != 1)
		if (now_ns() > deadline)
			die("the instance does not freeze");
}

/* ---- hearthd: POST .../freeze, again while it says "not now" */

static int api_connect(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("cannot connect to %s: %s", path, strerror(errno));
	return fd;
}

static int api_post(char *answer, size_t size)
{
	size_t len = strlen(fx.freeze_request), have = 0;
	const char *body, *field;
	ssize_t n;

	if (write(fx.api, fx.freeze_request, len) != (ssize_t)len)
		die("hearthd's API is gone");
	for (;;) {
		n = read(fx.api, answer + have, size - 1 - have);
		if (n <= 0)
			die("hearthd's API is gone");
		have += (size_t)n;
		answer[have] = '\0';
		body = strstr(answer, "\r\n\r\n");
		field = strcasestr(answer, "Content-Length:");
		if (body && field &&
		    have >= (size_t)(body + 4 - answer) + strtoul(field + 15, NULL, 10))
			return atoi(answer + 9);
	}
}

static void freeze_by_hearthd(void)
{
	uint64_t deadline = now_ns() + WAIT_NS;
	char answer[4096];

	while (api_post(answer, sizeof(answer)) != 200) {
		if (now_ns() > deadline)
			die("hearthd does not freeze: %s", answer);
		nap(NSEC_PER_MSEC);
	}
	await_frozen();
}

/* ---- a proxy in the path */

struct pair {
	int client;
	int server;
};

static void forward(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n <= 0 || write(to, buf, (size_t)n) != n) {
		shutdown(to, SHUT_RDWR);
		shutdown(from, SHUT_RDWR);
	}
}

static void unfreeze(void)
{
	if (fx.frozen) {
		thaw(&fx.instance);
		fx.frozen = false;
	}
}

static void proxy_connection(struct pair *p, short revents_client, short revents_server)
{
	char c;

	if (recv(p->client, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		close(p->client);
		close(p->server);
		*p = (struct pair){-1, -1};
		return;
	}
	if (revents_client) {
		unfreeze();
		forward(p->client, p->server);
	}
	if (revents_server)
		forward(p->server, p->client);
}

/* Two listeners, at most one connection through each, and a command to freeze. */
static void proxy(void *arg)
{
	const int *ends = arg;
	struct pair pairs[KINDS] = {{-1, -1}, {-1, -1}};
	int listeners[KINDS];
	uint16_t ports[KINDS];
	char command;

	for (int k = 0; k < KINDS; k++)
		listeners[k] = listen_local(&ports[k]);
	if (write(ends[1], ports, sizeof(ports)) != sizeof(ports))
		return;
	for (;;) {
		struct pollfd p[] = {{ends[0], POLLIN, 0},         {listeners[0], POLLIN, 0},
				     {listeners[1], POLLIN, 0},    {pairs[0].client, POLLIN, 0},
				     {pairs[0].server, POLLIN, 0}, {pairs[1].client, POLLIN, 0},
				     {pairs[1].server, POLLIN, 0}};

		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			return;
		if (p[0].revents) {
			if (read(ends[0], &command, 1) != 1)
				return;
			freeze_and_wait(&fx.instance);
			fx.frozen = true;
			if (write(ends[1], &command, 1) != 1)
				return;
		}
		for (int k = 0; k < KINDS; k++) {
			if (pairs[k].client >= 0)
				proxy_connection(&pairs[k], p[3 + 2 * k].revents,
						 p[4 + 2 * k].revents);
			if (pairs[k].client < 0 && p[1 + k].revents) {
				unfreeze();
				pairs[k].client = accept(listeners[k], NULL, NULL);
				pairs[k].server = connect_local(fx.backend[k]);
			}
		}
	}
}

static void start_proxy(const struct bench_cgroup *cg)
{
	int to[2], from[2], ends[2];

	if (pipe(to) < 0 || pipe(from) < 0)
		die("pipe: %s", strerror(errno));
	ends[0] = to[0];
	ends[1] = from[1];
	run_in(cg, proxy, ends);
	fx.command[0] = from[0];
	fx.command[1] = to[1];
	if (read(fx.command[0], fx.port, sizeof(fx.port)) != sizeof(fx.port))
		die("the proxy did not start");
}

static void freeze_by_proxy(void)
{
	char c = 'f';

	if (write(fx.command[1], &c, 1) != 1 || read(fx.command[0], &c, 1) != 1)
		die("the proxy is gone");
	await_frozen();
}

/* ---- a poller */

/* Bytes or connections wait on one of the backend's ports. */
static bool somebody_waits(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/net/tcp", "re");
	unsigned int port, state, rx;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %*d: %*x:%x %*x:%*x %x %*x:%x", &port, &state, &rx) != 3)
			continue;
		if ((port == fx.backend[0] || port == fx.backend[1]) && rx > 0)
			return true;
	}
	return false;
}

static void *poller(void *arg)
{
	(void)arg;
	for (;;) {
		if (fx.frozen && somebody_waits()) {
			fx.frozen = false;
			thaw(&fx.instance);
		}
		nap(POLL_NS);
	}
	return NULL;
}

static void freeze_for_poller(void)
{
	freeze_and_wait(&fx.instance);
	fx.frozen = true;
}

/* ---- measure */

static double timed_request(int kind, int connection)
{
	uint64_t start = now_ns();

	if (kind == NEW_CONNECTION)
		connection = connect_local(fx.port[kind]);
	request(connection);
	start = now_ns() - start;
	if (kind == NEW_CONNECTION)
		close(connection);
	return (double)start / 1e3;
}

static void measure(const char *variant)
{
	static const char *const kinds[KINDS] = {"keep-alive", "new connection"};
	static double warm[KINDS][ROUNDS], frozen[KINDS][ROUNDS];
	int connection = connect_local(fx.port[KEEP_ALIVE]);
	char name[64];

	request(connection);
	for (int i = 0; i < ROUNDS; i++) {
		for (int k = 0; k < KINDS; k++) {
			nap((uint64_t)(1 + rand() % 4) * NSEC_PER_MSEC);
			warm[k][i] = timed_request(k, connection);
			nap(NSEC_PER_MSEC); /* the server sees the connection's end */
			fx.freeze();
			nap((uint64_t)(1 + rand() % 4) * NSEC_PER_MSEC);
			if (cgroup_read_frozen(fx.instance.fd) != 1)
				die("thawed before the request; the figure is void");
			frozen[k][i] = timed_request(k, connection);
		}
	}
	for (int k = 0; k < KINDS; k++) {
		double w = quantile(warm[k], ROUNDS, 50), f = quantile(frozen[k], ROUNDS, 50);

		snprintf(name, sizeof(name), "%s, %s", variant, kinds[k]);
		emit("wake", name,
		     (struct figure[]){{"warm_p50_us", w},
				       {"warm_p99_us", quantile(warm[k], ROUNDS, 99)},
				       {"frozen_p50_us", f},
				       {"frozen_p99_us", quantile(frozen[k], ROUNDS, 99)},
				       {"added_p50_us", f - w}},
		     5);
	}
}

int main(int argc, char **argv)
{
	const char *variant = argc > 2 ? argv[1] : "";
	struct bench_cgroup other;
	pthread_t thread;

	if (argc < 3)
		die("usage: wake hearthd|proxy|poll CGROUP [SOCKET FUNCTION]");
	cgroups_begin(argv[2]);
	cgroup_make("1", &fx.instance);
	start_servers(&fx.instance, fx.backend, KINDS);
	memcpy(fx.port, fx.backend, sizeof(fx.port));
	if (strcmp(variant, "hearthd") == 0 && argc == 5) {
		fx.api = api_connect(argv[3]);
		snprintf(fx.freeze_request, sizeof(fx.freeze_request),
			 "POST /v1/functions/%s/freeze HTTP/1.1\r\nHost: hearth\r\n"
			 "Content-Length: 0\r\n\r\n",
			 argv[4]);
		fx.freeze = freeze_by_hearthd;
	} else if (strcmp(variant, "proxy") == 0) {
		cgroup_make("proxy", &other);
		start_proxy(&other);
		fx.freeze = freeze_by_proxy;
	} else if (strcmp(variant, "poll") == 0) {
		pthread_create(&thread, NULL, poller, NULL);
		fx.freeze = freeze_for_poller;
	} else {
		die("usage: wake hearthd|proxy|poll CGROUP [SOCKET FUNCTION]");
	}
	measure(variant);
	return 0;
}
