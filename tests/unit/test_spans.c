/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Busy spans: told plus lost are what the kernel counted, however its events
 * were lost or overtook each other.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/registry.h"
#include "agent/spans.h"
#include "lib/util.h"

#define OFFSET UINT64_C(1769000000000000000)

static struct spans *spans;
static struct function fn;
static uint64_t read_to;

static int start(void **state)
{
	(void)state;
	memset(&fn, 0, sizeof(fn));
	strcpy(fn.name, "f");
	read_to = 0;
	spans = spans_new(8, OFFSET);
	return !spans;
}

static int stop(void **state)
{
	(void)state;
	spans_free(spans);
	return 0;
}

static void busy(uint16_t span, uint64_t ts_ns, uint64_t idle_ns, enum hearth_start how)
{
	const struct hearth_event ev = {.type = HEARTH_EV_BUSY,
					.ts_ns = ts_ns,
					.value = idle_ns,
					.span = span,
					.start = (uint16_t)how};

	spans_event(spans, &fn, &ev);
}

static void idle(uint16_t span, uint64_t ts_ns)
{
	const struct hearth_event ev = {.type = HEARTH_EV_IDLE, .ts_ns = ts_ns, .span = span};

	spans_event(spans, &fn, &ev);
}

static const struct span *next(void)
{
	return ring_next(spans_ring(spans), &read_to, spans_about, NULL);
}

static void expect(uint64_t begin_ns, uint64_t end_ns, enum hearth_start how)
{
	const struct span *s = next();

	assert_non_null(s);
	assert_int_equal(s->lost, 0);
	assert_int_equal(s->seq, read_to);
	assert_int_equal(s->begin_ns, begin_ns + OFFSET);
	assert_int_equal(s->end_ns, end_ns + OFFSET);
	assert_int_equal(s->start, how);
	assert_string_equal(s->function, "f");
}

static void expect_lost(uint64_t n)
{
	const struct span *s = next();

	assert_non_null(s);
	assert_int_equal(s->lost, n);
	assert_string_equal(s->function, "f");
}

static void spans_are_told_as_they_close(void **state)
{
	(void)state;
	busy(1, 100, 0, HEARTH_START_COLD);
	assert_null(next());
	idle(1, 150);
	busy(2, 200, 50, HEARTH_START_WARM);
	idle(2, 210);
	busy(3, 900, 690, HEARTH_START_LUKEWARM);
	idle(3, 999);
	expect(100, 150, HEARTH_START_COLD);
	expect(200, 210, HEARTH_START_WARM);
	expect(900, 999, HEARTH_START_LUKEWARM);
	assert_null(next());
}

static void numbers_may_run_over(void **state)
{
	const struct hearth_function slot = {.busy_spans = 0x1fffe};

	(void)state;
	spans_start(&fn, &slot);
	for (uint16_t n = 0xffff; n != 3; n++) {
		busy(n, 10, 1, HEARTH_START_WARM);
		idle(n, 20);
		expect(10, 20, HEARTH_START_WARM);
	}
	assert_null(next());
}

static void an_end_never_comes_before_its_begin(void **state)
{
	(void)state;
	busy(1, 100, 0, HEARTH_START_COLD);
	idle(1, 97); /* the coarse clock of another hook */
	expect(100, 100, HEARTH_START_COLD);
}

static void an_end_nobody_told_is_known_from_the_next_begin(void **state)
{
	(void)state;
	busy(1, 100, 0, HEARTH_START_COLD);
	busy(2, 200, 60, HEARTH_START_WARM);
	idle(1, 140); /* overtaken */
	idle(2, 230);
	expect(100, 140, HEARTH_START_COLD);
	expect(200, 230, HEARTH_START_WARM);
	assert_null(next());
}

static void whole_spans_nobody_told_are_lost(void **state)
{
	(void)state;
	busy(1, 100, 0, HEARTH_START_COLD);
	idle(1, 110);
	busy(5, 500, 10, HEARTH_START_WARM);
	idle(5, 510);
	expect(100, 110, HEARTH_START_COLD);
	expect_lost(3);
	expect(500, 510, HEARTH_START_WARM);
}

static void a_gap_with_a_span_open_loses_that_too(void **state)
{
	(void)state;
	busy(1, 100, 0, HEARTH_START_COLD);
	busy(3, 300, 10, HEARTH_START_WARM);
	expect_lost(2);
	idle(6, 600);
	expect_lost(4); /* 3 to 6 */
	busy(7, 700, 100, HEARTH_START_WARM);
	idle(7, 710);
	expect(700, 710, HEARTH_START_WARM);
	assert_null(next());
}

static void the_span_that_ran_when_the_agent_started_is_lost(void **state)
{
	const struct hearth_function slot = {.busy_spans = 41, .busy = 1};

	(void)state;
	spans_start(&fn, &slot);
	idle(41, 100);
	expect_lost(1);
	busy(42, 200, 100, HEARTH_START_WARM);
	idle(42, 210);
	expect(200, 210, HEARTH_START_WARM);
	assert_null(next());
}

