/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "images/closing.h"
#include "images/place.h"
#include "images/runtime.h"
#include "images/spare.h"
#include "images/spawn.h"
#include "images/verify.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "lib/util.h"

#define FORK_TIMEOUT_MS  5000
#define START_TIMEOUT_MS 30000 /* as of an instance: hooks, and the loading of its handler */

enum state {
	MAKING, /* a worker waits for it */
	READY,
	TAKEN,  /* a worker claims it */
	ENDING, /* to be reaped */
};

struct spare {
	struct turn turn;
	struct image *image;
	enum state state;
	char *cgroup;
	int cgroup_fd;
	struct hearth_zygote_instance process; /* pid 0: not forked yet, reaped, or an instance */
	bool dropped;                          /* while a worker has it */
	int err;
	char error[HEARTH_ZYGOTE_ERROR];
	struct spare *prev, *next;
};

static bool forks(const struct spare *s)
{
	return s->image->settings->runtime->forks;
}

static void spare_free(struct spare *s)
{
	if (s->cgroup_fd >= 0) {
		cgroup_kill(s->cgroup_fd); /* what its modules had started */
		close(s->cgroup_fd);
	}
	if (s->cgroup)
		unlinkat(s->image->manager->root_fd, s->cgroup, AT_REMOVEDIR);
	closing_fds(s->image->manager, s->image->settings->uid, &s->process.conn, 1);
	hearth_zygote_release(&s->process);
	DL_DELETE(s->image->spares, s);
	free(s->cgroup);
	free(s);
}

static void leave(struct spare *s)
{
	struct image *image = s->image;

	spare_free(s);
	image_on_spare_gone(image);
}

/* It is of no more use: gone when it is reaped. */
static void end(struct spare *s)
{
	s->state = ENDING;
	if (s->process.pid && s->process.pidfd >= 0)
		syscall(SYS_pidfd_send_signal, s->process.pidfd, SIGKILL, NULL, 0);
	if (!s->process.pid)
		leave(s);
}

/* ---- make */

static int fork_spare(struct spare *s)
{
	int conn = hearth_zygote_connect(s->image->socket, s->error), err;

	if (conn < 0)
		return conn;
	err = hearth_zygote_spare(conn, s->cgroup_fd, FORK_TIMEOUT_MS, &s->process, s->error);
	return err ? err : verify_instance(&s->process, s->image->settings->uid, s->error);
}

static void on_worker(uv_work_t *work)
{
	struct spare *s = container_of(work, struct spare, turn.work);
	uint64_t patience_ns = s->image->settings->build_timeout_ns;

	s->err = s->process.pid ? 0 : fork_spare(s);
	if (!s->err)
		s->err = hearth_zygote_wait_spare(&s->process, (int)(patience_ns / NSEC_PER_MSEC),
						  s->error);
	if (!s->err)
		s->err = cgroup_freeze_write(s->cgroup_fd, true);
}

static void on_done(uv_work_t *work, int status)
{
	struct spare *s = container_of(work, struct spare, turn.work);
	struct image *image = s->image;
	struct manager *m = image->manager;
	char error[HEARTH_ZYGOTE_ERROR];
	int err = s->dropped ? -ECANCELED : s->err;

	(void)status;
	m->in_flight--;
	snprintf(error, sizeof(error), "%s",
		 err == -ECONNRESET ? "ended while it loaded" : s->error);
	text_make_plain(error);
	s->state = READY;
	if (err)
		end(s);
	image_on_spare(image, err, error);
	manager_reap(m);
}

/* One that cannot be forked: a program of its own, at the other end of a socketpair. */
static int start_program(struct spare *s)
{
	const struct image_settings *image = s->image->settings;
	_cleanup_free_ char **argv = runtime_spare_argv(
	    s->image->manager->settings, image, s->image->limited ? image->memory_bytes : 0);
	_cleanup_free_ char **env = runtime_env(image, NULL);
	_cleanup_close_ int theirs = -1, log_fd = -1;
	int pair[2], err;

	if (!argv || !env)
		return -ENOMEM;
	log_fd = open(s->image->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	s->process.conn = pair[0];
	theirs = pair[1];
	struct spawn spec = {.cgroup_fd = s->cgroup_fd,
			     .stdio = {-1, log_fd, log_fd},
			     .keep_fd = theirs,
			     .files = &s->image->manager->files,
			     .uid = image->uid,
			     .gid = image->gid,
			     .argv = argv,
			     .env = env,
			     .die_with_parent = true};
	err = spawn(&spec, &s->process.pid, &s->process.pidfd);
	return err;
}

static int place(struct spare *s)
{
	struct manager *m = s->image->manager;

	if (asprintf(&s->cgroup, "%s/spare-%" PRIu64, s->image->cgroup, m->serial++) < 0) {
		s->cgroup = NULL;
		return -ENOMEM;
	}
	s->cgroup_fd = place_leaf(m, s->image->settings, s->cgroup);
	return MIN(s->cgroup_fd, 0);
}

int spare_make(struct image *image)
{
	struct manager *m = image->manager;
	struct spare *s;
	int err;

	if (spare_being_made(image))
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->image = image;
	s->cgroup_fd = s->process.conn = s->process.pidfd = -1;
	DL_APPEND(image->spares, s);
	err = place(s);
	if (!err && !forks(s))
		err = start_program(s);
	if (!err)
		err = turns_take(m, &s->turn, image->settings->uid, on_worker, on_done);
	if (!err)
		m->in_flight++;
	else if (s->process.pid)
		end(s);
	else
		spare_free(s);
	return err;
}

/* ---- claim */

struct spare *spare_take(struct image *image)
{
	struct spare *s;

	DL_SEARCH_SCALAR(image->spares, s, state, READY);
	if (s)
		s->state = TAKEN;
	return s;
}

static int move_process(pid_t pid, void *procs_fd)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);

	return write(*(int *)procs_fd, text, (size_t)n) == n ? 0 : -errno;
}

