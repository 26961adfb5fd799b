/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "images/image_internal.h"
#include "images/place.h"
#include "images/runtime.h"
#include "images/spare.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/util.h"

#define USES_MIN       2 /* a first use alone may never recur: an image would cost more than it saves */
#define BACKOFF_MIN_NS NSEC_PER_SEC
#define BACKOFF_MAX_NS (5 * NSEC_PER_MIN)

static void on_timer(uv_timer_t *timer)
{
	image_step(timer->data);
}

/* A name that no other has, for its cgroup and files: one that was replaced may still be there. */
static void place_name(struct manager *m, const char *name, char *out, size_t size)
{
	struct image *other;

	DL_FOREACH (m->images, other) {
		if (!strcmp(other->settings->name, name)) {
			snprintf(out, size, "%s@%" PRIu64, name, ++m->image_serial);
			return;
		}
	}
	snprintf(out, size, "%s", name);
}

static int name_places(struct image *image, const struct image_settings *settings)
{
	struct manager *m = image->manager;
	char name[IMAGE_NAME_MAX + 24], tail[sizeof("image/") + sizeof(name)];

	place_name(m, settings->name, name, sizeof(name));
	snprintf(tail, sizeof(tail), "image/%s", name);
	image->cgroup = place_path(m, settings->uid, tail);
	if (!image->cgroup ||
	    asprintf(&image->socket, "%s/%s.sock", m->settings->run_dir, name) < 0 ||
	    asprintf(&image->log, "%s/%s.log", m->settings->run_dir, name) < 0)
		return -ENOMEM;
	return 0;
}

static void done(struct image *image)
{
	keep_done(image);
	usage_done(&image->usage);
	image_settings_free(image->settings);
	free(image->cgroup);
	free(image->socket);
	free(image->log);
	free(image);
}

int image_new(struct manager *m, struct image_settings *settings, struct image **out)
{
	struct image *image = calloc(1, sizeof(*image));
	int err = -ENOMEM;

	if (!image)
		return err;
	image->manager = m;
	image->cgroup_fd = -1;
	image->rate_ns = now_ns();
	err = name_places(image, settings);
	if (!err)
		err = keep_init(image, settings->policy);
	if (!err)
		err = uv_timer_init(&m->loop, &image->timer);
	if (err) {
		done(image);
		return err;
	}
	image->settings = settings;
	image->timer.data = image;
	DL_APPEND(m->images, image);
	*out = image;
	return 0;
}

static void on_closed(uv_handle_t *timer)
{
	done(timer->data);
}

void image_free(struct image *image)
{
	if (image->retired)
		unlink(image->log); /* nobody shows it any more */
	DL_DELETE(image->manager->images, image);
	uv_close((uv_handle_t *)&image->timer, on_closed);
}

/* ---- failures */

/* What it said last, for an error: ": ModuleNotFoundError: ..." */
static void last_words(const struct image *image, char *text, size_t size)
{
	_cleanup_close_ int fd = open(image->log, O_RDONLY | O_CLOEXEC);
	char tail[192];
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = end > (off_t)sizeof(tail) - 1 ? end - (off_t)sizeof(tail) + 1 : 0;
	ssize_t n = fd < 0 ? 0 : pread(fd, tail, sizeof(tail) - 1, from);
	char *line;

	*text = '\0';
	while (n > 0 && tail[n - 1] == '\n')
		n--;
	if (n <= 0)
		return;
	tail[n] = '\0';
	line = strrchr(tail, '\n');
	snprintf(text, size, ": %s", line ? line + 1 : tail);
}

void image_note_failure(struct image *image, const char *why)
{
	char words[200];

	last_words(image, words, sizeof(words));
	snprintf(image->error, sizeof(image->error), "%.110s%s", why, words);
	text_make_plain(image->error); /* its modules may have said anything */
	image->backoff_ns = MIN(MAX(2 * image->backoff_ns, BACKOFF_MIN_NS), BACKOFF_MAX_NS);
	image->retry_ns = now_ns() + image->backoff_ns;
	log_warn("image %s: %s", image->settings->name, image->error);
}

bool image_lives(const struct image *image)
{
	return image->pid || image->spares;
}

void image_try_finish(struct image *image)
{
	if (image_lives(image) || image->job)
		return;
	image->state = IMAGE_NONE;
	image->ending = false;
	image->resident_bytes = image->swap_bytes = 0;
	unlink(image->socket);
	if (image->cgroup_fd >= 0)
		close(image->cgroup_fd);
	image->cgroup_fd = -1;
	place_remove(image->manager, image->cgroup);
	image_built(image);
	image_step(image);
	keep_budget(image->manager);
}

void image_exited(struct image *image, int status)
{
	char why[64];

	image->pid = 0;
	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "ended by signal %d", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), "ended with status %d", WEXITSTATUS(status));
	if (!image->ending && !*image->error)
		image_note_failure(image, why);
	image->ending = true;
	cgroup_kill(image->cgroup_fd); /* its spares, and what its modules had started */
	image_jobs_cancel(image);
	image_try_finish(image);
}

void image_kill(struct image *image)
{
	image->ending = true;
	image_jobs_cancel(image);
	if (image->cgroup_fd >= 0)
		cgroup_kill(image->cgroup_fd);
}

static int end(struct image *image)
{
	if (image->children)
		return -EBUSY;
	if (image->state == IMAGE_NONE)
		return -ENOENT;
	log_info("image %s: evicted", image->settings->name);
	image_kill(image);
	image_try_finish(image); /* of spares alone, there may be none just now */
	return 0;
}

int image_evict(struct image *image)
{
	if (!image->children)
		keep_forget(image); /* before it ends: the end asks whether it is wanted */
	return end(image);
}

