/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "images/api.h"
#include "images/closing.h"
#include "images/image.h"
#include "images/instance.h"
#include "images/place.h"
#include "images/runtime.h"
#include "images/spare.h"
#include "images/spawn.h"
#include "images/verify.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/util.h"

#define FORK_TIMEOUT_MS  5000
#define START_TIMEOUT_MS 30000 /* its hooks and the loading of its handler */

struct instance {
	struct turn turn;
	struct image *image;
	uint64_t conn;
	/* of the request */
	int cgroup_fd;
	char *cgroup; /* made for it and removed after it; NULL: the caller's */
	int stdio[3];
	char **argv;
	char **given, **env; /* env: that of the request, and the image's path; NULL: the image's */
	char *directory;
	/* of the worker */
	bool asked;          /* it was up to the image */
	struct spare *spare; /* to be claimed first */
	enum image_start how;
	int err;
	char error[HEARTH_ZYGOTE_ERROR]; /* why not at all, or why not from the image */
	pid_t pid;
	int pidfd;
	uint64_t took_ns;
	struct instance *prev, *next;
};

static void instance_free(struct instance *x)
{
	closing_fds(x->image->manager, x->image->settings->uid, &x->cgroup_fd, 1);
	closing_fds(x->image->manager, x->image->settings->uid, x->stdio, ARRAY_SIZE(x->stdio));
	if (x->cgroup)
		place_remove(x->image->manager, x->cgroup);
	free(x->cgroup);
	free(x->argv);
	free(x->given);
	free(x->env);
	free(x->directory);
	free(x);
}

/* ---- on a worker */

static struct hearth_zygote_request request_of(const struct instance *x)
{
	struct hearth_zygote_request request = HEARTH_ZYGOTE_NONE;

	request.cgroup_fd = x->cgroup_fd;
	memcpy(request.stdio, x->stdio, sizeof(x->stdio));
	request.argv = x->argv;
	request.env = x->env;
	request.directory = x->directory;
	return request;
}

static void take(struct instance *x, struct hearth_zygote_instance *started, enum image_start how)
{
	x->pid = started->pid;
	x->pidfd = steal_fd(&started->pidfd);
	hearth_zygote_release(started);
	x->how = how;
}

/* It is unknown whether one runs. -EAGAIN: it is certain now that none does. */
static int make_sure(struct instance *x, int err)
{
	if (!x->cgroup)
		return err;
	cgroup_kill(x->cgroup_fd); /* the one that may be in there */
	return place_renew(x->image->manager, x->image->settings, x->cgroup, &x->cgroup_fd)
		   ? err
		   : -EAGAIN;
}

/* Of one that was started, what it says itself: no word of it has it started again. */
static int word_of(int err)
{
	if (err == -ETIMEDOUT)
		return 0; /* a frozen cgroup: it starts when that is thawed */
	return err == -EAGAIN ? -ENOEXEC : err;
}

/* 0; -EAGAIN: none came of it; else the error is the instance's or unclear. */
static int from_spare(struct instance *x)
{
	struct hearth_zygote_request request = request_of(x);
	struct hearth_zygote_instance claimed = {.conn = -1, .pidfd = -1};
	int err = spare_claim(x->spare, &request, &claimed, x->error);

	if (err == -ETIMEDOUT)
		return make_sure(x, err);
	if (!claimed.pid)
		return err;
	take(x, &claimed, START_CLAIMED);
	return word_of(err);
}

/* Likewise; -EAGAIN: start it cold. */
static int from_image(struct instance *x)
{
	struct hearth_zygote_request request = request_of(x);
	struct hearth_zygote_instance forked;
	int conn = hearth_zygote_connect(x->image->socket, x->error), err;

	if (conn < 0)
		return -EAGAIN;
	err = hearth_zygote_request(conn, &request, FORK_TIMEOUT_MS, &forked, x->error);
	if (err == -ECONNRESET || err == -ETIMEDOUT)
		return make_sure(x, err);
	if (err)
		return -EAGAIN;
	err = verify_instance(&forked, x->image->settings->uid, x->error);
	if (err)
		return make_sure(x, err);
	err = hearth_zygote_wait_started(&forked, START_TIMEOUT_MS, x->error);
	take(x, &forked, START_FORKED);
	return word_of(err);
}

