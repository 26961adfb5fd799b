/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which pages a process has in memory or in swap, from its page tables. File and
 * shared pages never count. Recording visits the private mappings of every
 * process below the cgroup.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/workset_internal.h"
#include "lib/cgroup.h"
#include "lib/proc.h"
#include "lib/util.h"

#define SCAN_REGIONS 256u

/* At most this much in one call, about 1 ms: the process cannot map memory meanwhile. */
#define SCAN_BYTES (UINT64_C(256) << 20)

/* PAGEMAP_SCAN of <linux/fs.h>, which libc headers older than kernel 6.7 lack. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL   _IOWR('f', 16, struct scan_arg)
#define SCAN_FILE    (UINT64_C(1) << 2)
#define SCAN_PRESENT (UINT64_C(1) << 3)
#define SCAN_SWAPPED (UINT64_C(1) << 4)
#define SCAN_ZERO    (UINT64_C(1) << 5)

/* Words of /proc/PID/pagemap: Documentation/admin-guide/mm/pagemap.rst. */
#define WORD_FILE    (UINT64_C(1) << 61)
#define WORD_SWAPPED (UINT64_C(1) << 62)
#define WORD_PRESENT (UINT64_C(1) << 63)
#define WORDS        2048u

/* Reading words costs 8 bytes a page, used or not: larger mappings are reservations. */
#define WORDS_MAX_BYTES (UINT64_C(64) << 30)

uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- page tables */

int pages_scan_ioctl(int pagemap, enum page_kind kind, uint64_t start, uint64_t end,
		     struct region *regions, size_t max, uint64_t *next)
{
	struct scan_region found[SCAN_REGIONS];
	uint64_t wanted = kind == PAGE_PRESENT ? SCAN_PRESENT : SCAN_SWAPPED;
	struct scan_arg arg = {
	    .size = sizeof(arg),
	    .start = start,
	    .end = end,
	    .vec = (uint64_t)(uintptr_t)found,
	    .vec_len = MIN(max, (size_t)SCAN_REGIONS),
	    .category_mask = wanted | SCAN_FILE | SCAN_ZERO,
	    .category_inverted = SCAN_FILE | SCAN_ZERO,
	    .return_mask = wanted,
	};
	int n = ioctl(pagemap, SCAN_IOCTL, &arg);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		regions[i] = (struct region){found[i].start, found[i].end};
	*next = arg.walk_end;
	return n;
}

int pages_scan_words(int pagemap, enum page_kind kind, uint64_t start, uint64_t end,
		     struct region *regions, size_t max, uint64_t *next)
{
	uint64_t wanted = kind == PAGE_PRESENT ? WORD_PRESENT : WORD_SWAPPED;
	uint64_t words[WORDS], page = page_bytes(), at = start;
	size_t n = 0;

	while (at < end) {
		size_t count = MIN((end - at) / page, (uint64_t)WORDS);
		ssize_t got =
		    pread(pagemap, words, count * sizeof(words[0]), (off_t)(at / page * 8));

		if (got < 0)
			return -errno;
		if (got < 8)
			break; /* beyond what can be mapped, or the program is gone */
		for (size_t i = 0; i < (size_t)got / 8; i++, at += page) {
			if ((words[i] & (wanted | WORD_FILE)) != wanted)
				continue;
			if (n && regions[n - 1].end == at) {
				regions[n - 1].end += page;
			} else if (n < max) {
				regions[n++] = (struct region){at, at + page};
			} else {
				*next = at;
				return (int)n;
			}
		}
	}
	*next = end;
	return (int)n;
}

int pages_scan(int pagemap, enum page_kind kind, uint64_t start, uint64_t end,
	       struct region *regions, size_t max, uint64_t *next)
{
	int n = pages_scan_ioctl(pagemap, kind, start, end, regions, max, next);

	if (n != -ENOTTY)
		return n;
	return pages_scan_words(pagemap, kind, start, end, regions, max, next);
}

/* ---- who is in the instance */

int scope_open(struct scope *s, int dirfd, uint64_t cgid)
{
	char mount[PATH_MAX];
	uint64_t id;
	int root, rc = cgroup_id_of_fd(dirfd, &id);

	if (rc == 0 && id != cgid)
		rc = -ENOENT;
	if (rc == 0)
		rc = cgroup_root_open("/proc", &root, mount, sizeof(mount));
	if (rc < 0)
		return rc;
	rc = cgroup_path_of_fd(root, dirfd, s->path, sizeof(s->path));
	if (rc < 0) {
		close(root);
		return rc;
	}
	s->dirfd = dirfd;
	s->rootfd = root;
	return 0;
}

void scope_close(struct scope *s)
{
	close(s->rootfd);
}

static int still_there(const struct scope *s)
{
	char path[PATH_MAX];

	return cgroup_path_of_fd(s->rootfd, s->dirfd, path, sizeof(path));
}

/* A path belongs to the cgroup that was opened by it as long as that exists. */
int scope_check(const struct scope *s, pid_t pid)
{
	size_t n = strlen(s->path);
	char path[PATH_MAX];
	int rc = still_there(s);

	if (rc < 0)
		return rc;
	rc = proc_cgroup_v2_path("/proc", pid, path, sizeof(path));
	if (rc < 0)
		return -ESRCH;
	return !strncmp(path, s->path, n) && (!n || !path[n] || path[n] == '/') ? 0 : -ESRCH;
}

static int alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0 ? 0 : -ESRCH;
}

