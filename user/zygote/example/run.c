/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A client in C: has an image fork an instance, in a cgroup, and waits for its
 * end. The exit status is known to the image's parent alone, who must reap it.
 * Usage: run [-c CGROUP] [-u UID] [-w MS] SOCKET ARGV...
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hearth/zygote.h"

static int usage(const char *name)
{
	fprintf(stderr, "usage: %s [-c CGROUP] [-u UID] [-w MS] SOCKET ARGV...\n", name);
	return 2;
}

static int fail(const char *error)
{
	fprintf(stderr, "%s\n", error);
	return 1;
}

int main(int argc, char **argv)
{
	struct hearth_zygote_request request = HEARTH_ZYGOTE_NONE;
	struct hearth_zygote_instance instance;
	char error[HEARTH_ZYGOTE_ERROR], directory[PATH_MAX];
	int option, conn, wait_ms = 10000;

	while ((option = getopt(argc, argv, "+c:u:w:")) != -1) {
		if (option == 'c') {
			request.cgroup_fd = open(optarg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (request.cgroup_fd < 0) {
				perror(optarg);
				return 1;
			}
		} else if (option == 'u') {
			request.set_ids = true;
			request.uid = request.gid = (uid_t)atoi(optarg);
		} else if (option == 'w') {
			wait_ms = atoi(optarg);
		} else {
			return usage(argv[0]);
		}
	}
	if (argc - optind < 2)
		return usage(argv[0]);
	for (int i = 0; i < 3; i++)
		request.stdio[i] = i;
	request.argv = argv + optind + 1;
	request.directory = getcwd(directory, sizeof(directory));

	conn = hearth_zygote_connect(argv[optind], error);
	if (conn < 0 || hearth_zygote_request(conn, &request, wait_ms, &instance, error) < 0)
		return fail(error);
	if (hearth_zygote_wait_started(&instance, wait_ms, error) < 0)
		return fail(error);
	poll(&(struct pollfd){.fd = instance.pidfd, .events = POLLIN}, 1, -1);
	hearth_zygote_release(&instance);
	return 0;
}
