/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reclaim by paging out the private mappings of every process, for hosts whose
 * cgroup2 has no memory controller, and for file pages alone where the kernel
 * knows no swappiness. smaps tells what is resident and what may be touched.
 *
 * A process is held by its pidfd, and seen in its cgroup before each batch.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "agent/reclaim_internal.h"
#include "lib/cgroup.h"
#include "lib/proc.h"
#include "lib/swap.h"
#include "lib/util.h"

#define KB      UINT64_C(1024)
#define RANGES  64         /* mappings in one call */
#define STOPPED -ECANCELED /* ends the walk: no error, but no more batches */

/* Found dense after a hole, so much can be one batch, and the next one is smaller. */
#define PIECE_MAX (UINT64_C(256) << 20)

struct mapping {
	uintptr_t start, end;
	bool private, file, special;
	uint64_t resident_bytes;
	uint64_t anon_bytes;
};

struct process {
	struct reclaim_job *job;
	bool anon; /* anonymous memory may go, and has where to go */
	int cgroup;
	pid_t pid;
	int pidfd;
	struct iovec ranges[RANGES];
	size_t n;
	uint64_t resident_bytes; /* in the ranges */
	uint64_t anon_bytes;
};

/* ---- one batch */

static int is_pid(pid_t pid, void *arg)
{
	return pid == *(pid_t *)arg;
}

/* Together with a pidfd that still takes advice: it is that process and no successor. */
static bool is_member(struct process *p)
{
	return cgroup_procs(p->cgroup, is_pid, &p->pid) == 1;
}

static uint64_t resident(pid_t pid)
{
	char path[64], text[256];
	uint64_t pages = 0;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	if (read_file_at(AT_FDCWD, path, text, sizeof(text)) >= 0)
		sscanf(text, "%*u %" SCNu64, &pages);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Leave out what the call has done, and the range that it could not. */
static size_t after_advice(struct iovec *v, size_t n, size_t done)
{
	size_t i = 0;

	while (i < n && done >= v[i].iov_len)
		done -= v[i++].iov_len;
	return MIN(i + 1, n);
}

/* 0 when all that can be is advised; -ESRCH: the process is gone. */
static int advise(struct process *p)
{
	for (size_t i = 0; i < p->n;) {
		ssize_t done = syscall(SYS_process_madvise, p->pidfd, p->ranges + i, p->n - i,
				       MADV_PAGEOUT, 0);

		if (done < 0 && (errno == ESRCH || errno == EPERM || errno == ENOSYS))
			return -errno;
		i += after_advice(p->ranges + i, p->n - i, done < 0 ? 0 : (size_t)done);
	}
	return 0;
}

static int page_out(struct process *p)
{
	uint64_t begun = now_ns(), before = resident(p->pid), after;
	struct pace_batch batch = {.asked_bytes = p->resident_bytes};
	int rc = advise(p);

	if (rc == 0) {
		after = resident(p->pid);
		batch.returned_bytes = before - MIN(before, after);
		batch.swapped_bytes = (uint64_t)((double)batch.returned_bytes *
						 (double)p->anon_bytes / (double)p->resident_bytes);
		batch.took_ns = now_ns() - begun;
		pace_done(&p->job->pace, &batch);
	}
	p->n = 0;
	p->resident_bytes = p->anon_bytes = 0;
	return rc;
}

/* Page out what is gathered, if it may be. */
static int flush(struct process *p)
{
	uint64_t bytes;
	int rc;

	if (!p->n)
		return 0;
	rc = reclaim_next(p->job, &bytes);
	if (rc <= 0)
		return rc < 0 ? rc : STOPPED;
	return is_member(p) ? page_out(p) : -ESRCH;
}

/* ---- mappings */

static void add_range(struct process *p, const struct mapping *m, uintptr_t at, uint64_t bytes)
{
	uint64_t resident_bytes = MIN(m->resident_bytes, bytes);

	p->ranges[p->n++] = (struct iovec){(void *)at, bytes};
	p->resident_bytes += resident_bytes;
	p->anon_bytes += MIN(resident_bytes, m->anon_bytes);
}

/*
 * Gather a mapping: whole if a batch holds what is resident of it, else in
 * pieces. Heaps reserve far more than they use: pieces grow while nothing comes.
 */
static int add_mapping(struct process *p, const struct mapping *m)
{
	const struct pace *pace = &p->job->pace;
	uintptr_t at = m->start;
	uint64_t piece = 0;
	int rc = 0;

	while (rc == 0 && at < m->end) {
		uint64_t room = pace_next(pace), returned = pace->returned_bytes;
		uint64_t bytes = m->end - at;

		if (!room)
			return STOPPED;
		if (m->resident_bytes > room)
			bytes = MIN(bytes, MAX(piece, room));
		add_range(p, m, at, bytes);
		at += bytes;
		if (p->resident_bytes >= room || p->n == RANGES)
			rc = flush(p);
		piece = pace->returned_bytes > returned ? 0 : MIN(2 * bytes, PIECE_MAX);
	}
	return rc;
}

static bool worth_it(const struct process *p, const struct mapping *m)
{
	if (!m->private || m->special || !m->resident_bytes)
		return false;
	return p->anon || (m->file && !m->anon_bytes);
}

/* "start-end perms offset device inode   path" */
static bool parse_heading(const char *line, struct mapping *m)
{
	uint64_t start, end, inode;
	char perms[8];
	int path = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %" SCNu64 " %n", &start, &end, perms,
		   &inode, &path) != 4)
		return false;
	*m = (struct mapping){
	    .start = start,
	    .end = end,
	    .private = perms[3] == 'p',
	    .file = inode != 0,
	    .special = strncmp(line + path, "[v", 2) == 0, /* vdso, vvar, vsyscall */
	};
	return true;
}

