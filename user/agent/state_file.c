/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The state file on disk. Writes go through one lock and carry a number, so a
 * save that a worker starts late can never replace a newer one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/state.h"
#include "lib/util.h"

#define MAX_BYTES (256u * 1024 * 1024) /* no state is that large: something else lies there */
#define MODE      0600

/* ---- reading */

static int read_all(const char *path, char **text, size_t *len)
{
	_cleanup_free_ char *buf = NULL;
	struct stat st;
	ssize_t n;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_BYTES)
		return -EFBIG;
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return -ENOMEM;
	n = read_file_at(AT_FDCWD, path, buf, (size_t)st.st_size + 1);
	if (n < 0)
		return (int)n;
	*len = (size_t)n;
	*text = steal_ptr(buf);
	return 0;
}

static int reject(const char *path, const char *wrong, char *err, size_t err_size)
{
	char aside[4096];
	int rc = file_set_aside(path, aside, sizeof(aside));

	if (rc < 0) {
		snprintf(err, err_size, "%s: %s; cannot set it aside: %s", path, wrong,
			 strerror(-rc));
		return rc;
	}
	snprintf(err, err_size, "%s: %s; kept as %s, learning starts anew", path, wrong, aside);
	return -EBADMSG;
}

int state_load(const char *path, struct state *out, char *err, size_t err_size)
{
	_cleanup_free_ char *text = NULL;
	char wrong[128];
	size_t len = 0;
	int rc;

	*out = (struct state){0};
	rc = read_all(path, &text, &len);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		snprintf(err, err_size, "%s: cannot read the state: %s", path, strerror(-rc));
		return rc;
	}
	rc = state_decode(text, len, out, wrong, sizeof(wrong));
	if (rc == -EBADMSG)
		return reject(path, wrong, err, err_size);
	if (rc < 0)
		snprintf(err, err_size, "%s: %s", path, strerror(-rc));
	return rc;
}

/* ---- writing */

struct state_writer {
	uv_loop_t *loop;
	char *path;
	state_saved_fn fn;
	void *arg;
	uv_work_t work;
	bool busy; /* main loop only */
	struct state saving;
	uint64_t saving_number;
	int rc;
	uint64_t asked; /* number of the newest save, main loop only */
	pthread_mutex_t lock;
	uint64_t written; /* number of the save in the file, under lock */
};

struct state_writer *state_writer_new(uv_loop_t *loop, const char *path, state_saved_fn fn,
				      void *arg)
{
	struct state_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->path = strdup(path);
	if (!w->path) {
		free(w);
		return NULL;
	}
	w->loop = loop;
	w->fn = fn;
	w->arg = arg;
	w->work.data = w;
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

static int write_numbered(struct state_writer *w, const struct state *s, uint64_t number)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int rc = state_encode(s, &text, &len);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&w->lock);
	if (number > w->written)
		rc = write_atomic(w->path, text, len, MODE);
	if (rc == 0)
		w->written = MAX(w->written, number);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static void work(uv_work_t *req)
{
	struct state_writer *w = req->data;

	w->rc = write_numbered(w, &w->saving, w->saving_number);
}

static void after(uv_work_t *req, int status)
{
	struct state_writer *w = req->data;

	state_done(&w->saving);
	w->busy = false;
	w->fn(status < 0 ? status : w->rc, w->arg);
}

int state_writer_save(struct state_writer *w, struct state *s)
{
	int rc;

	if (w->busy)
		return -EBUSY;
	w->saving = *s;
	w->saving_number = ++w->asked;
	rc = uv_queue_work(w->loop, &w->work, work, after);
	if (rc < 0) {
		w->saving = (struct state){0};
		return rc;
	}
	*s = (struct state){0};
	w->busy = true;
	return 0;
}

int state_writer_save_now(struct state_writer *w, const struct state *s)
{
	return write_numbered(w, s, ++w->asked);
}

void state_writer_free(struct state_writer *w)
{
	if (!w)
		return;
	pthread_mutex_destroy(&w->lock);
	free(w->path);
	free(w);
}