/* ---- use */

bool image_shares(const struct image *image, enum image_start how)
{
	return how != START_COLD && image->settings->runtime->forks;
}

bool image_begin(struct image *image, struct spare **spare)
{
	*spare = NULL;
	image->busy++;
	image->uses++;
	keep_arrival(image);
	if (image->state == IMAGE_NONE && image->uses >= USES_MIN && now_ns() >= image->retry_ns)
		image_build(image, false);
	if (image->state < IMAGE_RESIDENT || image->ending)
		return false;
	image_jobs_cancel(image);
	if ((image->state == IMAGE_FROZEN || image->job) &&
	    cgroup_freeze_write(image->cgroup_fd, false) < 0)
		return false;
	image->state = IMAGE_RESIDENT;
	image->hot_ns = now_ns();
	image->spares_after_ns = 0;
	*spare = spare_take(image);
	if (!*spare && !image->settings->runtime->forks)
		return false;
	image->lent = true;
	image->children++;
	image->asking++;
	return true;
}

void image_started(struct image *image, bool asked, enum image_start how, uint64_t took_ns)
{
	image->asking -= asked;
	image->children -= asked && !image_shares(image, how);
	image->used_ns = now_ns();
	if (how == START_COLD) {
		image->cold++;
	} else {
		*(how == START_FORKED ? &image->forks : &image->claims) += 1;
		*(how == START_FORKED ? &image->fork_took_ns : &image->claim_took_ns) = took_ns;
		image->spares_backoff_ns = 0;
		image->backoff_ns = 0; /* one that dies before it is of use is built less often */
		image->usage.saved_ns += image->build_took_ns - MIN(image->build_took_ns, took_ns);
	}
	image_step(image);
}

void image_end(struct image *image, enum image_start how)
{
	image->busy--;
	image->children -= image_shares(image, how);
	if (!image->busy)
		keep_idle(image);
	image_step(image);
}

/* ---- idle */

/* Nothing was forked since its memory was taken but spares, which are to stay. */
static void freeze_again(struct image *image)
{
	if (cgroup_freeze_write(image->cgroup_fd, true) == 0)
		image->state = IMAGE_FROZEN;
}

static void page_out(struct image *image)
{
	int fd = fcntl(image->cgroup_fd, F_DUPFD_CLOEXEC, 0);

	image->used_ns = now_ns();
	image->lent = false;
	if (fd >= 0 && cgroup_freeze_write(image->cgroup_fd, true) == 0) {
		if (image_jobs_page_out(image, fd) == 0)
			return;
		cgroup_freeze_write(image->cgroup_fd, false);
	} else if (fd >= 0) {
		close(fd);
	}
}

void image_on_measured(struct image *image)
{
	if (image->ending)
		image_try_finish(image);
	else
		image_step(image);
	keep_budget(image->manager);
}

void image_on_paged(struct image *image, bool frozen)
{
	if (!image_lives(image)) {
		image_try_finish(image);
		return;
	}
	image->lent |= !frozen;
	if (frozen)
		image->state = IMAGE_FROZEN;
	else if (!image->ending)
		cgroup_freeze_write(image->cgroup_fd, false);
	image_step(image);
	keep_budget(image->manager);
}

static void wake_at(struct image *image, uint64_t at_ns, uint64_t now)
{
	if (at_ns == UINT64_MAX)
		uv_timer_stop(&image->timer);
	else
		uv_timer_start(&image->timer, on_timer,
			       at_ns <= now ? 1 : (at_ns - now) / NSEC_PER_MSEC + 1, 0);
}

/* True: it is on its way to be frozen. */
static bool go_idle(struct image *image, uint64_t now, uint64_t *next_ns)
{
	uint64_t freeze_ns = image->used_ns + image->settings->freeze_after_ns;

	if (image->state != IMAGE_RESIDENT || image->asking || image->job ||
	    spare_being_made(image))
		return image->job && image->state == IMAGE_RESIDENT && !image->asking;
	if (now < freeze_ns) {
		*next_ns = MIN(*next_ns, freeze_ns);
		return false;
	}
	if (spares_leave(image))
		return true;
	if (!image->lent) {
		freeze_again(image);
		return false;
	}
	page_out(image);
	return true;
}

/* Its last child has ended, or its process, or the last that was started cold: what is left? */
static void leave(struct image *image)
{
	uint64_t now = now_ns(), next = UINT64_MAX;

	if (image->left)
		return;
	if (image->state == IMAGE_NONE && !image->busy && !image->job) {
		image->left = true;
		image_free(image);
	} else if (end(image) == -EBUSY && image->state >= IMAGE_RESIDENT) {
		spare_drop(image);
		go_idle(image, now, &next);
		wake_at(image, next, now);
	}
}

void image_retire(struct image *image)
{
	image->retired = true;
	image_step(image);
}

void image_step(struct image *image)
{
	uint64_t now, next;
	bool wanted;

	if (image->manager->ending || image->ending)
		return;
	if (image->retired) {
		leave(image);
		return;
	}
	if (image->state == IMAGE_BUILDING)
		return;
	uv_update_time(&image->manager->loop);
	now = now_ns();
	wanted = keep_wanted(image, now, &next);
	if (image->state == IMAGE_NONE) {
		if (wanted && !image->busy && image->uses >= USES_MIN) {
			if (now >= image->retry_ns) {
				image_build(image, false);
				return;
			}
			next = image->retry_ns;
		}
	} else if (!wanted && !image->children) {
		end(image);
		return;
	} else if (!go_idle(image, now, &next)) {
		spares_keep(image, now, &next);
	}
	wake_at(image, next, now);
}