static int cold(struct instance *x)
{
	const struct image_settings *s = x->image->settings;
	_cleanup_free_ char **argv = runtime_cold_argv(x->image->manager->settings, s, x->argv);
	_cleanup_free_ char **env = runtime_env(s, x->given);
	_cleanup_close_ int log_fd =
	    open(x->image->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct spawn spec = {.cgroup_fd = x->cgroup_fd,
			     .stdio = {x->stdio[0], x->stdio[1] >= 0 ? x->stdio[1] : log_fd,
				       x->stdio[2] >= 0 ? x->stdio[2] : log_fd},
			     .keep_fd = -1,
			     .files = &x->image->manager->files,
			     .uid = s->uid,
			     .gid = s->gid,
			     .directory = x->directory,
			     .argv = argv,
			     .env = env};

	return argv && env ? spawn(&spec, &x->pid, &x->pidfd) : -ENOMEM;
}

/* The instance has its own: a pipe of its caller's ends when it closes it. */
static void close_descriptors(struct instance *x)
{
	cleanup_close_p(&x->cgroup_fd);
	x->cgroup_fd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(x->stdio); i++) {
		cleanup_close_p(&x->stdio[i]);
		x->stdio[i] = -1;
	}
}

static void start(struct instance *x)
{
	if (x->image->manager->ending) {
		x->err = -ESHUTDOWN; /* its turn comes too late */
		return;
	}
	x->err = x->spare ? from_spare(x) : -EAGAIN;
	if (x->err == -EAGAIN && x->asked && x->image->settings->runtime->forks)
		x->err = from_image(x);
	if (x->err == -EAGAIN) {
		x->err = cold(x);
		if (x->err)
			snprintf(x->error, sizeof(x->error), "cold start: %s",
				 spawn_reason(x->err));
	}
}

static void on_worker(uv_work_t *work)
{
	struct instance *x = container_of(work, struct instance, turn.work);
	uint64_t begin = now_ns();

	start(x);
	x->took_ns = now_ns() - begin;
	close_descriptors(x);
}

/* ---- on the loop */

static const char *why_cold(const struct instance *x)
{
	if (x->how != START_COLD)
		return "";
	if (x->asked)
		return x->error;
	return x->image->state < IMAGE_RESIDENT ? "the image is not ready" : "no spare is ready";
}

/* One that failed to start exits by itself; it is reaped like the others. */
static void on_done(uv_work_t *work, int status)
{
	struct instance *x = container_of(work, struct instance, turn.work);
	static const char *const from[] = {
	    [START_COLD] = "cold", [START_FORKED] = "image", [START_CLAIMED] = "spare"};
	struct manager *m = x->image->manager;

	(void)status;
	m->in_flight--;
	text_make_plain(x->error);
	if (x->err)
		api_fail(m, x->conn, x->err, x->error);
	else
		api_answer(m, x->conn,
			   json_pack("{s:i s:s s:s s:s* s:f}", "pid", (int)x->pid, "from",
				     from[x->how], "why", why_cold(x), "cgroup", x->cgroup,
				     "took_s", ns_to_s(x->took_ns)),
			   x->pidfd, false);
	cleanup_close_p(&x->pidfd);
	if (x->spare)
		spare_done(x->spare);
	image_started(x->image, x->asked, x->how, x->took_ns);
	if (x->pid) {
		DL_APPEND(m->instances, x);
	} else {
		image_end(x->image, START_COLD);
		instance_free(x);
	}
	manager_reap(m);
}

static void ended(struct instance *x, int status)
{
	struct manager *m = x->image->manager;

	DL_DELETE(m->instances, x);
	if (WIFSIGNALED(status))
		api_answer(m, x->conn, json_pack("{s:i}", "signal", WTERMSIG(status)), -1, true);
	else
		api_answer(m, x->conn, json_pack("{s:i}", "exit", WEXITSTATUS(status)), -1, true);
	image_end(x->image, x->how);
	instance_free(x);
}

void instance_exited(struct manager *m, pid_t pid, int status)
{
	struct instance *x;

	DL_SEARCH_SCALAR(m->instances, x, pid, pid);
	if (x)
		ended(x, status);
}

size_t instance_children(const struct image *image, pid_t *pids, size_t max)
{
	struct instance *x;
	size_t n = 0;

	DL_FOREACH (image->manager->instances, x) {
		if (n == max)
			break;
		if (x->image == image && image_shares(image, x->how))
			pids[n++] = x->pid;
	}
	return n;
}

void instance_reap_all(struct manager *m)
{
	struct instance *x, *next;
	int status;

	DL_FOREACH_SAFE(m->instances, x, next)
	{
		if (waitpid(x->pid, &status, WNOHANG) > 0)
			ended(x, status);
	}
}

/* ---- a request */

/* The strings stay the request's until they are copied behind the list. */
static char **take_strings(const json_t *list)
{
	size_t n = json_array_size(list), size = (n + 1) * sizeof(char *);
	char **out, *text;

	for (size_t i = 0; i < n; i++)
		size += json_string_length(json_array_get(list, i)) + 1;
	out = calloc(1, size);
	if (!out)
		return NULL;
	text = (char *)(out + n + 1);
	for (size_t i = 0; i < n; i++) {
		out[i] = text;
		text = stpcpy(text, json_string_value(json_array_get(list, i))) + 1;
	}
	return out;
}

