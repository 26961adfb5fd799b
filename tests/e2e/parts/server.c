/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The server that the end-to-end tests observe. It listens on TCP v4, TCP v6
 * and, when asked, AF_UNIX and UDP, one thread per connection, and says
 * "ready tcp4=PORT tcp6=PORT udp=PORT" when all of them listen.
 * Commands on stdin: "accept" (with --accept-later), "release N". The end of
 * stdin ends the process, so no server outlives its test.
 */
#include <arpa/inet.h>
#include <err.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn.h"
#include "gate.h"

enum { BACKLOG = 512 };

static pthread_mutex_t accept_lock = PTHREAD_MUTEX_INITIALIZER;

static void start(void *(*run)(void *), int arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	rc = pthread_create(&thread, &attr, run, (void *)(intptr_t)arg);
	if (rc != 0)
		errx(1, "thread: %s", strerror(rc));
	pthread_attr_destroy(&attr);
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;

	conn_serve(fd);
	close(fd);
	return NULL;
}

static void *accept_loop(void *arg)
{
	/* held by main until "accept": connections then queue in the listener */
	pthread_mutex_lock(&accept_lock);
	pthread_mutex_unlock(&accept_lock);
	for (;;) {
		int fd = accept4((int)(intptr_t)arg, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			start(serve, fd);
	}
	return NULL;
}

static void *udp_loop(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct sockaddr_storage from;
	char buf[2048];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	return NULL;
}

static void *park(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static int bound(int family, int type, struct sockaddr *addr, socklen_t len)
{
	int one = 1, fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, addr, len) < 0)
		err(1, "bind");
	if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
		err(1, "listen");
	return fd;
}

static int bound_inet(int family, int type, int *port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
	struct sockaddr *addr = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = bound(family, type, addr, len);

	if (getsockname(fd, addr, &len) < 0)
		err(1, "getsockname");
	*port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
	return fd;
}

static int bound_unix(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path))
		errx(2, "%s: path too long for a Unix socket", path);
	strcpy(addr.sun_path, path);
	return bound(AF_UNIX, SOCK_STREAM, (struct sockaddr *)&addr, sizeof(addr));
}

static void command(const char *line)
{
	int n;

	if (strcmp(line, "accept\n") == 0)
		pthread_mutex_unlock(&accept_lock);
	else if (sscanf(line, "release %d", &n) == 1)
		gate_release(n);
	else
		errx(2, "unknown command: %s", line);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"unix", required_argument, NULL, 'u'},    {"fd", required_argument, NULL, 'f'},
	    {"threads", required_argument, NULL, 't'}, {"accept-later", no_argument, NULL, 'a'},
	    {"udp", no_argument, NULL, 'd'},           {0},
	};
	int opt, tcp4, tcp6, port4, port6, port_udp = 0;
	char line[64];
	bool later = false;

	signal(SIGPIPE, SIG_IGN);
	pthread_mutex_lock(&accept_lock);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'u')
			start(accept_loop, bound_unix(optarg));
		else if (opt == 'f')
			start(accept_loop, atoi(optarg));
		else if (opt == 't')
			for (int i = 0; i < atoi(optarg); i++)
				start(park, 0);
		else if (opt == 'a')
			later = true;
		else if (opt == 'd')
			start(udp_loop, bound_inet(AF_INET, SOCK_DGRAM, &port_udp));
		else
			return 2;
	}
	tcp4 = bound_inet(AF_INET, SOCK_STREAM, &port4);
	tcp6 = bound_inet(AF_INET6, SOCK_STREAM, &port6);
	start(accept_loop, tcp4);
	start(accept_loop, tcp6);
	if (!later)
		pthread_mutex_unlock(&accept_lock);
	gate_say("ready tcp4=%d tcp6=%d udp=%d", port4, port6, port_udp);
	while (fgets(line, sizeof(line), stdin))
		command(line);
	return 0;
}
