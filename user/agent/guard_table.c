/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard table's file: made afresh by each hearthd with an atomic rename,
 * after what its predecessor's table names was thawed. A file is only ever
 * read in full or thawed and replaced, never repaired.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/guard_layout.h"
#include "agent/guard_table.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/util.h"

#define TABLE_MAGIC   0x68756772u /* "hrgu" */
#define TABLE_VERSION 1u
#define TABLE_NAME    "guard.table"
#define TABLE_ASIDE   "guard.table.damaged"
#define TABLE_TMP     "guard.table.tmp"

enum verdict { TABLE_GOOD, TABLE_OTHER_VERSION, TABLE_OTHER_BOOT, TABLE_DAMAGED };

static uint64_t boot_digest(void)
{
	char id[64];
	ssize_t n = read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", id, sizeof(id));

	return n > 0 ? guard_digest(id, (size_t)n) : 0;
}

static uint64_t head_digest(const struct guard_head *h)
{
	return guard_digest(h, offsetof(struct guard_head, check));
}

uint64_t guard_process_id(pid_t pid)
{
	uint64_t ticks;
	char state;

	if (proc_state("/proc", pid, &state) < 0 || state == 'Z' || state == 'X' ||
	    proc_start_time("/proc", pid, &ticks) < 0)
		return 0;
	return ticks << GUARD_PID_BITS | (uint64_t)pid;
}

static bool table_path(const char *run_dir, const char *name, char *path)
{
	return (size_t)snprintf(path, PATH_MAX, "%s/%s", run_dir, name) < PATH_MAX;
}

void guard_table_close(struct guard_table *t)
{
	if (!t)
		return;
	if (t->head)
		munmap(t->head, t->bytes);
	free(t);
}

static void cleanup_table_p(struct guard_table **t)
{
	guard_table_close(*t);
}
#define _cleanup_table_ _cleanup_(cleanup_table_p)

static int map_table(int fd, size_t bytes, struct guard_table **out)
{
	struct guard_table *t = calloc(1, sizeof(*t));
	void *map;

	if (!t)
		return -ENOMEM;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		free(t);
		return -errno;
	}
	t->head = map;
	t->bytes = bytes;
	*out = t;
	return 0;
}

static void set_entries(struct guard_table *t, size_t head_bytes, size_t n)
{
	t->entries = (_Atomic uint64_t *)((char *)t->head + head_bytes);
	t->n = (uint32_t)n;
}

/* Finds the entries too: of a damaged table, all words behind where the head should be. */
static enum verdict examine(struct guard_table *t)
{
	const struct guard_head *h = t->head;
	size_t room = t->bytes - sizeof(*h);

	if (h->magic != TABLE_MAGIC || h->check != head_digest(h) || h->head_bytes % 8 ||
	    h->head_bytes > t->bytes || (t->bytes - h->head_bytes) / 8 != h->nslots) {
		set_entries(t, sizeof(*h), room / sizeof(uint64_t));
		return TABLE_DAMAGED;
	}
	set_entries(t, h->head_bytes, h->nslots);
	if (h->boot != boot_digest())
		return TABLE_OTHER_BOOT;
	if (h->version != TABLE_VERSION)
		return TABLE_OTHER_VERSION;
	return h->head_bytes == sizeof(*h) ? TABLE_GOOD : TABLE_DAMAGED;
}

/* 0 with *out NULL: there is a file, too short to hold anything. */
static int map_existing(const char *run_dir, struct guard_table **out, enum verdict *verdict)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct stat st;
	int rc;

	if (!table_path(run_dir, TABLE_NAME, path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(struct guard_head)) {
		*out = NULL;
		*verdict = TABLE_DAMAGED;
		return 0;
	}
	rc = map_table(fd, (size_t)st.st_size, out);
	if (rc == 0)
		*verdict = examine(*out);
	return rc;
}

int guard_table_attach(const char *run_dir, struct guard_table **out)
{
	_cleanup_table_ struct guard_table *t = NULL;
	enum verdict verdict;
	int rc = map_existing(run_dir, &t, &verdict);

	if (rc < 0)
		return rc;
	if (verdict != TABLE_GOOD)
		return verdict == TABLE_DAMAGED ? -EBADMSG : -EPROTO;
	*out = steal_ptr(t);
	return 0;
}

