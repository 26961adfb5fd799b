/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The working set of an instance: which private anonymous pages of which of its
 * processes, in its cgroup and below, a request needs. It is what was in memory
 * after a request that found the instance paged out, and it is brought back from
 * swap before the next one. All calls block; they belong on a worker.
 *
 * Invariant: a process is known by pid and start time and is looked at only while
 * it is in the cgroup; a pid that was reused is never read. File pages are never
 * touched: they would be charged to hearthd.
 */
#ifndef HEARTH_WORKSET_H
#define HEARTH_WORKSET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bounds of one set. Processes beyond are left out (their pages come back on
 * demand); with more ranges the smallest gaps between them are closed, so a set
 * never lacks a page for this but may name some that were not needed.
 */
#define WORKSET_MAX_PROCESSES 256u
#define WORKSET_MAX_RANGES    4096u

struct workset;

/*
 * The pages that are in memory now. cancel may be NULL. -ENOENT: the cgroup is
 * gone; -ECANCELED; -ENOMEM. A process that cannot be read is left out.
 */
int workset_record(int dirfd, uint64_t cgid, const _Atomic bool *cancel, struct workset **out);

/* The pages that are in swap now: what to bring back when nothing was recorded. */
int workset_swapped(int dirfd, uint64_t cgid, const _Atomic bool *cancel, struct workset **out);

/*
 * What is known, renewed by a fresh recording. exact: nothing was prefaulted
 * before it, so what it lacks was not used; else it holds the prefaulted pages
 * whether they were used or not, and can add but not deny. A page is forgotten
 * after 4 exact recordings without it, or 32 of the other kind that could not
 * tell: then it is learned anew if it is used. Processes that are not in `fresh`
 * are dropped. known may be NULL.
 */
int workset_merge(const struct workset *known, const struct workset *fresh, bool exact,
		  struct workset **out);

int workset_copy(const struct workset *set, struct workset **out);
void workset_free(struct workset *set); /* NULL is fine */

uint64_t workset_bytes(const struct workset *set);
size_t workset_processes(const struct workset *set);
size_t workset_ranges(const struct workset *set);
size_t workset_left_out(const struct workset *set); /* processes beyond the bound, or unreadable */

struct prefault_options {
	const _Atomic bool *cancel; /* looked at before each batch of 1 MiB; may be NULL */
	uint64_t rate_bytes_s;      /* 0: no limit */
	double cpu_share;           /* of one core, 0..1; 0: no limit */
	bool disk;                  /* swap on a disk: ask for read-ahead first (MADV_WILLNEED) */
	bool backwards;             /* from the far end: beside a process that runs forwards */
};

struct prefault_result {
	uint64_t bytes; /* brought back; what was in memory already is not counted */
	uint64_t took_ns;
	uint64_t cpu_ns;
	bool cancelled;
	int error; /* negative errno of what ended it early, 0: none. -ENOENT: the cgroup is gone */
};

/*
 * Bring the pages of the set that are in swap back into memory; works on frozen
 * processes. One that died, ran another program or left the cgroup is skipped.
 * Two threads may work on one set from both ends: they share the work.
 * 0 or -errno as in r->error; r is always written.
 */
int workset_prefault(const struct workset *set, int dirfd, uint64_t cgid,
		     const struct prefault_options *o, struct prefault_result *r);

#endif
