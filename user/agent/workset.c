/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The set: processes in the order they were found, each with its ranges. What is
 * known about an instance is such a set too; there the ages of the ranges say how
 * long nothing has confirmed them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/workset_internal.h"
#include "lib/util.h"

/* A set being built may have more ranges than a finished one, so that trimming is rare. */
#define BUILD_RANGES (2 * WORKSET_MAX_RANGES)

#define AGE_UNTOLD    1u  /* in memory, but it was prefaulted: who knows */
#define AGE_UNUSED    8u  /* not in memory after a request: not used by it */
#define AGE_FORGOTTEN 32u /* 4 requests that did not use it, or 32 that could not tell */

int set_new(struct workset **out)
{
	struct workset *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	*out = set;
	return 0;
}

void workset_free(struct workset *set)
{
	if (!set)
		return;
	free(set->processes);
	free(set->ranges);
	free(set);
}

static int grow(void **array, uint32_t *cap, size_t size)
{
	uint32_t wanted = *cap ? 2 * *cap : 16;
	void *bigger = reallocarray(*array, wanted, size);

	if (!bigger)
		return -ENOMEM;
	*array = bigger;
	*cap = wanted;
	return 0;
}

int set_add_process(struct workset *set, pid_t pid, uint64_t start_ticks)
{
	if (set->n_processes == set->cap_processes) {
		int rc =
		    grow((void **)&set->processes, &set->cap_processes, sizeof(set->processes[0]));

		if (rc < 0)
			return rc;
	}
	set->processes[set->n_processes++] =
	    (struct ws_process){.pid = pid, .start_ticks = start_ticks, .first = set->n_ranges};
	return 0;
}

/* ---- fewer ranges */

static unsigned int bits(uint64_t n)
{
	return n ? 64 - (unsigned int)__builtin_clzll(n) : 0;
}

/* Gaps by the power of two of their length: enough to close the small ones first. */
static void count_gaps(const struct workset *set, uint32_t *by_bits)
{
	for (uint32_t p = 0; p < set->n_processes; p++) {
		const struct ws_process *proc = &set->processes[p];
		const struct ws_range *r = &set->ranges[proc->first];

		for (uint32_t i = 1; i < proc->n; i++)
			by_bits[bits(r[i].start - r[i - 1].end)]++;
	}
}

/* Closes gaps of fewer than `below` bits, and `more` of those with just as many. */
static uint32_t close_gaps(const struct workset *set, struct ws_process *proc, uint32_t to,
			   unsigned int below, uint32_t *more)
{
	const struct ws_range *from = &set->ranges[proc->first];
	uint32_t first = to;

	for (uint32_t i = 0; i < proc->n; i++) {
		struct ws_range *last = &set->ranges[to - 1], next = from[i];
		unsigned int b = i ? bits(next.start - last->end) : 0;

		if (i && (b < below || (b == below && *more))) {
			*more -= b == below;
			last->end = next.end;
			last->age = MIN(last->age, next.age);
		} else {
			set->ranges[to++] = next;
		}
	}
	proc->first = first;
	proc->n = to - first;
	return to;
}

static void trim(struct workset *set)
{
	uint32_t by_bits[65] = {}, excess, to = 0;
	unsigned int below = 0;

	if (set->n_ranges <= WORKSET_MAX_RANGES)
		return;
	excess = set->n_ranges - WORKSET_MAX_RANGES;
	count_gaps(set, by_bits);
	while (below < 64 && by_bits[below] < excess)
		excess -= by_bits[below++];
	for (uint32_t p = 0; p < set->n_processes; p++)
		to = close_gaps(set, &set->processes[p], to, below, &excess);
	set->n_ranges = to;
}

int set_add_range(struct workset *set, uint64_t start, uint64_t end, uint32_t age)
{
	struct ws_process *proc = &set->processes[set->n_processes - 1];
	struct ws_range *last = proc->n ? &set->ranges[set->n_ranges - 1] : NULL;

	if (last && last->end == start && last->age == age) {
		last->end = end;
		return 0;
	}
	if (set->n_ranges == BUILD_RANGES)
		trim(set);
	if (set->n_ranges == set->cap_ranges) {
		int rc = grow((void **)&set->ranges, &set->cap_ranges, sizeof(set->ranges[0]));

		if (rc < 0)
			return rc;
	}
	set->ranges[set->n_ranges++] = (struct ws_range){start, end, age};
	proc->n++;
	return 0;
}