void guard_thaw_log(const char *what, const struct guard_thaw *r)
{
	log_warn("%s: thawed %u cgroups, %u more are gone", what, r->thawed, r->gone);
	if (r->blocked)
		log_warn("%s: %u cgroups stay frozen by an ancestor that hearth did not freeze "
			 "(last: id %llu)",
			 what, r->blocked, (unsigned long long)r->blocked_id);
	if (r->pending)
		log_warn("%s: %u cgroups are thawed but their tasks did not run yet", what,
			 r->pending);
	if (r->failed)
		log_error("%s: %u cgroups could not be thawed (last: id %llu: %s)", what, r->failed,
			  (unsigned long long)r->failed_id, strerror(-r->error));
	if (r->unreadable)
		log_error("%s: %u damaged entries of the table name no cgroup", what,
			  r->unreadable);
}

static void set_aside(const char *run_dir)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (!table_path(run_dir, TABLE_NAME, from) || !table_path(run_dir, TABLE_ASIDE, to))
		return;
	if (rename(from, to) < 0)
		log_error("guard table %s is damaged and cannot be set aside: %s", from,
			  strerror(errno));
	else
		log_warn("guard table %s is damaged; set aside as %s", from, to);
}

/* Undo what the existing table names. A live owner is told by *owner. */
static int undo(const char *run_dir, int cgroot_fd, bool spare_live, uint64_t *owner)
{
	_cleanup_table_ struct guard_table *t = NULL;
	struct guard_thaw result = {0};
	enum verdict verdict;
	int rc = map_existing(run_dir, &t, &verdict);

	*owner = 0;
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (t && (verdict == TABLE_GOOD || verdict == TABLE_OTHER_VERSION)) {
		uint64_t id = guard_table_agent(t);

		if (id && guard_process_id(guard_process_pid(id)) == id)
			*owner = id;
	}
	if (*owner && spare_live)
		return -EBUSY;
	if (t && verdict != TABLE_OTHER_BOOT && guard_table_count(t) > 0) {
		guard_thaw_all(t, cgroot_fd, !*owner, &result);
		guard_thaw_log("left behind by an earlier hearthd", &result);
	}
	if (verdict == TABLE_DAMAGED)
		set_aside(run_dir);
	return result.failed ? result.error : 0;
}

int guard_table_undo(const char *run_dir, int cgroot_fd)
{
	uint64_t owner;
	int rc = undo(run_dir, cgroot_fd, false, &owner);

	if (owner)
		log_warn("hearthd (pid %d) is running and may freeze again",
			 (int)guard_process_pid(owner));
	return rc;
}

static void write_head(struct guard_table *t, uint32_t nslots)
{
	struct guard_head *h = t->head;

	h->magic = TABLE_MAGIC;
	h->version = TABLE_VERSION;
	h->head_bytes = sizeof(*h);
	h->nslots = nslots;
	h->boot = boot_digest();
	h->check = head_digest(h);
	atomic_store(&h->agent, guard_process_id(getpid()));
	set_entries(t, sizeof(*h), nslots);
}

int guard_table_create(const char *run_dir, uint32_t nslots, int cgroot_fd,
		       struct guard_table **out)
{
	_cleanup_table_ struct guard_table *t = NULL;
	size_t bytes = sizeof(struct guard_head) + nslots * sizeof(uint64_t);
	char path[PATH_MAX], tmp[PATH_MAX];
	_cleanup_close_ int fd = -1;
	uint64_t owner;
	int rc;

	rc = undo(run_dir, cgroot_fd, true, &owner);
	if (rc == -EBUSY && owner)
		return rc; /* any other failure is logged and must not keep hearthd down */
	if (!table_path(run_dir, TABLE_NAME, path) || !table_path(run_dir, TABLE_TMP, tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = -posix_fallocate(fd, 0, (off_t)bytes); /* full disk: an error now, not SIGBUS later */
	if (rc == 0)
		rc = map_table(fd, bytes, &t);
	if (rc < 0)
		goto out;
	write_head(t, nslots);
	if (mlock(t->head, bytes) < 0)
		log_info("guard table is not locked in memory: %s", strerror(errno));
	if (rename(tmp, path) < 0)
		rc = -errno;
out:
	if (rc < 0)
		unlink(tmp);
	else
		*out = steal_ptr(t);
	return rc;
}

void guard_table_remove(const char *run_dir)
{
	static const char *const names[] = {TABLE_NAME, TABLE_ASIDE, TABLE_TMP, GUARD_LOCK_NAME};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (table_path(run_dir, names[i], path))
			unlink(path);
}
