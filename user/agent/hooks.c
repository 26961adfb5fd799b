/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A job waits, runs (a process, a pipe with what it prints, a timer), closes when
 * the process is dead, and is dead when its handles are closed. How it ended may
 * be known earlier: a timeout or a cancel is told at once, even if the command is
 * stuck in the kernel. A job leaves the list when it is dead and was told of. A
 * child that the command left behind and that holds the pipe is not waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/hooks_text.h"
#include "lib/clock.h"
#include "lib/command.h"
#include "lib/util.h"

#define ENV_MAX    8
#define PIPE_BYTES 65536 /* what a pipe holds */

enum job_state { JOB_WAITS, JOB_RUNS, JOB_CLOSING, JOB_DEAD };

struct job {
	struct job *next;
	struct hooks *hooks;
	enum job_state state;
	struct hook_result result;
	bool ended; /* the result is complete */
	bool told;
	char **argv;
	char *env[ENV_MAX + 1];
	char *who; /* "FUNCTION/INSTANCE" */
	uint64_t timeout_ns;
	uint64_t started_ns;
	uv_process_t process;
	uv_pipe_t out;
	uv_timer_t timer;
	unsigned int open; /* handles not closed yet */
	struct hook_output output;
};

struct hooks {
	struct hooks_options o;
	struct job *first; /* in the order they came */
	unsigned int running;
	uv_timer_t kick;
	bool kick_closed;
	bool closing;
	bool raise_oom_score; /* ours protects hearthd, not what it runs */
	char buf[4096];
};

static const char *const names[HOOK_KINDS] = {
    [HOOK_PRE_FREEZE] = "pre_freeze",
    [HOOK_POST_THAW] = "post_thaw",
    [HOOK_PREWARM] = "prewarm",
    [HOOK_ON_EVICT] = "on_evict",
};

const char *hook_name(enum hook_kind kind)
{
	return names[kind];
}

static void job_free(struct job *job)
{
	for (size_t i = 0; i < ENV_MAX; i++)
		free(job->env[i]);
	free(job->argv);
	free(job->who);
	free(job);
}

static void drop(struct hooks *h, struct job *job)
{
	struct job **at = &h->first;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	job_free(job);
}

static void free_when_empty(struct hooks *h)
{
	if (!h->first && h->kick_closed)
		free(h);
}

static void on_kick(uv_timer_t *timer);

/* Soon, on the loop: tell of what ended, start what may. */
static void kick(struct hooks *h)
{
	if (!h->closing)
		uv_timer_start(&h->kick, on_kick, 0, 0);
}

/* ---- what it prints */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct job *job = handle->data;

	(void)suggested;
	*buf = uv_buf_init(job->hooks->buf, sizeof(job->hooks->buf));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
	if (len > 0)
		hook_output_add(&((struct job *)stream->data)->output, buf->base, (size_t)len);
	else if (len < 0)
		uv_read_stop(stream);
}

/* What is in the pipe now; a child that was left behind may hold it open for long. */
static void drain(struct job *job)
{
	struct hooks *h = job->hooks;
	size_t room = PIPE_BYTES;
	ssize_t len;
	int fd;

	if (uv_fileno((uv_handle_t *)&job->out, &fd) != 0)
		return;
	while (room > 0 && (len = read(fd, h->buf, MIN(room, sizeof(h->buf)))) > 0) {
		hook_output_add(&job->output, h->buf, (size_t)len);
		room -= (size_t)len;
	}
	hook_output_end(&job->output);
}

/* ---- the end */

/* The first end of a job is the one that counts. */
static void end(struct job *job, enum hook_end how, int status)
{
	struct hook_result *r = &job->result;

	if (job->ended)
		return;
	job->ended = true;
	r->end = how;
	r->status = status;
	r->took_ns = job->started_ns ? now_ns() - job->started_ns : 0;
	hook_result_text(r, &job->output);
	kick(job->hooks);
}

static void on_closed(uv_handle_t *handle)
{
	struct job *job = handle->data;
	struct hooks *h = job->hooks;

	if (--job->open > 0)
		return;
	job->state = JOB_DEAD;
	h->running--;
	if (h->closing || job->told)
		drop(h, job);
	if (h->closing)
		free_when_empty(h);
	else
		kick(h);
}

