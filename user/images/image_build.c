/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The build of an image: a process in a cgroup of its own, beside the functions, with
 * a limit of time and of memory; or, for a runtime that cannot fork, its first spare.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "images/image_internal.h"
#include "images/place.h"
#include "images/runtime.h"
#include "images/spare.h"
#include "images/spawn.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define MODULES_MAX 1024

/* The kernel's cap on the cgroup, where it has one, else on its address space. */
static void limit_memory(struct image *image)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, image->settings->memory_bytes);
	image->limited = write_file_at(image->cgroup_fd, "memory.max", text) < 0;
}

static int start_process(struct image *image, int listener, int log_fd)
{
	const struct image_settings *s = image->settings;
	char path[4096], library[1024], *lock, *argv[MODULES_MAX + 3];
	char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
		       "LANG=C.UTF-8",
		       HEARTH_ZYGOTE_FD_ENV "=3",
		       library,
		       path,
		       NULL,
		       NULL};
	struct spawn spec = {.cgroup_fd = image->cgroup_fd,
			     .stdio = {-1, log_fd, log_fd},
			     .keep_fd = listener,
			     .files = &image->manager->files,
			     .uid = s->uid,
			     .gid = s->gid,
			     .argv = argv,
			     .env = env,
			     .die_with_parent = true,
			     .address_bytes = image->limited ? s->memory_bytes : 0};
	int n = 0, pidfd, err;

	argv[n++] = s->interpreter;
	argv[n++] = image->manager->settings->bootstrap;
	for (char **m = s->module; *m; m++) {
		if (n > MODULES_MAX)
			return -E2BIG;
		argv[n++] = *m;
	}
	argv[n] = NULL;
	snprintf(path, sizeof(path), "PYTHONPATH=%s", s->path);
	snprintf(library, sizeof(library), "HEARTH_ZYGOTE_LIB=%s",
		 image->manager->settings->library);
	if (asprintf(&lock, "HEARTH_ZYGOTE_LOCK=%s", s->lock) < 0)
		return -ENOMEM;
	if (*s->lock)
		env[ARRAY_SIZE(env) - 2] = lock;
	err = spawn(&spec, &image->pid, &pidfd);
	free(lock);
	if (!err)
		close(pidfd);
	return err;
}

/* Its process runs, with somebody connected who waits until it serves. */
static int start(struct image *image)
{
	_cleanup_close_ int listener = -1, log_fd = -1;
	int conn, fd, err;

	/* where one was killed as a whole, none can be born: see place_renew() */
	place_remove(image->manager, image->cgroup);
	image->cgroup_fd = place_make(image->manager, image->settings, image->cgroup);
	if (image->cgroup_fd < 0)
		return image->cgroup_fd;
	cgroup_freeze_write(image->cgroup_fd, false);
	limit_memory(image);
	log_fd = open(image->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		return -errno;
	if (!image->settings->runtime->forks)
		return spare_make(image);
	listener = hearth_zygote_listen(image->socket, NULL);
	if (listener < 0)
		return listener;
	conn = hearth_zygote_connect(image->socket, NULL);
	if (conn < 0)
		return conn;
	fd = fcntl(image->cgroup_fd, F_DUPFD_CLOEXEC, 0);
	err = start_process(image, listener, log_fd);
	if (!err)
		return image_jobs_wait_ready(image, conn, fd);
	close(conn);
	close(fd);
	return err;
}

int image_build(struct image *image, bool requested)
{
	int err;

	if (image->ending || image->manager->ending)
		return -EAGAIN;
	if (image->state != IMAGE_NONE) {
		image->requested |= requested;
		return 0;
	}
	image->state = IMAGE_BUILDING;
	image->requested = requested;
	image->error[0] = '\0';
	image->spares_after_ns = 0;
	image->begun_ns = now_ns();
	err = start(image);
	if (!err)
		return 0;
	image_note_failure(image, spawn_reason(err));
	image_kill(image);
	image_try_finish(image);
	return err;
}

static void become_ready(struct image *image)
{
	struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};

	if (image->limited && image->pid && /* of the build: instances would inherit it */
	    prlimit(image->pid, RLIMIT_AS, &none, NULL) < 0)
		log_warn("image %s: its instances keep the limit of its address space: %s",
			 image->settings->name, strerror(errno));
	image->state = IMAGE_RESIDENT;
	image->used_ns = image->hot_ns = now_ns();
	image->lent = true; /* its memory has not been taken yet */
	image->build_took_ns = image->used_ns - image->begun_ns;
	log_info("image %s: built in %" PRIu64 " ms", image->settings->name,
		 image->build_took_ns / NSEC_PER_MSEC);
	if (!image->busy && (image->requested || !image->idle_since_ns))
		keep_idle(image);
	image_built(image);
	image_step(image);
	keep_budget(image->manager);
}

void image_on_ready(struct image *image, int err, const char *error)
{
	if (!err && image_lives(image) && !image->ending) {
		become_ready(image);
		return;
	}
	if (!image->ending && !*image->error)
		image_note_failure(image, err == -ETIMEDOUT ? "not ready in time" : error);
	if (image_lives(image))
		image_kill(image);
	image_try_finish(image);
}