/* Locked, device and huge pages refuse the advice. */
static bool refuses(const char *flags)
{
	static const char *const words[] = {" lo", " pf", " io", " ht"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(flags, words[i]))
			return true;
	return false;
}

/* True with the last line of a mapping. */
static bool parse_line(const char *line, struct mapping *m)
{
	uint64_t kb;

	if (sscanf(line, "Rss: %" SCNu64, &kb) == 1)
		m->resident_bytes = kb * KB;
	else if (sscanf(line, "Anonymous: %" SCNu64, &kb) == 1)
		m->anon_bytes = kb * KB;
	else if (strncmp(line, "VmFlags:", 8) == 0) {
		m->special |= refuses(line + 8);
		return true;
	} else {
		parse_heading(line, m);
	}
	return false;
}

static int walk_mappings(struct process *p, FILE *smaps)
{
	_cleanup_free_ char *line = NULL;
	struct mapping m = {0};
	size_t cap = 0;
	int rc = 0;

	while (rc == 0 && getline(&line, &cap, smaps) > 0)
		if (parse_line(line, &m) && worth_it(p, &m))
			rc = add_mapping(p, &m);
	return rc == 0 ? flush(p) : rc;
}

/* ---- processes */

/* smaps shows the process that had the number when it was opened: look again after. */
static int walk_process(struct process *p)
{
	_cleanup_fclose_ FILE *smaps = NULL;
	_cleanup_close_ int pidfd = proc_pidfd_open(p->pid);
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)p->pid);
	smaps = pidfd < 0 ? NULL : fopen(path, "re");
	if (!smaps || !is_member(p))
		return 0;
	p->pidfd = pidfd;
	p->n = 0;
	p->resident_bytes = p->anon_bytes = 0;
	rc = walk_mappings(p, smaps);
	return rc == -ESRCH ? 0 : rc;
}

struct pids {
	pid_t *list;
	size_t n, cap;
};

static int add_pid(pid_t pid, void *arg)
{
	struct pids *pids = arg;

	if (pids->n == pids->cap) {
		size_t cap = MAX(2 * pids->cap, (size_t)32);
		pid_t *list = reallocarray(pids->list, cap, sizeof(*list));

		if (!list)
			return -ENOMEM;
		pids->list = list;
		pids->cap = cap;
	}
	pids->list[pids->n++] = pid;
	return 0;
}

static int walk_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	struct process *p = arg;
	struct pids pids = {0};
	int rc = cgroup_procs(fd, add_pid, &pids);

	(void)id;
	p->cgroup = fd;
	for (size_t i = 0; rc == 0 && i < pids.n; i++) {
		p->pid = pids.list[i];
		rc = walk_process(p);
	}
	free(pids.list);
	if (rc == -EOPNOTSUPP || (rc == -ENOENT && *path))
		return 0; /* threaded: its domain lists the processes; or just removed */
	return rc;
}

int reclaim_by_madvise(struct reclaim_job *job)
{
	struct process p = {.job = job};
	struct swap_use swap;
	int rc = swap_read("/proc", "/sys", &swap);

	if (rc < 0)
		return rc;
	p.anon = job->options->swap && swap.free_bytes > 0;
	rc = cgroup_walk(job->dirfd, "", walk_cgroup, &p);
	if (rc == STOPPED)
		return 0;
	return (rc == -EPERM || rc == -ENOSYS) && !job->pace.batches ? -EOPNOTSUPP : rc;
}
