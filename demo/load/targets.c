/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The targets file: one function a line,
 *   NAME PORT|SOCKET keepalive|new ROW CGROUP
 * where ROW counts the rows of the trace from 0 and CGROUP is the directory of
 * the function's instance.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define BODY                                                                                       \
	"{\"user\":\"ada\",\"items\":[3,1,4,1,5,9,2,6],\"text\":\"the hearth keeps the house "     \
	"warm while nobody asks for bread and wakes when somebody does\"}"

static void make_request(struct target *t)
{
	int n = asprintf(&t->request,
			 "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\n%s\r\n%s",
			 strlen(BODY), t->keep_alive ? "" : "Connection: close\r\n", BODY);

	if (n < 0)
		err(1, "request");
	t->request_len = (size_t)n;
}

static void set_address(struct target *t, const char *where)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&t->addr;

	if (strchr(where, '/')) {
		snprintf(t->path, sizeof(t->path), "%s", where);
		return;
	}
	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)atoi(where));
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void read_target(struct target *t, const char *line, const char *file, size_t number)
{
	char where[108], mode[16], cgroup[512], events[600];

	*t = (struct target){0};
	if (sscanf(line, "%63s %107s %15s %u %511s", t->name, where, mode, &t->row, cgroup) != 5)
		errx(2, "%s:%zu: expected NAME PORT|SOCKET keepalive|new ROW CGROUP", file, number);
	t->keep_alive = strcmp(mode, "keepalive") == 0;
	if (!t->keep_alive && strcmp(mode, "new") != 0)
		errx(2, "%s:%zu: %s: expected keepalive or new", file, number, mode);
	set_address(t, where);
	make_request(t);
	snprintf(events, sizeof(events), "%s/cgroup.events", cgroup);
	t->events_fd = open(events, O_RDONLY | O_CLOEXEC);
	if (t->events_fd < 0)
		err(1, "%s", events);
}

struct target *targets_read(const char *path, size_t *n)
{
	struct target *list = NULL;
	FILE *file = fopen(path, "re");
	size_t size = 0, number = 0;
	char *line = NULL;

	if (!file)
		err(1, "%s", path);
	*n = 0;
	while (getline(&line, &size, file) > 0) {
		number++;
		list = reallocarray(list, *n + 1, sizeof(*list));
		if (!list)
			err(1, "%s", path);
		read_target(&list[(*n)++], line, path, number);
	}
	free(line);
	fclose(file);
	if (*n == 0)
		errx(2, "%s: no targets", path);
	return list;
}

void targets_free(struct target *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		close(t[i].events_fd);
		free(t[i].request);
		for (int f = 0; f < FOUND_KINDS; f++)
			free(t[i].latency[f].us);
	}
	free(t);
}