void set_finish(struct workset *set)
{
	struct ws_range *smaller;

	trim(set);
	if (!set->n_ranges)
		return;
	smaller = reallocarray(set->ranges, set->n_ranges, sizeof(*smaller));
	if (smaller) {
		set->ranges = smaller;
		set->cap_ranges = set->n_ranges;
	}
}

/* ---- known and fresh */

static const struct ws_process *find(const struct workset *set, const struct ws_process *same)
{
	for (uint32_t i = 0; set && i < set->n_processes; i++)
		if (set->processes[i].pid == same->pid &&
		    set->processes[i].start_ticks == same->start_ticks)
			return &set->processes[i];
	return NULL;
}

/* Walks one process's ranges; start..end is what is left of the range at the cursor. */
struct cursor {
	const struct ws_range *r, *stop;
	uint64_t from;
};

static struct cursor cursor_at(const struct workset *set, const struct ws_process *proc)
{
	struct cursor c = {};

	if (proc && proc->n) {
		c.r = &set->ranges[proc->first];
		c.stop = c.r + proc->n;
		c.from = c.r->start;
	}
	return c;
}

static bool done(const struct cursor *c)
{
	return c->r == c->stop;
}

static bool covers(const struct cursor *c, uint64_t at)
{
	return !done(c) && c->from <= at;
}

/* Where what the cursor says about `at` changes. */
static uint64_t border(const struct cursor *c, uint64_t at)
{
	if (done(c))
		return UINT64_MAX;
	return covers(c, at) ? c->r->end : c->from;
}

static void advance(struct cursor *c, uint64_t to)
{
	if (done(c) || c->r->end > to)
		return;
	if (++c->r != c->stop)
		c->from = c->r->start;
}

static uint32_t new_age(const struct cursor *known, bool in_fresh, bool exact)
{
	if (!in_fresh)
		return known->r->age + AGE_UNUSED;
	return exact ? 0 : known->r->age + AGE_UNTOLD;
}

/* Between two borders both cursors say the same about every page. */
static int merge_process(struct workset *set, struct cursor known, struct cursor fresh, bool exact)
{
	uint64_t at = 0, next;
	int rc = 0;

	for (; rc == 0 && !(done(&known) && done(&fresh)); at = next) {
		bool in_known = covers(&known, at), in_fresh = covers(&fresh, at);
		uint32_t age;

		next = MIN(border(&known, at), border(&fresh, at));
		age = in_known ? new_age(&known, in_fresh, exact) : 0;
		if ((in_known || in_fresh) && age < AGE_FORGOTTEN)
			rc = set_add_range(set, at, next, age);
		advance(&known, next);
		advance(&fresh, next);
	}
	return rc;
}

int workset_merge(const struct workset *known, const struct workset *fresh, bool exact,
		  struct workset **out)
{
	struct workset *set;
	int rc = set_new(&set);

	if (rc < 0)
		return rc;
	set->left_out = fresh->left_out;
	for (uint32_t i = 0; rc == 0 && i < fresh->n_processes; i++) {
		const struct ws_process *proc = &fresh->processes[i];

		rc = set_add_process(set, proc->pid, proc->start_ticks);
		if (rc == 0)
			rc = merge_process(set, cursor_at(known, find(known, proc)),
					   cursor_at(fresh, proc), exact);
	}
	if (rc < 0) {
		workset_free(set);
		return rc;
	}
	set_finish(set);
	*out = set;
	return 0;
}

int workset_copy(const struct workset *set, struct workset **out)
{
	struct workset *copy;
	int rc = set_new(&copy);

	if (rc < 0)
		return rc;
	*copy = (struct workset){.left_out = set->left_out};
	for (uint32_t p = 0; rc == 0 && p < set->n_processes; p++) {
		const struct ws_process *proc = &set->processes[p];

		rc = set_add_process(copy, proc->pid, proc->start_ticks);
		for (uint32_t i = 0; rc == 0 && i < proc->n; i++) {
			const struct ws_range *r = &set->ranges[proc->first + i];

			rc = set_add_range(copy, r->start, r->end, r->age);
		}
	}
	if (rc < 0) {
		workset_free(copy);
		return rc;
	}
	*out = copy;
	return 0;
}

/* ---- numbers */

uint64_t workset_bytes(const struct workset *set)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < set->n_ranges; i++)
		sum += set->ranges[i].end - set->ranges[i].start;
	return sum;
}

size_t workset_processes(const struct workset *set)
{
	return set->n_processes;
}

size_t workset_ranges(const struct workset *set)
{
	return set->n_ranges;
}

size_t workset_left_out(const struct workset *set)
{
	return set->left_out;
}