static void close_handles(struct job *job)
{
	if (job->state == JOB_CLOSING)
		return;
	job->state = JOB_CLOSING;
	if (job->open == 3)
		uv_close((uv_handle_t *)&job->process, on_closed);
	uv_close((uv_handle_t *)&job->out, on_closed);
	uv_close((uv_handle_t *)&job->timer, on_closed);
}

/* Its group is there as long as the process was not waited for, which on_exit tells. */
static void kill_group(struct job *job)
{
	if (job->state == JOB_RUNS)
		kill(-job->process.pid, SIGKILL);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signum)
{
	struct job *job = process->data;

	drain(job);
	if (signum)
		end(job, HOOK_SIGNALLED, signum);
	else
		end(job, status ? HOOK_FAILED : HOOK_OK, (int)status);
	close_handles(job);
}

static void on_timeout(uv_timer_t *timer)
{
	struct job *job = timer->data;

	kill_group(job);
	end(job, HOOK_TIMEOUT, 0);
}

/* ---- the start */

static int spawn(struct job *job, int out_fd)
{
	uv_stdio_container_t stdio[] = {
	    {.flags = UV_IGNORE},
	    {.flags = UV_INHERIT_FD, .data.fd = out_fd},
	    {.flags = UV_INHERIT_FD, .data.fd = out_fd},
	};
	uv_process_options_t options = {
	    .exit_cb = on_exit_of,
	    .file = job->argv[0],
	    .args = job->argv,
	    .env = job->env,
	    .cwd = "/",
	    .flags = UV_PROCESS_DETACHED, /* a session, and so a process group, of its own */
	    .stdio_count = ARRAY_SIZE(stdio),
	    .stdio = stdio,
	};

	return uv_spawn(job->hooks->o.loop, &job->process, &options);
}

