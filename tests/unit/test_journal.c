/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The decision journal and the ring that the wake thread reports through. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "agent/journal.h"
#include "agent/wake_ring.h"
#include "lib/clock.h"

static uint64_t add(struct journal *j, const char *function)
{
	return journal_append(j, &(struct journal_note){.function = function, .reason = "r"});
}

static const struct journal_entry *get(const struct journal *j, uint64_t seq)
{
	return ring_get(journal_ring(j), seq);
}

static const struct journal_entry *next(const struct journal *j, uint64_t seq, const char *function)
{
	const struct journal_entry *e = ring_next(journal_ring(j), &seq, journal_about, function);

	assert_true(!e || e->seq == seq);
	return e;
}

static uint64_t tail(const struct journal *j, const char *function, size_t limit)
{
	return ring_tail(journal_ring(j), limit, journal_about, function);
}

static void an_empty_journal_has_nothing(void **state)
{
	struct journal *j = journal_new(4);

	(void)state;
	assert_int_equal(ring_last(journal_ring(j)), 0);
	assert_int_equal(ring_oldest(journal_ring(j)), 0);
	assert_null(get(j, 0));
	assert_null(get(j, 1));
	assert_null(next(j, 0, NULL));
	assert_int_equal(tail(j, NULL, 10), 0);
	journal_free(j);
}

static void all_of_a_note_is_kept(void **state)
{
	const struct journal_note note = {.action = JOURNAL_THAW,
					  .actor = JOURNAL_BY_API,
					  .function = "f",
					  .cgroup = "demo/f/0",
					  .cgid = 99,
					  .reason = "asked for",
					  .idle_ns = 5,
					  .took_ns = 6,
					  .error = EIO,
					  .uid = 1000,
					  .pid = 4711};
	struct journal *j = journal_new(1);
	uint64_t before = now_ns();
	const struct journal_entry *e;

	(void)state;
	e = get(j, journal_append(j, &note));
	assert_int_equal(e->seq, 1);
	assert_int_equal(e->action, JOURNAL_THAW);
	assert_int_equal(e->actor, JOURNAL_BY_API);
	assert_string_equal(e->function, "f");
	assert_string_equal(e->cgroup, "demo/f/0");
	assert_string_equal(e->reason, "asked for");
	assert_int_equal(e->cgid, 99);
	assert_int_equal(e->idle_ns, 5);
	assert_int_equal(e->took_ns, 6);
	assert_int_equal(e->error, EIO);
	assert_int_equal(e->uid, 1000);
	assert_int_equal(e->pid, 4711);
	assert_in_range(e->mono_ns, before, now_ns());
	journal_free(j);
}

static void a_decision_of_the_past_keeps_its_time(void **state)
{
	struct journal *j = journal_new(2);
	uint64_t at = now_ns() - NSEC_PER_SEC;
	const struct journal_entry *past, *now;

	(void)state;
	journal_append(j, &(struct journal_note){.at_ns = at});
	journal_append(j, &(struct journal_note){0});
	past = get(j, 1);
	now = get(j, 2);
	assert_int_equal(past->mono_ns, at);
	assert_true(now->wall_ns - past->wall_ns >= NSEC_PER_SEC);
	journal_free(j);
}

static void the_oldest_give_way(void **state)
{
	struct journal *j = journal_new(3);

	(void)state;
	for (uint64_t n = 1; n <= 10; n++)
		assert_int_equal(add(j, "f"), n);
	assert_int_equal(ring_oldest(journal_ring(j)), 8);
	assert_int_equal(ring_last(journal_ring(j)), 10);
	assert_null(get(j, 7));
	assert_null(get(j, 11));
	for (uint64_t n = 8; n <= 10; n++)
		assert_int_equal(get(j, n)->seq, n);
	assert_int_equal(next(j, 0, NULL)->seq, 8);
	assert_null(next(j, 10, NULL));
	assert_null(next(j, UINT64_MAX, NULL));
	journal_free(j);
}

static void iteration_keeps_to_one_function(void **state)
{
	struct journal *j = journal_new(8);

	(void)state;
	for (int i = 0; i < 12; i++)
		add(j, i % 3 ? "other" : "mine");
	/* held: 5..12; mine: 7, 10 */
	assert_int_equal(next(j, 0, "mine")->seq, 7);
	assert_int_equal(next(j, 7, "mine")->seq, 10);
	assert_null(next(j, 10, "mine"));
	assert_null(next(j, 0, "nobody"));
	assert_int_equal(tail(j, "mine", 1), 9);
	assert_int_equal(tail(j, "mine", 9), 4);
	assert_int_equal(tail(j, NULL, 3), 9);
	assert_int_equal(tail(j, NULL, 0), 12);
	assert_int_equal(tail(j, NULL, SIZE_MAX), 4);
	journal_free(j);
}