static void events_that_waited_for_the_agent_are_told(void **state)
{
	const struct hearth_function slot = {.busy_spans = 41};

	(void)state;
	spans_start(&fn, &slot);
	for (uint16_t n = 40; n <= 42; n++) {
		busy(n, n, 1, HEARTH_START_WARM);
		idle(n, n);
		expect(n, n, HEARTH_START_WARM);
	}
	assert_null(next());
}

static void settle(uint64_t busy_spans, int32_t now_busy)
{
	const struct hearth_function slot = {.busy_spans = busy_spans, .busy = now_busy};
	struct function *all = NULL;

	HASH_ADD_STR(all, name, &fn);
	spans_count(all, &slot);
	spans_settle(spans, all);
	HASH_CLEAR(hh, all);
}

static void after_dropped_events_the_kernels_count_decides(void **state)
{
	(void)state;
	settle(0, 0);
	assert_null(next());
	settle(2, 0);
	expect_lost(2);
	settle(2, 0);
	assert_null(next());
	busy(3, 300, 1, HEARTH_START_WARM);
	settle(3, 1); /* it runs */
	assert_null(next());
	settle(3, 0); /* its end was dropped */
	expect_lost(1);
	settle(5, 1); /* 4 is lost, of 5 the end will come */
	expect_lost(1);
	idle(5, 510);
	expect_lost(1); /* its begin was dropped */
	busy(6, 600, 90, HEARTH_START_WARM);
	idle(6, 610);
	expect(600, 610, HEARTH_START_WARM);
	settle(6, 0);
	assert_null(next());
}

/* Whatever is dropped, and in whichever batches: told + lost = counted. */
static void nothing_is_ever_silently_missing(void **state)
{
	uint64_t told = 0, lost = 0, counted = 0;
	const struct span *s;

	(void)state;
	srand(7);
	for (int i = 0; i < 20000; i++) {
		counted++;
		if (rand() % 3)
			busy((uint16_t)counted, 100 * counted, 50, HEARTH_START_WARM);
		if (rand() % 3)
			idle((uint16_t)counted, 100 * counted + 50);
		if (rand() % 50 == 0 || i == 19999)
			settle(counted, 0);
		while ((s = next())) {
			told += !s->lost;
			lost += s->lost;
		}
	}
	assert_true(told > 0 && lost > 0);
	assert_int_equal(told + lost, counted);
}

static void memory_is_that_of_all_instances(void **state)
{
	char folder[] = "/tmp/hearth-spans.XXXXXX", path[64], swap[64];
	struct instance a = {.fn = &fn}, b = {.fn = &fn, .fd = -1};
	const struct span *s;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/memory.current", folder);
	assert_int_equal(write_atomic(path, "5000\n", 5, 0600), 0);
	snprintf(swap, sizeof(swap), "%s/memory.swap.current", folder);
	assert_int_equal(write_atomic(swap, "0\n", 2, 0600), 0);
	a.fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b.fd = dup(a.fd);
	a.next = &b;
	fn.instances = &a;
	busy(1, 1, 0, HEARTH_START_COLD);
	idle(1, 2);
	s = next();
	assert_true(s->memory_bytes == 10000);
	fn.instances = NULL; /* it is gone: what was seen last holds */
	fn.span.memory_at_ns = 1;
	busy(2, 3, 1, HEARTH_START_WARM);
	idle(2, 4);
	s = next();
	assert_true(s->memory_bytes == 10000);
	close(a.fd);
	close(b.fd);
	unlink(path);
	unlink(swap);
	rmdir(folder);
}

static void unknown_memory_is_nan(void **state)
{
	(void)state;
	busy(1, 1, 0, HEARTH_START_COLD);
	idle(1, 2);
	assert_true(isnan(next()->memory_bytes));
}

static void globs_pick_functions(void **state)
{
	const struct span s = {.function = "shop/cart"};

	(void)state;
	assert_true(spans_about(&s, "shop/cart"));
	assert_true(spans_about(&s, "shop*"));
	assert_false(spans_about(&s, "shop"));
}

#define spans_test(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    spans_test(spans_are_told_as_they_close),
	    spans_test(numbers_may_run_over),
	    spans_test(an_end_never_comes_before_its_begin),
	    spans_test(an_end_nobody_told_is_known_from_the_next_begin),
	    spans_test(whole_spans_nobody_told_are_lost),
	    spans_test(a_gap_with_a_span_open_loses_that_too),
	    spans_test(the_span_that_ran_when_the_agent_started_is_lost),
	    spans_test(events_that_waited_for_the_agent_are_told),
	    spans_test(after_dropped_events_the_kernels_count_decides),
	    spans_test(nothing_is_ever_silently_missing),
	    spans_test(memory_is_that_of_all_instances),
	    spans_test(unknown_memory_is_nan),
	    spans_test(globs_pick_functions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
