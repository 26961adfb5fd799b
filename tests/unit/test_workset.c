/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sets of ranges: building, bounds, what is learned and forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/workset_internal.h"

#define PAGE UINT64_C(4096)

static struct workset *make(pid_t pid)
{
	struct workset *set;

	assert_int_equal(set_new(&set), 0);
	assert_int_equal(set_add_process(set, pid, 1), 0);
	return set;
}

static void add(struct workset *set, uint64_t first, uint64_t last)
{
	assert_int_equal(set_add_range(set, first * PAGE, (last + 1) * PAGE, 0), 0);
}

static struct workset *one(uint64_t first, uint64_t last)
{
	struct workset *set = make(1);

	add(set, first, last);
	return set;
}

static uint64_t pages(const struct workset *set)
{
	return workset_bytes(set) / PAGE;
}

static bool holds(const struct workset *set, uint64_t page)
{
	for (uint32_t i = 0; i < set->n_ranges; i++)
		if (set->ranges[i].start <= page * PAGE && page * PAGE < set->ranges[i].end)
			return true;
	return false;
}

/* known = known and fresh, both taken. */
static void learn(struct workset **known, struct workset *fresh, bool exact)
{
	struct workset *next;

	assert_int_equal(workset_merge(*known, fresh, exact, &next), 0);
	workset_free(*known);
	workset_free(fresh);
	*known = next;
}

static void neighbours_become_one_range(void **state)
{
	struct workset *set = make(1);

	(void)state;
	add(set, 10, 11);
	add(set, 12, 12);
	add(set, 14, 14);
	set_finish(set);
	assert_int_equal(workset_ranges(set), 2);
	assert_int_equal(pages(set), 4);
	workset_free(set);
}

static void too_many_ranges_lose_their_smallest_gaps(void **state)
{
	const uint32_t n = 3 * WORKSET_MAX_RANGES;
	struct workset *set = make(1);
	uint64_t at = 0;

	(void)state;
	/* every third gap is 100 pages, the others one */
	for (uint32_t i = 0; i < n; i++, at += i % 3 ? 2 : 101)
		add(set, at, at);
	set_finish(set);
	assert_true(workset_ranges(set) <= WORKSET_MAX_RANGES);
	assert_true(workset_ranges(set) > WORKSET_MAX_RANGES / 2);
	for (uint32_t i = 0, page = 0; i < n; i++, page += i % 3 ? 2 : 101)
		assert_true(holds(set, page));
	assert_true(pages(set) < 2 * n); /* no large gap was closed */
	workset_free(set);
}

static void gaps_are_closed_within_a_process_only(void **state)
{
	struct workset *set = make(1);

	(void)state;
	for (uint32_t p = 2; p < 10; p++) {
		for (uint32_t i = 0; i < WORKSET_MAX_RANGES; i++)
			add(set, 2 * i, 2 * i);
		assert_int_equal(set_add_process(set, (pid_t)p, 1), 0);
	}
	set_finish(set);
	assert_true(workset_ranges(set) <= WORKSET_MAX_RANGES);
	for (uint32_t p = 0; p + 1 < set->n_processes; p++) {
		const struct ws_process *proc = &set->processes[p];

		assert_true(proc->n > 0);
		assert_int_equal(set->ranges[proc->first].start, 0);
		assert_int_equal(set->ranges[proc->first + proc->n - 1].end,
				 (2 * WORKSET_MAX_RANGES - 1) * PAGE);
	}
	assert_int_equal(set->processes[8].n, 0);
	workset_free(set);
}

static void what_is_known_is_the_union_of_recordings(void **state)
{
	struct workset *known = NULL;

	(void)state;
	learn(&known, one(10, 19), true);
	learn(&known, one(15, 29), true);
	assert_int_equal(pages(known), 20);
	assert_true(holds(known, 10) && holds(known, 29) && !holds(known, 30));
	workset_free(known);
}