static int move_helper(pid_t pid, void *procs_fd)
{
	int err = move_process(pid, procs_fd);

	return err == -ESRCH ? 0 : err; /* it has ended by itself */
}

/*
 * It, and what its modules have started. With the owner's rights, in this thread alone: it
 * may go where a fork of the owner's may.
 */
static int move(const struct spare *s, int cgroup_fd)
{
	const struct image_settings *owner = s->image->settings;
	int fd, err;

	syscall(SYS_setgroups, 0, NULL);
	setfsgid(owner->gid);
	setfsuid(owner->uid);
	fd = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : move_process(s->process.pid, &fd);
	if (!err)
		err = cgroup_procs(s->cgroup_fd, move_helper, &fd);
	if (fd >= 0)
		close(fd);
	setfsuid(0);
	setfsgid(0);
	return err;
}

static int claim_program(struct spare *s, const struct hearth_zygote_request *request,
			 struct hearth_zygote_instance *out, char *error)
{
	struct hearth_zygote_request rest = *request;
	int err = move(s, request->cgroup_fd);

	if (err) {
		snprintf(error, HEARTH_ZYGOTE_ERROR, "move to the cgroup: %s%s", strerror(-err),
			 err == -EACCES ? " (delegate one subtree to the owner)" : "");
		return err;
	}
	rest.cgroup_fd = -1; /* it is there already */
	err = hearth_zygote_claim(&s->process, &rest, error);
	if (err)
		return err;
	*out = s->process;
	s->process = (struct hearth_zygote_instance){.conn = -1, .pidfd = -1};
	return 0;
}

static int claim_fork(struct spare *s, const struct hearth_zygote_request *request,
		      struct hearth_zygote_instance *out, char *error)
{
	int conn = steal_fd(&s->process.conn), err = cgroup_freeze_write(s->cgroup_fd, false);

	if (err) {
		close(conn);
		return err;
	}
	err = hearth_zygote_request(conn, request, FORK_TIMEOUT_MS, out, error);
	return err ? err : verify_instance(out, s->image->settings->uid, error);
}

int spare_claim(struct spare *s, const struct hearth_zygote_request *request,
		struct hearth_zygote_instance *out, char *error)
{
	struct hearth_zygote_instance instance;
	int err = forks(s) ? claim_fork(s, request, &instance, error)
			   : claim_program(s, request, &instance, error);

	if (err == -ETIMEDOUT || err == -EBADMSG) { /* under way, maybe, but no further now */
		syscall(SYS_pidfd_send_signal, s->process.pidfd, SIGKILL, NULL, 0);
		return -ETIMEDOUT;
	}
	if (err)
		return -EAGAIN;
	err = hearth_zygote_wait_started(&instance, START_TIMEOUT_MS, error);
	if (err == -ECONNRESET) { /* the function has not begun: it was killed as it was claimed */
		syscall(SYS_pidfd_send_signal, instance.pidfd, SIGKILL, NULL, 0);
		hearth_zygote_release(&instance);
		return -EAGAIN;
	}
	*out = instance;
	return err == -ETIMEDOUT ? 0 : err; /* a frozen cgroup: it starts when that is thawed */
}

void spare_done(struct spare *s)
{
	end(s);
}

/* ---- end */

void spare_drop(struct image *image)
{
	struct spare *s, *next;

	DL_FOREACH_SAFE(image->spares, s, next)
	{
		if (s->state == READY)
			end(s);
		else if (s->state == MAKING)
			s->dropped = true;
	}
}

unsigned int spare_ready(const struct image *image)
{
	struct spare *s;
	unsigned int n = 0;

	DL_FOREACH (image->spares, s) {
		n += s->state == READY;
	}
	return n;
}

bool spare_being_made(const struct image *image)
{
	struct spare *s;

	DL_SEARCH_SCALAR(image->spares, s, state, MAKING);
	return s;
}

static void reaped(struct spare *s, int status)
{
	struct image *image = s->image;
	bool lost = s->state == READY;

	s->process.pid = 0;
	if (s->state == MAKING)
		return; /* the worker will say */
	s->state = ENDING;
	if (lost)
		image_on_spare_lost(image, status);
	leave(s);
}

/* One that a worker claims may be an instance by now, whose status is not ours to take. */
static struct spare *find(struct image *image, pid_t pid)
{
	struct spare *s;

	DL_FOREACH (image->spares, s) {
		if (s->process.pid == pid && s->state != TAKEN)
			break;
	}
	return s;
}

bool spare_exited(struct manager *m, pid_t pid, int status)
{
	struct image *image;
	struct spare *s = NULL;

	DL_FOREACH (m->images, image) {
		s = find(image, pid);
		if (s)
			break;
	}
	if (s)
		reaped(s, status);
	return s;
}

void spare_reap_all(struct manager *m)
{
	struct image *image, *next_image;
	struct spare *s, *next;
	int status;

	DL_FOREACH_SAFE(m->images, image, next_image)
	{
		DL_FOREACH_SAFE(image->spares, s, next)
		{
			if ((s->state == READY || s->state == ENDING) && s->process.pid &&
			    waitpid(s->process.pid, &status, WNOHANG) > 0)
				reaped(s, status);
		}
	}
}
