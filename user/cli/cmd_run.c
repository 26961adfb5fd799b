/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth run: an instance of a function from an image, in the foreground. Its
 * stdio is this command's, signals are handed on, and its exit status becomes
 * that of the command, as a shell would give it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "lib/util.h"

#define NOT_RUN   125 /* of this command, when there is no status of an instance */
#define SIGNALLED 128 /* and the signal's number */

const struct cli_option cmd_run_options[] = {
    {'i', "image", "NAME", "the image to fork it from (required)"},
    {'f', "function", "NAME", "the function that it is an instance of (required)"},
    {'c', "cgroup", "DIRECTORY", "the cgroup to start it in (default: a new one)"},
    {'m', "manager", "PATH", "the image manager's socket (default " IMAGES_SOCKET ")"},
    {0},
};

static const int handed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

struct run {
	const char *image, *function, *cgroup, *socket;
	int cgroup_fd, conn, pidfd, signal_fd;
	sigset_t early; /* came before it had started */
};

/* What is no UTF-8 cannot be sent: an environment may do without it, `all` may not (NULL). */
static json_t *strings(char *const *list, bool all)
{
	json_t *array = json_array();

	for (; list && *list; list++) {
		if (!json_array_append_new(array, json_string(*list)) || !all)
			continue;
		json_decref(array);
		return NULL;
	}
	return array;
}

static json_t *request_of(const struct run *run, char *const *argv)
{
	char directory[PATH_MAX];
	json_t *fds = json_pack("[s, s, s]", "stdin", "stdout", "stderr");

	if (run->cgroup)
		json_array_append_new(fds, json_string("cgroup"));
	return json_pack("{s:s s:s s:s s:o s:o s:s* s:o}", "do", "run", "image", run->image,
			 "function", run->function, "argv", strings(argv, true), "env",
			 strings(environ, false), "directory", getcwd(directory, sizeof(directory)),
			 "fds", fds);
}

/* 0; -ECANCELED: somebody asks again, and there is still nobody to hand it to. */
static int take_signal(struct run *run)
{
	struct signalfd_siginfo info;
	int number;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	number = (int)info.ssi_signo;
	if (run->pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, run->pidfd, number, NULL, 0);
		return 0;
	}
	if (sigismember(&run->early, number) && number != SIGUSR1 && number != SIGUSR2)
		return -ECANCELED;
	sigaddset(&run->early, number);
	return 0;
}

static void hand_on_early(const struct run *run)
{
	for (size_t i = 0; i < ARRAY_SIZE(handed_on); i++)
		if (sigismember(&run->early, handed_on[i]))
			syscall(SYS_pidfd_send_signal, run->pidfd, handed_on[i], NULL, 0);
}

/* Take signals until the next answer is there. */
static int wait_answer(struct cli *cli, struct run *run)
{
	struct pollfd polls[] = {{.fd = run->conn, .events = POLLIN},
				 {.fd = run->signal_fd, .events = POLLIN}};

	while (!polls[0].revents) {
		if (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno != EINTR)
			return cli_error(cli, "poll: %s", strerror(errno));
		if (polls[1].revents && take_signal(run))
			return cli_error(cli, "given up; hearth-images may start it all the same");
	}
	return CLI_OK;
}

static int follow(struct cli *cli, struct run *run)
{
	json_t *answer;
	int status, number;

	if (wait_answer(cli, run) || images_answer(cli, run->conn, &answer, &run->pidfd))
		return NOT_RUN;
	json_decref(answer);
	hand_on_early(run);
	if (wait_answer(cli, run) || images_answer(cli, run->conn, &answer, NULL))
		return NOT_RUN;
	if (json_unpack(answer, "{s:i}", "exit", &number) == 0)
		status = number;
	else
		status = json_unpack(answer, "{s:i}", "signal", &number) == 0 ? SIGNALLED + number
									      : NOT_RUN;
	json_decref(answer);
	return status;
}

static int start(struct cli *cli, struct run *run)
{
	int fds[IMAGES_FDS] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, -1};
	sigset_t passed;

	if (run->cgroup) {
		run->cgroup_fd = open(run->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (run->cgroup_fd < 0) {
			cli_error(cli, "%s: %s", run->cgroup, strerror(errno));
			return NOT_RUN;
		}
		fds[3] = run->cgroup_fd;
	}
	sigemptyset(&run->early);
	sigemptyset(&passed);
	for (size_t i = 0; i < ARRAY_SIZE(handed_on); i++)
		sigaddset(&passed, handed_on[i]);
	sigprocmask(SIG_BLOCK, &passed, NULL);
	run->signal_fd = signalfd(-1, &passed, SFD_CLOEXEC);
	if (images_ask(cli, run->socket, request_of(run, cli->argv), fds, run->cgroup ? 4 : 3,
		       &run->conn))
		return NOT_RUN;
	return follow(cli, run);
}

int cmd_run(struct cli *cli)
{
	struct run run = {
	    .socket = images_socket(), .cgroup_fd = -1, .conn = -1, .pidfd = -1, .signal_fd = -1};
	int c, status;

	while ((c = cli_option(cli)) >= 0) {
		if (c == 'i')
			run.image = cli->arg;
		else if (c == 'f')
			run.function = cli->arg;
		else if (c == 'c')
			run.cgroup = cli->arg;
		else
			run.socket = cli->arg;
	}
	if (c != CLI_DONE)
		return CLI_USAGE;
	if (!run.image || !run.function)
		return cli_usage(cli, "--%s is missing", run.image ? "function" : "image");
	status = start(cli, &run);
	cleanup_close_p(&run.cgroup_fd);
	cleanup_close_p(&run.conn);
	cleanup_close_p(&run.pidfd);
	cleanup_close_p(&run.signal_fd);
	return status;
}