static int open_pipe(struct job *job, int *out_fd)
{
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rc = uv_pipe_open(&job->out, fds[0]);
	if (rc < 0) {
		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	*out_fd = fds[1];
	return 0;
}

static void raise_oom_score(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	write_file_at(AT_FDCWD, path, "0");
}

static void start(struct job *job)
{
	struct hooks *h = job->hooks;
	_cleanup_close_ int out_fd = -1;
	int rc;

	job->state = JOB_RUNS;
	h->running++;
	job->process.data = job->out.data = job->timer.data = job;
	uv_pipe_init(h->o.loop, &job->out, 0);
	uv_timer_init(h->o.loop, &job->timer);
	job->open = 2;
	rc = open_pipe(job, &out_fd);
	if (rc == 0) {
		job->started_ns = now_ns();
		job->open = 3; /* uv_spawn makes it a handle even if it fails */
		rc = spawn(job, out_fd);
	}
	if (rc < 0) {
		job->started_ns = 0;
		end(job, HOOK_NOT_RUN, rc);
		close_handles(job);
		return;
	}
	if (h->raise_oom_score)
		raise_oom_score(job->process.pid);
	uv_read_start((uv_stream_t *)&job->out, on_alloc, on_read);
	uv_timer_start(&job->timer, on_timeout, MAX(job->timeout_ns / NSEC_PER_MSEC, UINT64_C(1)),
		       0);
}

/* Of one id the jobs go one after the other. */
static bool may_start(const struct hooks *h, const struct job *job)
{
	if (job->state != JOB_WAITS)
		return false;
	for (const struct job *j = h->first; j != job; j = j->next)
		if (j->result.id == job->result.id && j->state != JOB_DEAD)
			return false;
	return true;
}

static struct job *to_tell(struct hooks *h)
{
	struct job *job = h->first;

	while (job && (!job->ended || job->told))
		job = job->next;
	return job;
}

static void tell(struct hooks *h, struct job *job)
{
	struct hook_result r = job->result;

	job->told = true;
	if (job->state == JOB_DEAD)
		drop(h, job);
	h->o.done(&r, h->o.arg);
}

static void on_kick(uv_timer_t *timer)
{
	struct hooks *h = timer->data;
	struct job *job;

	while (!h->closing && (job = to_tell(h)))
		tell(h, job);
	if (h->closing)
		return;
	for (job = h->first; job && h->running < h->o.max_running; job = job->next)
		if (may_start(h, job))
			start(job);
}

/* ---- jobs */

static struct job *live_job(const struct hooks *h, uint64_t id)
{
	struct job *job = h->first;

	while (job && (job->result.id != id || job->ended))
		job = job->next;
	return job;
}

static int add_env(struct job *job, size_t *n, const char *name, const char *value)
{
	if (!*value)
		return 0;
	if (asprintf(&job->env[*n], "%s=%s", name, value) < 0) {
		job->env[*n] = NULL;
		return -ENOMEM;
	}
	++*n;
	return 0;
}

static int fill_env(struct job *job, const struct hook_job *j)
{
	char id[24] = "";
	size_t n = 0;
	int rc;

	if (j->cgroup_id)
		snprintf(id, sizeof(id), "%llu", (unsigned long long)j->cgroup_id);
	rc = add_env(job, &n, "PATH",
		     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	rc = rc ?: add_env(job, &n, "HEARTH_HOOK", names[j->kind]);
	rc = rc ?: add_env(job, &n, "HEARTH_FUNCTION", j->function);
	rc = rc ?: add_env(job, &n, "HEARTH_INSTANCE", j->instance);
	rc = rc ?: add_env(job, &n, "HEARTH_CGROUP", j->cgroup);
	return rc ?: add_env(job, &n, "HEARTH_CGROUP_ID", id);
}

static int fill(struct job *job, const struct hook_job *j)
{
	char why[128];
	int rc = command_split(j->command, &job->argv, why, sizeof(why));

	if (rc == 0)
		rc = fill_env(job, j);
	if (rc == 0 &&
	    asprintf(&job->who, "%s%s%s", j->function, *j->instance ? "/" : "", j->instance) < 0) {
		job->who = NULL;
		rc = -ENOMEM;
	}
	job->timeout_ns = j->timeout_ns;
	job->output = (struct hook_output){.hook = names[j->kind], .who = job->who};
	job->result = (struct hook_result){.kind = j->kind, .id = j->id, .tag = j->tag};
	return rc;
}

int hooks_run(struct hooks *h, const struct hook_job *j)
{
	struct job **at = &h->first, *job;
	int rc;

	if (live_job(h, j->id))
		return -EBUSY;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->hooks = h;
	rc = fill(job, j);
	if (rc < 0) {
		job_free(job);
		return rc;
	}
	while (*at)
		at = &(*at)->next;
	*at = job;
	kick(h);
	return 0;
}

void hooks_cancel(struct hooks *h, uint64_t id)
{
	struct job *job = live_job(h, id);

	if (!job)
		return;
	kill_group(job);
	end(job, HOOK_CANCELLED, 0);
	if (job->state == JOB_WAITS)
		job->state = JOB_DEAD;
}

bool hooks_busy(const struct hooks *h, uint64_t id)
{
	return live_job(h, id);
}

/* ---- all of them */

int hooks_new(const struct hooks_options *o, struct hooks **out)
{
	struct hooks *h = calloc(1, sizeof(*h));
	char score[16];

	if (!h)
		return -ENOMEM;
	h->o = *o;
	h->raise_oom_score =
	    read_file_at(AT_FDCWD, "/proc/self/oom_score_adj", score, sizeof(score)) > 0 &&
	    score[0] == '-';
	uv_timer_init(o->loop, &h->kick);
	h->kick.data = h;
	*out = h;
	return 0;
}

static void on_kick_closed(uv_handle_t *handle)
{
	struct hooks *h = handle->data;

	h->kick_closed = true;
	free_when_empty(h);
}

void hooks_free(struct hooks *h)
{
	struct job *job, *next;

	if (!h)
		return;
	h->closing = true;
	for (job = h->first; job; job = next) {
		next = job->next;
		kill_group(job);
		if (job->state == JOB_RUNS)
			close_handles(job);
		else if (job->state != JOB_CLOSING)
			drop(h, job);
	}
	uv_close((uv_handle_t *)&h->kick, on_kick_closed);
}
