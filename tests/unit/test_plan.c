/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a policy's windows to what one instance should be in, on slots in plain memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <utlist.h>

#include "agent/agent.h"
#include "lib/clock.h"

#define S NSEC_PER_SEC

struct bed {
	struct agent agent;
	struct kernel_maps maps;
	struct hearth_instance slots[4];
	struct hearth_function fn_slot;
	struct hearth_fn_control fn_ctl;
	struct function fn;
	struct instance inst[4];
};

static int make_bed(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	uint32_t i;

	b->maps = (struct kernel_maps){.instances = b->slots,
				       .functions = &b->fn_slot,
				       .fn_controls = &b->fn_ctl,
				       .n_instances = 4,
				       .n_functions = 1};
	b->agent.maps = &b->maps;
	b->fn.needed = 4;
	b->fn.settings.tiers = 1u << HEARTH_WARM | 1u << HEARTH_FROZEN;
	b->fn.decided_span = b->fn_slot.busy_spans = 7;
	for (i = 0; i < 4; i++) {
		b->inst[i].slot = i;
		b->inst[i].fn = &b->fn;
		b->inst[i].populated = true;
		b->slots[i].last_begin_ns = (i + 1) * S; /* the last one was used last */
		DL_APPEND(b->fn.instances, &b->inst[i]);
	}
	*state = b;
	return 0;
}

static int drop_bed(void **state)
{
	free(*state);
	return 0;
}

static void set_windows(struct bed *b, unsigned int n, const struct hearth_window *w)
{
	unsigned int i;

	b->fn.decision.n = n;
	for (i = 0; i < n; i++)
		b->fn.decision.w[i] = w[i];
}

/* Its tiers are warm and frozen. */
static struct plan plan_at(struct bed *b, unsigned int inst, uint64_t idle_s)
{
	const struct hearth_decision none = {0};
	const struct hearth_hist hist = {0};
	struct hearth_ladder ladder;

	cost_ladder(&b->fn, &ladder);
	b->fn.n_steps = hearth_ladder_plan(&b->fn.decision, &hist, &ladder, b->fn.steps);
	b->fn.n_surplus_steps = hearth_ladder_plan(&none, &hist, &ladder, b->fn.surplus_steps);
	return plan_instance(&b->agent, &b->inst[inst], 100 * S, (100 + idle_s) * S);
}

static void inside_a_window_it_stays_until_the_close(void **state)
{
	struct bed *b = *state;
	struct plan p;

	set_windows(b, 1, (struct hearth_window[]){{0, 60}});
	p = plan_at(b, 3, 10);
	assert_int_equal(p.rung, HEARTH_WARM);
	assert_int_equal(p.until_ns, 160 * S);
	p = plan_at(b, 3, 60); /* [open, close): the close itself is outside */
	assert_int_equal(p.rung, HEARTH_FROZEN);
	assert_int_equal(p.until_ns, UINT64_MAX);
}

static void before_a_late_window_it_is_frozen_until_the_open(void **state)
{
	struct bed *b = *state;
	struct plan p;

	set_windows(b, 2, (struct hearth_window[]){{20, 30}, {50, INFINITY}});
	p = plan_at(b, 3, 1);
	assert_int_equal(p.rung, HEARTH_FROZEN);
	assert_int_equal(p.until_ns, 120 * S);
	p = plan_at(b, 3, 35);
	assert_int_equal(p.rung, HEARTH_FROZEN);
	assert_int_equal(p.until_ns, 150 * S);
	p = plan_at(b, 3, 4000);
	assert_int_equal(p.rung, HEARTH_WARM);
	assert_int_equal(p.until_ns, UINT64_MAX);
}

static void no_window_means_frozen_at_once(void **state)
{
	struct bed *b = *state;
	struct plan p;

	set_windows(b, 0, NULL);
	p = plan_at(b, 3, 0);
	assert_int_equal(p.rung, HEARTH_FROZEN);
	assert_int_equal(p.until_ns, UINT64_MAX);
}

