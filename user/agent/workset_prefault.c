/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Brings pages back from swap by reading one byte of each: the kernel faults them
 * in on the process's account. Only pages that are in swap at that moment are
 * read, so neither file pages nor holes are, two threads share the work by
 * themselves, and a program that was replaced by another has nothing to read.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "agent/workset_internal.h"
#include "lib/clock.h"
#include "lib/util.h"

#define BATCH_PAGES 256u                /* 1.3 ms of zram on the machine it was measured on */
#define AHEAD_BYTES (UINT64_C(8) << 20) /* of read-ahead from a disk that are under way */
#define NAP_NS      (2 * NSEC_PER_MSEC) /* a cancel waits no longer for a job that paces itself */

struct run {
	const struct workset *set;
	const struct prefault_options *o;
	struct prefault_result *r;
	struct scope scope;
	uint64_t start_ns, start_cpu_ns, page;
	uint64_t pages[BATCH_PAGES]; /* to be read */
	size_t n;
};

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static bool cancelled(const struct run *run)
{
	return run->o->cancel && atomic_load(run->o->cancel);
}

/* ---- windows: pieces of at most one batch, from either end */

struct windows {
	const struct ws_range *ranges;
	uint32_t n, i;
	uint64_t at; /* within range i, bytes that are behind us */
	bool backwards;
};

static bool next_window(struct windows *w, uint64_t size, struct region *out)
{
	const struct ws_range *r;
	uint64_t left;

	if (w->i == w->n)
		return false;
	r = &w->ranges[w->backwards ? w->n - 1 - w->i : w->i];
	left = r->end - r->start - w->at;
	size = MIN(size, left);
	out->start = w->backwards ? r->end - w->at - size : r->start + w->at;
	out->end = out->start + size;
	w->at += size;
	if (size == left) {
		w->i++;
		w->at = 0;
	}
	return true;
}

/* The pages of a window that are in swap, as regions. */
static int swapped_in(const struct target *t, const struct region *window, struct region *regions)
{
	uint64_t next;

	return pages_scan(t->pagemap, PAGE_SWAPPED, window->start, window->end, regions,
			  BATCH_PAGES, &next);
}

/* ---- limits */

/* Sleeps until what was done so far is within the rates; false: cancelled. */
static bool pace(const struct run *run)
{
	const struct prefault_options *o = run->o;
	uint64_t due = 0;

	if (o->rate_bytes_s)
		due = s_to_ns((double)run->r->bytes / (double)o->rate_bytes_s);
	if (o->cpu_share > 0)
		due = MAX(due, s_to_ns(ns_to_s(cpu_ns() - run->start_cpu_ns) / o->cpu_share));
	while (!cancelled(run)) {
		uint64_t now = now_ns() - run->start_ns;
		struct timespec nap = {};

		if (now >= due)
			return true;
		nap.tv_nsec = (long)MIN(due - now, NAP_NS);
		nanosleep(&nap, NULL);
	}
	return false;
}

/* ---- reading */

static void ask_ahead(const struct target *t, const struct region *window)
{
	struct region regions[BATCH_PAGES];
	struct iovec parts[BATCH_PAGES];
	int n = swapped_in(t, window, regions);

	for (int i = 0; i < n; i++)
		parts[i] = (struct iovec){(void *)(uintptr_t)regions[i].start,
					  regions[i].end - regions[i].start};
	if (n > 0)
		syscall(SYS_process_madvise, t->pidfd, parts, (size_t)n, MADV_WILLNEED, 0);
}

/*
 * Reads what was gathered, right after the process was seen alive: its pid cannot
 * be given to another before it was reaped and all other pids were used. A page that
 * was unmapped meanwhile is skipped: the call stops in front of it, and the next
 * one fails on it at once.
 */