static void a_page_that_four_exact_recordings_lack_is_forgotten(void **state)
{
	struct workset *known = NULL;

	(void)state;
	learn(&known, one(10, 19), true);
	for (int i = 0; i < 3; i++)
		learn(&known, one(10, 14), true);
	assert_true(holds(known, 19));
	learn(&known, one(10, 14), true);
	assert_int_equal(pages(known), 5);
	workset_free(known);
}

static void a_page_that_is_used_again_stays(void **state)
{
	struct workset *known = NULL;

	(void)state;
	for (int i = 0; i < 20; i++)
		learn(&known, i % 3 ? one(10, 14) : one(10, 19), true);
	assert_int_equal(pages(known), 10);
	workset_free(known);
}

static void prefaulted_pages_are_doubted_slowly(void **state)
{
	struct workset *known = NULL;

	(void)state;
	learn(&known, one(10, 19), true);
	for (int i = 0; i < 31; i++)
		learn(&known, one(10, 20), false); /* 20 was faulted in by a request */
	assert_int_equal(pages(known), 11);
	learn(&known, one(10, 20), false);
	assert_int_equal(pages(known), 1);
	learn(&known, one(10, 20), true);
	assert_int_equal(pages(known), 11); /* learned anew */
	workset_free(known);
}

static void another_process_with_the_same_pid_starts_anew(void **state)
{
	struct workset *known = one(10, 19), *fresh = one(30, 31);

	(void)state;
	fresh->processes[0].start_ticks = 2;
	learn(&known, fresh, true);
	assert_int_equal(pages(known), 2);
	assert_false(holds(known, 10));
	workset_free(known);
}

static void a_process_that_is_gone_is_dropped(void **state)
{
	struct workset *known = one(10, 19), *fresh = make(2);

	(void)state;
	add(fresh, 1, 1);
	learn(&known, fresh, true);
	assert_int_equal(workset_processes(known), 1);
	assert_int_equal(pages(known), 1);
	workset_free(known);
}

/* Every page's age against a table, over recordings made by chance. */
static void ages_agree_with_a_page_by_page_model(void **state)
{
	enum { PAGES = 64 };
	struct workset *known = NULL;
	unsigned int seed = 7;
	int age[PAGES];

	(void)state;
	memset(age, -1, sizeof(age));
	for (int round = 0; round < 2000; round++) {
		struct workset *fresh = make(1);
		bool exact = rand_r(&seed) % 2;

		for (uint64_t p = 0; p < PAGES; p++) {
			bool in_fresh = rand_r(&seed) % 4 == 0;

			if (in_fresh)
				add(fresh, p, p);
			if (age[p] < 0)
				age[p] = in_fresh ? 0 : -1;
			else
				age[p] = in_fresh ? (exact ? 0 : age[p] + 1) : age[p] + 8;
			age[p] = age[p] >= 32 ? -1 : age[p];
		}
		learn(&known, fresh, exact);
		for (uint64_t p = 0; p < PAGES; p++)
			assert_int_equal(holds(known, p), age[p] >= 0);
	}
	workset_free(known);
}

static void a_copy_is_its_own(void **state)
{
	struct workset *set = one(10, 19), *copy;

	(void)state;
	assert_int_equal(workset_copy(set, &copy), 0);
	workset_free(set);
	assert_int_equal(pages(copy), 10);
	assert_int_equal(copy->processes[0].pid, 1);
	workset_free(copy);
	workset_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(neighbours_become_one_range),
	    cmocka_unit_test(too_many_ranges_lose_their_smallest_gaps),
	    cmocka_unit_test(gaps_are_closed_within_a_process_only),
	    cmocka_unit_test(what_is_known_is_the_union_of_recordings),
	    cmocka_unit_test(a_page_that_four_exact_recordings_lack_is_forgotten),
	    cmocka_unit_test(a_page_that_is_used_again_stays),
	    cmocka_unit_test(prefaulted_pages_are_doubted_slowly),
	    cmocka_unit_test(another_process_with_the_same_pid_starts_anew),
	    cmocka_unit_test(a_process_that_is_gone_is_dropped),
	    cmocka_unit_test(ages_agree_with_a_page_by_page_model),
	    cmocka_unit_test(a_copy_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