int target_check(const struct target *t, const struct scope *s)
{
	int rc = scope_check(s, t->pid);

	return rc < 0 ? rc : alive(t->pidfd);
}

static int open_pagemap(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

/*
 * The pidfd comes first and the look at it last: alive all the while, the pid
 * cannot have been anybody else's in between.
 */
int target_open(const struct scope *s, pid_t pid, uint64_t start_ticks, struct target *out)
{
	struct target t = {.pid = pid, .pidfd = proc_pidfd_open(pid), .pagemap = -1};
	int rc;

	if (t.pidfd < 0)
		return t.pidfd;
	rc = proc_start_time("/proc", pid, &t.start_ticks);
	if (rc == 0 && start_ticks && t.start_ticks != start_ticks)
		rc = -ESRCH;
	if (rc == 0) {
		t.pagemap = open_pagemap(pid);
		rc = t.pagemap < 0 ? t.pagemap : target_check(&t, s);
	}
	if (rc < 0) {
		target_close(&t);
		return rc;
	}
	*out = t;
	return 0;
}

void target_close(struct target *t)
{
	if (t->pagemap >= 0)
		close(t->pagemap);
	close(t->pidfd);
}

/* ---- recording */

struct recording {
	struct workset *set;
	struct scope scope;
	enum page_kind kind;
	const _Atomic bool *cancel;
};

static bool cancelled(const struct recording *rec)
{
	return rec->cancel && atomic_load(rec->cancel);
}

static bool too_large_for_words(int pagemap, uint64_t start, uint64_t end)
{
	struct region first;
	uint64_t next;

	return end - start > WORDS_MAX_BYTES &&
	       pages_scan_ioctl(pagemap, PAGE_PRESENT, start, start + page_bytes(), &first, 1,
				&next) == -ENOTTY;
}

static int record_mapping(struct recording *rec, int pagemap, uint64_t at, uint64_t end)
{
	struct region regions[SCAN_REGIONS];
	int rc = 0;

	if (too_large_for_words(pagemap, at, end))
		return 0;
	while (rc == 0 && at < end) {
		uint64_t stop = MIN(end, at + SCAN_BYTES);
		int n = pages_scan(pagemap, rec->kind, at, stop, regions, SCAN_REGIONS, &at);

		if (n < 0)
			return n;
		for (int i = 0; rc == 0 && i < n; i++)
			rc = set_add_range(rec->set, regions[i].start, regions[i].end, 0);
		if (cancelled(rec))
			return -ECANCELED;
	}
	return rc;
}

/* Private mappings that something can be in; those of the kernel ([vvar], [vdso]) are not ours. */
static bool parse_mapping(const char *line, uint64_t *start, uint64_t *end)
{
	char perms[5];

	return sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", start, end, perms) == 3 &&
	       perms[3] == 'p' && strncmp(perms, "---", 3) != 0 && !strstr(line, " [v");
}

static int record_mappings(struct recording *rec, const struct target *t)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	uint64_t start, end;
	char path[64];
	size_t cap = 0;
	int rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)t->pid);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	rc = target_check(t, &rec->scope); /* what was opened is this process's */
	while (rc == 0 && getline(&line, &cap, f) > 0)
		if (parse_mapping(line, &start, &end))
			rc = record_mapping(rec, t->pagemap, start, end);
	return rc;
}

/* What ends the whole recording; anything else is about one process. */
static bool is_fatal(int rc)
{
	return rc == -ECANCELED || rc == -ENOMEM || rc == -ENOENT;
}

static int record_process(pid_t pid, void *arg)
{
	struct recording *rec = arg;
	struct target t;
	int rc;

	if (rec->set->n_processes == WORKSET_MAX_PROCESSES) {
		rec->set->left_out++;
		return 0;
	}
	rc = target_open(&rec->scope, pid, 0, &t);
	if (rc == 0) {
		rc = set_add_process(rec->set, pid, t.start_ticks);
		if (rc == 0)
			rc = record_mappings(rec, &t);
		target_close(&t);
	}
	if (rc == -ESRCH)
		return 0;
	if (rc < 0 && !is_fatal(rc))
		rec->set->left_out++;
	return is_fatal(rc) ? rc : 0;
}

static int record_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	int rc = cgroup_procs(fd, record_process, arg);

	(void)id;
	(void)path;
	return is_fatal(rc) && rc != -ENOENT ? rc : 0; /* nested ones may go, or be threaded */
}

static int record(int dirfd, uint64_t cgid, enum page_kind kind, const _Atomic bool *cancel,
		  struct workset **out)
{
	struct recording rec = {.kind = kind, .cancel = cancel};
	int rc = scope_open(&rec.scope, dirfd, cgid);

	if (rc < 0)
		return rc;
	rc = set_new(&rec.set);
	if (rc == 0)
		rc = cgroup_walk(dirfd, "", record_cgroup, &rec);
	if (rc == 0)
		rc = still_there(&rec.scope);
	scope_close(&rec.scope);
	if (rc < 0) {
		workset_free(rec.set);
		return rc;
	}
	set_finish(rec.set);
	*out = rec.set;
	return 0;
}

int workset_record(int dirfd, uint64_t cgid, const _Atomic bool *cancel, struct workset **out)
{
	return record(dirfd, cgid, PAGE_PRESENT, cancel, out);
}

int workset_swapped(int dirfd, uint64_t cgid, const _Atomic bool *cancel, struct workset **out)
{
	return record(dirfd, cgid, PAGE_SWAPPED, cancel, out);
}