static void long_texts_are_cut_where_they_tell_least(void **state)
{
	struct journal *j = journal_new(1);
	char name[400], path[400], reason[400];
	const struct journal_entry *e;

	(void)state;
	memset(name, 'n', sizeof(name));
	memset(path, 'p', sizeof(path));
	memset(reason, 'r', sizeof(reason));
	name[399] = path[399] = reason[399] = '\0';
	memcpy(path + 396, "end", 3);
	journal_append(j,
		       &(struct journal_note){.function = name, .cgroup = path, .reason = reason});
	e = get(j, 1);
	assert_int_equal(strlen(e->function), JOURNAL_FUNCTION - 1);
	assert_int_equal(strlen(e->reason), JOURNAL_REASON - 1);
	assert_int_equal(strlen(e->cgroup), JOURNAL_CGROUP - 1);
	assert_int_equal(strncmp(e->cgroup, "...p", 4), 0);
	assert_string_equal(e->cgroup + JOURNAL_CGROUP - 4, "end");
	journal_free(j);
}

static void every_action_and_actor_has_a_name(void **state)
{
	(void)state;
	for (int a = 0; a < JOURNAL_ACTIONS; a++)
		assert_non_null(journal_action_name((enum journal_action)a));
	for (int a = JOURNAL_BY_ENGINE; a <= JOURNAL_BY_API; a++)
		assert_non_null(journal_actor_name((enum journal_actor)a));
}

static void count_call(const struct ring *r, void *arg)
{
	(void)r;
	++*(int *)arg;
}

static void the_subscriber_hears_of_each_append_until_it_leaves(void **state)
{
	struct journal *j = journal_new(2);
	int calls = 0;

	(void)state;
	add(j, "f");
	ring_subscribe(journal_ring(j), count_call, &calls);
	for (int i = 0; i < 5; i++)
		add(j, "f");
	assert_int_equal(calls, 5);
	ring_subscribe(journal_ring(j), NULL, NULL);
	add(j, "f");
	assert_int_equal(calls, 5);
	journal_free(j);
}

/* ---- the wake thread's ring */

static struct wake_ring ring;

static void a_full_ring_drops_the_new_and_counts(void **state)
{
	struct wake_note n = {0};

	(void)state;
	wake_ring_init(&ring);
	assert_false(wake_ring_pop(&ring, &n));
	for (uint32_t i = 0; i < WAKE_RING_SLOTS + 5; i++) {
		n.slot = i;
		assert_int_equal(wake_ring_push(&ring, &n), i < WAKE_RING_SLOTS);
	}
	assert_int_equal(wake_ring_dropped(&ring), 5);
	for (uint32_t i = 0; i < WAKE_RING_SLOTS; i++) {
		assert_true(wake_ring_pop(&ring, &n));
		assert_int_equal(n.slot, i);
	}
	assert_false(wake_ring_pop(&ring, &n));
	assert_true(wake_ring_push(&ring, &n));
}

#define NOTES 300000u

static void *produce(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; i <= NOTES; i++)
		wake_ring_push(&ring, &(struct wake_note){.asked_ns = i,
							  .done_ns = 2 * i,
							  .cgid = 3 * i,
							  .slot = (uint32_t)i});
	return NULL;
}

static void two_threads_lose_only_what_is_counted_and_tear_nothing(void **state)
{
	struct wake_note n;
	uint64_t last = 0, got = 0;
	pthread_t thread;
	int joined = 0;

	(void)state;
	wake_ring_init(&ring);
	assert_int_equal(pthread_create(&thread, NULL, produce, NULL), 0);
	for (;;) {
		if (!wake_ring_pop(&ring, &n)) {
			if (joined)
				break;
			joined = pthread_tryjoin_np(thread, NULL) == 0;
			continue;
		}
		got++;
		assert_true(n.asked_ns > last);
		assert_int_equal(n.done_ns, 2 * n.asked_ns);
		assert_int_equal(n.cgid, 3 * n.asked_ns);
		assert_int_equal(n.slot, n.asked_ns);
		last = n.asked_ns;
	}
	assert_int_equal(got + wake_ring_dropped(&ring), NOTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_journal_has_nothing),
	    cmocka_unit_test(all_of_a_note_is_kept),
	    cmocka_unit_test(a_decision_of_the_past_keeps_its_time),
	    cmocka_unit_test(the_oldest_give_way),
	    cmocka_unit_test(iteration_keeps_to_one_function),
	    cmocka_unit_test(long_texts_are_cut_where_they_tell_least),
	    cmocka_unit_test(every_action_and_actor_has_a_name),
	    cmocka_unit_test(the_subscriber_hears_of_each_append_until_it_leaves),
	    cmocka_unit_test(a_full_ring_drops_the_new_and_counts),
	    cmocka_unit_test(two_threads_lose_only_what_is_counted_and_tear_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