static bool all_strings(const json_t *list)
{
	size_t i;
	json_t *word;

	json_array_foreach (list, i, word) {
		if (!json_is_string(word))
			return false;
	}
	return json_is_array(list);
}

static int check(const json_t *request, char *error)
{
	const char *function = json_string_value(json_object_get(request, "function"));
	json_t *argv = json_object_get(request, "argv"), *env = json_object_get(request, "env");
	json_t *directory = json_object_get(request, "directory");
	const char *wrong = NULL;

	if (!function || !settings_good_name(function))
		wrong = "function: accepted: " SETTINGS_NAME_ACCEPTED;
	else if (!all_strings(argv) || !json_array_size(argv))
		wrong = "argv: accepted: a list of strings, first FILE or MODULE:FUNCTION";
	else if (env && !all_strings(env))
		wrong = "env: accepted: a list of NAME=VALUE";
	else if (directory && !json_is_string(directory))
		wrong = "directory: accepted: a path";
	if (!wrong)
		return 0;
	snprintf(error, HEARTH_ZYGOTE_ERROR, "%s", wrong);
	return -EINVAL;
}

/*
 * Who does not own a cgroup's list of processes must not have us write to it. Elsewhere than
 * in a cgroup file system such a file may be anything, and may keep us waiting.
 */
static int check_cgroup(int fd, uid_t asker, char *error)
{
	struct statfs what;
	struct stat st;

	if (fstatfs(fd, &what) == 0 && what.f_type == CGROUP2_SUPER_MAGIC &&
	    cgroup_read_populated(fd) >= 0 && fstatat(fd, "cgroup.procs", &st, 0) == 0 &&
	    (asker == 0 || st.st_uid == asker))
		return 0;
	snprintf(error, HEARTH_ZYGOTE_ERROR, "cgroup: not one that uid %u may start processes in",
		 asker);
	return -EACCES;
}

static int check_turn(const struct image *image, char *error)
{
	if (!turns_full(image->manager, image->settings->uid))
		return 0;
	snprintf(error, HEARTH_ZYGOTE_ERROR, "%d starts of uid %u wait already", TURNS_WAITING,
		 image->settings->uid);
	return -EUSERS;
}

static int make_cgroup(struct instance *x, const char *function, char *error)
{
	struct manager *m = x->image->manager;
	char tail[IMAGE_NAME_MAX + 32];

	snprintf(tail, sizeof(tail), "fn/%s/%llx-%llu", function,
		 (unsigned long long)(unix_ns() / NSEC_PER_MSEC), (unsigned long long)m->serial++);
	x->cgroup = place_path(m, x->image->settings->uid, tail);
	x->cgroup_fd = x->cgroup ? place_make(m, x->image->settings, x->cgroup) : -ENOMEM;
	if (x->cgroup_fd >= 0)
		return 0;
	snprintf(error, HEARTH_ZYGOTE_ERROR, "cgroup for %s: %s", function,
		 strerror(-x->cgroup_fd));
	return x->cgroup_fd;
}

static int prepare(struct instance *x, const json_t *request, uid_t asker, char *error)
{
	const json_t *env = json_object_get(request, "env");
	const char *directory = json_string_value(json_object_get(request, "directory"));
	const char *function = json_string_value(json_object_get(request, "function"));

	x->argv = take_strings(json_object_get(request, "argv"));
	x->given = env ? take_strings(env) : NULL;
	x->env = x->given ? runtime_env(x->image->settings, x->given) : NULL;
	x->directory = directory ? strdup(directory) : NULL;
	if (!x->argv || (env && !x->env) || (directory && !x->directory)) {
		snprintf(error, HEARTH_ZYGOTE_ERROR, "no memory");
		return -ENOMEM;
	}
	return x->cgroup_fd >= 0 ? check_cgroup(x->cgroup_fd, asker, error)
				 : make_cgroup(x, function, error);
}

int instance_start(struct image *image, uint64_t conn, const json_t *request, uid_t asker,
		   int fds[], char *error)
{
	struct manager *m = image->manager;
	int err = check(request, error) ?: check_turn(image, error);
	struct instance *x = err ? NULL : calloc(1, sizeof(*x));

	if (!x)
		return err ? err : -ENOMEM;
	x->image = image;
	x->conn = conn;
	x->pidfd = -1;
	x->cgroup_fd = steal_fd(&fds[0]);
	for (int i = 0; i < 3; i++)
		x->stdio[i] = steal_fd(&fds[i + 1]);
	err = prepare(x, request, asker, error);
	if (err) {
		instance_free(x);
		return err;
	}
	usage_note(&image->usage, json_string_value(json_object_get(request, "function")));
	x->asked = image_begin(image, &x->spare);
	m->in_flight++;
	turns_take(m, &x->turn, image->settings->uid, on_worker, on_done);
	return 0;
}
