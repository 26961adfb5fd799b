/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lives in an instance's cgroup and executes what a test asks for, one command
 * a line on stdin. Every child reads a gate pipe: it lives until "release"
 * closes the pipe, so a test can look at the middle of an invocation.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gate.h"

enum { MAX_CHILDREN = 256, THREADS = 20 };

static int gate[2];
static pid_t children[MAX_CHILDREN];
static int n_children;
static const char *self;

static void spawn(const char *const argv[])
{
	pid_t pid;

	if (n_children == MAX_CHILDREN)
		errx(1, "too many children");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		if (dup2(gate[0], STDIN_FILENO) < 0)
			_exit(126);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	children[n_children++] = pid;
}

static void reap(void)
{
	while (n_children > 0)
		waitpid(children[--n_children], NULL, 0);
}

static void open_gate(void)
{
	if (pipe2(gate, O_CLOEXEC) < 0)
		err(1, "pipe");
}

static void cmd_listen(const char *arg)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)arg;
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 8) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		err(1, "listen");
	gate_say("listening %d", ntohs(addr.sin_port));
}

static void cmd_exec(const char *arg)
{
	(void)arg;
	spawn((const char *[]){"true", NULL});
	reap();
	gate_say("done");
}

static void cmd_hold(const char *arg)
{
	for (int i = 0; i < atoi(arg); i++)
		spawn((const char *[]){"cat", NULL});
	gate_say("started");
}

static void cmd_shell(const char *arg)
{
	spawn((const char *[]){"sh", "-c", arg, NULL});
	gate_say("started");
}

static void cmd_handler(const char *arg)
{
	spawn((const char *[]){self, "--handler", arg, NULL});
	gate_say("started");
}

static void cmd_missing(const char *arg)
{
	(void)arg;
	spawn((const char *[]){"/nonexistent/program", NULL});
	reap();
	gate_say("done");
}

static void cmd_kill(const char *arg)
{
	(void)arg;
	for (int i = 0; i < n_children; i++)
		kill(children[i], SIGKILL);
	reap();
	gate_say("done");
}

static void cmd_release(const char *arg)
{
	(void)arg;
	close(gate[1]);
	reap();
	close(gate[0]);
	open_gate();
	gate_say("done");
}

static const struct {
	const char *name;
	void (*run)(const char *arg);
} commands[] = {
    {"listen", cmd_listen}, {"exec", cmd_exec},       {"hold", cmd_hold},
    {"shell", cmd_shell},   {"handler", cmd_handler}, {"missing", cmd_missing},
    {"kill", cmd_kill},     {"release", cmd_release},
};

/* What a handler's threads do: live until the gate closes. */
static void until_released(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

static void *thread_waits(void *arg)
{
	until_released();
	_exit(0);
	return arg;
}

static void *thread_execs(void *arg)
{
	execlp("cat", "cat", NULL);
	_exit(127);
	return arg;
}

static void *thread_pauses(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static pthread_t thread(void *(*run)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, run, NULL) != 0)
		errx(1, "thread");
	return t;
}

static void handler_leader_exits(void)
{
	thread(thread_waits);
	pthread_exit(NULL);
}

static void handler_exec_from_thread(void)
{
	pthread_join(thread(thread_execs), NULL);
}

static void handler_threads(void)
{
	for (int i = 0; i < THREADS; i++)
		thread(thread_pauses);
	until_released();
	_exit(0);
}

/* The daemon holds the gate; the handler itself ends at once. */
static void handler_daemon(void)
{
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			until_released();
	}
	_exit(0);
}

static const struct {
	const char *name;
	void (*run)(void);
} handlers[] = {
    {"leader-exits", handler_leader_exits},
    {"exec-from-thread", handler_exec_from_thread},
    {"threads", handler_threads},
    {"daemon", handler_daemon},
};

static int run_handler(const char *name)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (strcmp(handlers[i].name, name) == 0)
			handlers[i].run();
	return 2;
}

static void run_command(char *line)
{
	char *arg;

	line[strcspn(line, "\n")] = '\0';
	arg = strchr(line, ' ');
	if (arg)
		*arg++ = '\0';
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, line) == 0) {
			commands[i].run(arg ? arg : "");
			return;
		}
	errx(2, "unknown command: %s", line);
}

int main(int argc, char **argv)
{
	char line[512];

	if (argc == 3 && strcmp(argv[1], "--handler") == 0)
		return run_handler(argv[2]);
	self = argv[0];
	open_gate();
	gate_say("ready");
	while (fgets(line, sizeof(line), stdin))
		run_command(line);
	return 0;
}
