/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Shared by the files of the workset module: the set itself, the look at a
 * process's page tables, and whether a process still belongs to the instance.
 * Invariant: ranges of a process are sorted, disjoint and page-aligned.
 */
#ifndef HEARTH_WORKSET_INTERNAL_H
#define HEARTH_WORKSET_INTERNAL_H

#include <limits.h>
#include <sys/types.h>

#include "agent/workset.h"

struct ws_range {
	uint64_t start, end;
	uint32_t age; /* grows with each recording that does not confirm it */
};

struct ws_process {
	uint64_t start_ticks;
	pid_t pid;
	uint32_t first, n; /* its ranges */
};

struct workset {
	struct ws_process *processes;
	struct ws_range *ranges;
	uint32_t n_processes, n_ranges;
	uint32_t cap_processes, cap_ranges;
	uint32_t left_out;
};

/* ---- building, in order: a process, then its ranges from low to high */

int set_new(struct workset **out);
int set_add_process(struct workset *set, pid_t pid, uint64_t start_ticks);
int set_add_range(struct workset *set, uint64_t start, uint64_t end, uint32_t age);
void set_finish(struct workset *set); /* at most WORKSET_MAX_RANGES from here on */

/* ---- the instance's processes */

struct scope {
	int dirfd, rootfd;
	char path[PATH_MAX];
};

/* -ENOENT: the cgroup is gone, or dirfd is another one. */
int scope_open(struct scope *s, int dirfd, uint64_t cgid);
void scope_close(struct scope *s);
/* 0: still there, and the process is in it; -ENOENT: it is gone; -ESRCH: the process is not. */
int scope_check(const struct scope *s, pid_t pid);

struct target {
	pid_t pid;
	uint64_t start_ticks;
	int pidfd;
	int pagemap; /* of the program it runs now: empty after another exec */
};

/*
 * The process with this pid, in scope, if it started at start_ticks (0: whenever;
 * it is filled in). -ESRCH if it is not it; -EACCES and the like if it may not be read.
 */
int target_open(const struct scope *s, pid_t pid, uint64_t start_ticks, struct target *out);
void target_close(struct target *t);
/* As scope_check, and -ESRCH if the process is dead. */
int target_check(const struct target *t, const struct scope *s);

/* ---- pages */

enum page_kind { PAGE_PRESENT, PAGE_SWAPPED };

struct region {
	uint64_t start, end;
};

/*
 * Private anonymous pages of a kind in [start, end): fills at most max regions,
 * *next says where to go on. Their number or -errno.
 */
int pages_scan(int pagemap, enum page_kind kind, uint64_t start, uint64_t end,
	       struct region *regions, size_t max, uint64_t *next);

/* The two ways of it: an ioctl of kernel 6.7 (else -ENOTTY), and reading one word per page. */
int pages_scan_ioctl(int pagemap, enum page_kind kind, uint64_t start, uint64_t end,
		     struct region *regions, size_t max, uint64_t *next);
int pages_scan_words(int pagemap, enum page_kind kind, uint64_t start, uint64_t end,
		     struct region *regions, size_t max, uint64_t *next);

uint64_t page_bytes(void);

#endif
