/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * watchdog WHERE PROGRAM [ARG...]: an HTTP server that forks and executes
 * PROGRAM for every request, with the body as its stdin and its stdout as the
 * answer, as the classic watchdog of OpenFaaS does.
 */
#include <err.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "httpd.h"

extern char **environ;

/* A file and not a pipe: the program may read and write in any order. */
static int body_file(const char *body, size_t len)
{
	int fd = memfd_create("body", MFD_CLOEXEC);

	if (fd >= 0 && (write(fd, body, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static long read_all(int fd, char **out)
{
	size_t len = 0, size = 4096;
	char *buf = malloc(size);
	ssize_t n;

	while (buf && (n = read(fd, buf + len, size - len)) > 0) {
		len += (size_t)n;
		if (len == size) {
			char *more = realloc(buf, size *= 2);

			if (!more)
				free(buf);
			buf = more;
		}
	}
	*out = buf;
	return buf ? (long)len : -1;
}

static int spawn(char **argv, int in, int out, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	rc = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static long handle(const char *body, size_t len, char **reply, void *arg)
{
	int in = body_file(body, len), out[2] = {-1, -1}, status;
	long n = -1;
	pid_t pid;

	if (in >= 0 && pipe2(out, O_CLOEXEC) == 0 && spawn(arg, in, out[1], &pid) == 0) {
		close(out[1]);
		out[1] = -1;
		n = read_all(out[0], reply);
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			n = -1;
	}
	for (int i = 0; i < 2; i++)
		if (out[i] >= 0)
			close(out[i]);
	if (in >= 0)
		close(in);
	return n;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "usage: watchdog PORT|PATH PROGRAM [ARG...]");
	errx(1, "%s: %s", argv[1], strerror(-httpd_run(argv[1], handle, argv + 2)));
}