static int read_batch(struct run *run, const struct target *t)
{
	struct iovec remote[BATCH_PAGES];
	char bytes[BATCH_PAGES];
	size_t n = run->n, done = 0;

	run->n = 0;
	for (size_t i = 0; i < n; i++)
		remote[i] = (struct iovec){(void *)(uintptr_t)run->pages[i], 1};
	while (done < n) {
		struct iovec local = {bytes, n - done};
		ssize_t got = process_vm_readv(t->pid, &local, 1, remote + done, n - done, 0);

		if (got < 0 && errno != EFAULT)
			return -errno;
		if (got > 0)
			run->r->bytes += (uint64_t)got * run->page;
		done += got > 0 ? (size_t)got : 1;
	}
	return 0;
}

static int flush(struct run *run, const struct target *t)
{
	int rc = run->n ? target_check(t, &run->scope) : 0;

	if (rc == 0 && run->n)
		rc = read_batch(run, t);
	if (rc == 0 && !pace(run))
		rc = -ECANCELED;
	return rc;
}

static int gather(struct run *run, const struct target *t, const struct region *window)
{
	struct region regions[BATCH_PAGES];
	int n, rc = 0;

	if (run->n + (window->end - window->start) / run->page > BATCH_PAGES)
		rc = flush(run, t);
	if (rc < 0)
		return rc;
	n = swapped_in(t, window, regions);
	for (int i = 0; i < n; i++)
		for (uint64_t at = regions[i].start; at < regions[i].end; at += run->page)
			run->pages[run->n++] = at;
	if (n < 0)
		return n;
	return cancelled(run) ? -ECANCELED : 0;
}

static int prefault_ranges(struct run *run, const struct target *t, const struct ws_process *proc)
{
	struct windows w = {
	    .ranges = &run->set->ranges[proc->first],
	    .n = proc->n,
	    .backwards = run->o->backwards,
	};
	struct windows ahead = w;
	uint64_t size = BATCH_PAGES * run->page, lead = 0;
	struct region window, further;
	int rc = 0;

	run->n = 0;
	while (rc == 0 && next_window(&w, size, &window)) {
		while (run->o->disk && lead < AHEAD_BYTES && next_window(&ahead, size, &further)) {
			ask_ahead(t, &further);
			lead += further.end - further.start;
		}
		lead -= MIN(lead, window.end - window.start);
		rc = gather(run, t, &window);
	}
	return rc ? rc : flush(run, t);
}

static int prefault_process(struct run *run, const struct ws_process *proc)
{
	struct target t;
	int rc;

	if (!proc->n)
		return 0;
	rc = target_open(&run->scope, proc->pid, proc->start_ticks, &t);
	if (rc < 0)
		return rc;
	rc = prefault_ranges(run, &t, proc);
	target_close(&t);
	return rc;
}

/* One process that cannot be read leaves the others to be served. */
static int prefault_all(struct run *run)
{
	uint32_t n = run->set->n_processes;
	int first_error = 0;

	for (uint32_t i = 0; i < n; i++) {
		int rc =
		    prefault_process(run, &run->set->processes[run->o->backwards ? n - 1 - i : i]);

		if (rc == -ECANCELED || rc == -ENOENT)
			return rc;
		if (rc < 0 && rc != -ESRCH && !first_error)
			first_error = rc;
	}
	return first_error;
}

int workset_prefault(const struct workset *set, int dirfd, uint64_t cgid,
		     const struct prefault_options *o, struct prefault_result *r)
{
	struct run run = {.set = set, .o = o, .r = r, .page = page_bytes()};
	int rc;

	*r = (struct prefault_result){};
	run.start_ns = now_ns();
	run.start_cpu_ns = cpu_ns();
	rc = cancelled(&run) ? -ECANCELED : scope_open(&run.scope, dirfd, cgid);
	if (rc == 0) {
		rc = prefault_all(&run);
		scope_close(&run.scope);
	}
	r->cancelled = rc == -ECANCELED;
	r->error = r->cancelled ? 0 : rc;
	r->took_ns = now_ns() - run.start_ns;
	r->cpu_ns = cpu_ns() - run.start_cpu_ns;
	return r->error;
}