static void instances_beyond_the_need_have_no_windows(void **state)
{
	struct bed *b = *state;

	set_windows(b, 1, (struct hearth_window[]){{0, INFINITY}});
	b->fn.needed = 2;
	assert_int_equal(plan_at(b, 3, 5).rung, HEARTH_WARM); /* the two used last keep theirs */
	assert_int_equal(plan_at(b, 2, 5).rung, HEARTH_WARM);
	assert_int_equal(plan_at(b, 1, 5).rung, HEARTH_FROZEN);
	assert_int_equal(plan_at(b, 0, 5).rung, HEARTH_FROZEN);
}

static void without_a_plan_it_stays_warm(void **state)
{
	struct bed *b = *state;
	struct plan p;

	b->fn.needed = 1;
	b->fn.settings.tiers = 0;                       /* the ladder refuses */
	for (unsigned int inst = 2; inst < 4; inst++) { /* one is surplus */
		p = plan_at(b, inst, 100000);
		assert_true(b->fn.n_steps < 0 && b->fn.n_surplus_steps < 0);
		assert_int_equal(p.rung, HEARTH_WARM);
		assert_int_equal(p.next, HEARTH_WARM);
		assert_int_equal(p.until_ns, UINT64_MAX);
		assert_string_equal(p.reason, "no plan can be made of what its tiers cost");
	}
}

static void a_step_back_up_is_told_from_one_down(void **state)
{
	struct bed *b = *state;
	const struct hearth_rung_step steps[] = {{0, HEARTH_FROZEN},
						 {10, HEARTH_RECLAIMED},
						 {50, HEARTH_FROZEN},
						 {60, HEARTH_RECLAIMED}};
	uint32_t i;

	for (i = 0; i < 4; i++)
		b->fn.steps[i] = steps[i];
	b->fn.n_steps = 4;
	assert_false(plan_instance(&b->agent, &b->inst[3], 100 * S, 105 * S).up);
	assert_false(plan_instance(&b->agent, &b->inst[3], 100 * S, 120 * S).up);
	assert_true(plan_instance(&b->agent, &b->inst[3], 100 * S, 150 * S).up);
	assert_false(plan_instance(&b->agent, &b->inst[3], 100 * S, 160 * S).up);
}

static void the_dead_take_nobodys_place(void **state)
{
	struct bed *b = *state;

	assert_int_equal(plan_rank(&b->agent, &b->inst[2]), 1);
	b->inst[3].populated = false;
	assert_int_equal(plan_rank(&b->agent, &b->inst[2]), 0);
}

static void the_need_follows_a_peak_at_once_and_decays_slowly(void **state)
{
	struct bed *b = *state;
	char err[128];

	assert_int_equal(hearth_policy_parse("fixed:1m", 600, &b->fn.policy, err, sizeof(err)), 0);
	b->fn.policy_state = calloc(1, hearth_policy_state_size(b->fn.policy) + 1);
	b->fn.needed = 1;
	b->fn_slot.peak = 3;
	b->fn_slot.busy_spans++;
	plan_decision(&b->agent, &b->fn);
	assert_int_equal(b->fn.needed, 3);
	b->fn_slot.peak = 1;
	b->fn_slot.busy_spans++;
	plan_decision(&b->agent, &b->fn);
	assert_int_equal(b->fn.needed, 2);
	plan_decision(&b->agent, &b->fn); /* the same busy span decides once */
	assert_int_equal(b->fn.needed, 2);
	free(b->fn.policy_state);
	hearth_policy_free(b->fn.policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(inside_a_window_it_stays_until_the_close, make_bed,
					    drop_bed),
	    cmocka_unit_test_setup_teardown(before_a_late_window_it_is_frozen_until_the_open,
					    make_bed, drop_bed),
	    cmocka_unit_test_setup_teardown(no_window_means_frozen_at_once, make_bed, drop_bed),
	    cmocka_unit_test_setup_teardown(instances_beyond_the_need_have_no_windows, make_bed,
					    drop_bed),
	    cmocka_unit_test_setup_teardown(without_a_plan_it_stays_warm, make_bed, drop_bed),
	    cmocka_unit_test_setup_teardown(a_step_back_up_is_told_from_one_down, make_bed,
					    drop_bed),
	    cmocka_unit_test_setup_teardown(the_dead_take_nobodys_place, make_bed, drop_bed),
	    cmocka_unit_test_setup_teardown(the_need_follows_a_peak_at_once_and_decays_slowly,
					    make_bed, drop_bed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
