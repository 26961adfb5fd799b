/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "images/place.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define EMPTY_WAIT_NS (2 * NSEC_PER_SEC) /* for what was killed; it may be stuck in the kernel */
#define SWEEP_MAX     4096               /* cgroups looked at; the rest waits for the next start */

char *place_path(const struct manager *m, uid_t uid, const char *tail)
{
	char *path;

	return asprintf(&path, "%s/%u/%s", m->settings->cgroup, uid, tail) < 0 ? NULL : path;
}

/* Who may move processes between two cgroups: the owner of both lists and of that above both. */
static int delegate(int fd, const struct image_settings *owner)
{
	return fchownat(fd, "cgroup.procs", owner->uid, owner->gid, 0) < 0 ? -errno : 0;
}

/* Who is charged for what can be told, and capped, only where controllers are handed down. */
static void account(int fd)
{
	write_file_at(fd, "cgroup.subtree_control", "+memory"); /* fails where there is none */
	write_file_at(fd, "cgroup.subtree_control", "+pids");
}

/* All that an owner's images and functions start, so that nobody else is left without a pid. */
static void bound(struct manager *m, int owner_fd)
{
	char most[32] = "max";
	int err;

	if (m->settings->owner_processes)
		snprintf(most, sizeof(most), "%" PRIu64, m->settings->owner_processes);
	err = write_file_at(owner_fd, "pids.max", most);
	if (err && !m->unbound)
		log_info(
		    "no pids controller in cgroup v2 here (%s): owner_processes does not count",
		    strerror(-err));
	m->unbound |= err != 0;
}

static int on_owner(int fd, uint64_t id, const char *path, void *arg)
{
	struct manager *m = arg;
	size_t own = strlen(m->settings->cgroup);

	(void)id;
	if (strlen(path) <= own)
		return 0;
	if (strspn(path + own + 1, "0123456789") == strlen(path + own + 1))
		bound(m, fd);
	return 1;
}

void place_bound(struct manager *m)
{
	cgroup_walk(m->root_fd, m->settings->cgroup, on_owner, m);
}

int place_make(struct manager *m, const struct image_settings *owner, const char *path)
{
	size_t own = strlen(m->settings->cgroup);
	char part[PATH_MAX];
	int fd = -1, err = 0, level = 0;

	if (strlen(path) >= sizeof(part))
		return -ENAMETOOLONG;
	for (const char *end = path; !err; end++) {
		end = strchrnul(end, '/');
		memcpy(part, path, end - path);
		part[end - path] = '\0';
		if (mkdirat(m->root_fd, part, 0755) < 0 && errno != EEXIST)
			return -errno;
		if ((size_t)(end - path) >= own) {
			if (fd >= 0)
				close(fd);
			fd = cgroup_open(m->root_fd, part);
			err = fd < 0 ? fd : level > 0 ? delegate(fd, owner) : 0;
			if (level++ == 1 && !err)
				bound(m, fd);
		}
		if (!*end)
			break;
		if (fd >= 0)
			account(fd);
	}
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

int place_leaf(struct manager *m, const struct image_settings *owner, const char *path)
{
	int fd, err;

	if (mkdirat(m->root_fd, path, 0755) < 0)
		return -errno;
	fd = cgroup_open(m->root_fd, path);
	err = fd < 0 ? fd : delegate(fd, owner);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	unlinkat(m->root_fd, path, AT_REMOVEDIR);
	return err;
}

void place_remove(struct manager *m, const char *path)
{
	char part[PATH_MAX], *slash;

	snprintf(part, sizeof(part), "%s", path);
	while (strlen(part) > strlen(m->settings->cgroup) &&
	       unlinkat(m->root_fd, part, AT_REMOVEDIR) == 0 && (slash = strrchr(part, '/')))
		*slash = '\0';
}

/* Until then what is in it cannot be removed, and the socket of an image is in use. */
static void wait_empty(int fd, uint64_t give_up_ns)
{
	while (cgroup_read_populated(fd) == 1 && now_ns() < give_up_ns)
		nanosleep(&(struct timespec){.tv_nsec = NSEC_PER_MSEC}, NULL);
}

int place_renew(struct manager *m, const struct image_settings *owner, const char *path, int *fd)
{
	int fresh;

	wait_empty(*fd, now_ns() + EMPTY_WAIT_NS);
	if (unlinkat(m->root_fd, path, AT_REMOVEDIR) < 0)
		return -errno;
	fresh = place_make(m, owner, path);
	if (fresh < 0)
		return fresh;
	close(*fd);
	*fd = fresh;
	return 0;
}

struct sweep {
	size_t own; /* bytes of the manager's own path */
	uint64_t give_up_ns;
	char *paths[SWEEP_MAX];
	size_t n;
};

static int on_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	struct sweep *sweep = arg;
	int image = 0, instance = 0;

	(void)id;
	if (strlen(path) <= sweep->own)
		return 0;
	sscanf(path + sweep->own, "/%*u/image%n", &image);
	sscanf(path + sweep->own, "/%*u/fn%n", &instance);
	if (!image && !instance)
		return 0; /* of an owner as a whole, or somebody else's */
	/* a manager that was killed took its images along; what they had started may be left */
	if (image) {
		cgroup_freeze_write(fd, false);
		cgroup_kill(fd);
		wait_empty(fd, sweep->give_up_ns);
	}
	if (sweep->n < SWEEP_MAX && (sweep->paths[sweep->n] = strdup(path)))
		sweep->n++;
	return 0;
}

void place_sweep(struct manager *m)
{
	_cleanup_free_ struct sweep *sweep = calloc(1, sizeof(*sweep));
	int err = -ENOMEM;

	if (sweep) {
		sweep->own = strlen(m->settings->cgroup);
		sweep->give_up_ns = now_ns() + EMPTY_WAIT_NS;
		err = cgroup_walk(m->root_fd, m->settings->cgroup, on_cgroup, sweep);
	}
	if (err && err != -ENOENT)
		log_warn("%s: %s", m->settings->cgroup, strerror(-err));
	for (size_t i = sweep ? sweep->n : 0; i-- > 0;) {
		unlinkat(m->root_fd, sweep->paths[i], AT_REMOVEDIR);
		free(sweep->paths[i]);
	}
}
