/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Test only: stretch the steps of the freeze and wake protocol, to open every
 * race. HEARTH_TEST_DELAYS="after_arm=200us,before_write=1ms" sets the longest
 * sleep per step; each pass sleeps a random part of it. Unset: one load per step.
 */
#ifndef HEARTH_DELAYS_H
#define HEARTH_DELAYS_H

#include <stdint.h>

enum delay_point {
	DELAY_AFTER_INTENT,
	DELAY_AFTER_ARM,
	DELAY_BEFORE_FREEZE_WRITE,
	DELAY_AFTER_FREEZE_WRITE,
	DELAY_BEFORE_FROZEN,
	DELAY_BEFORE_THAW_WRITE,
	DELAY_AFTER_THAW_WRITE,
	DELAY_BEFORE_THAWED,
	DELAY_WAKE_READ,
	DELAY_POINTS
};

extern uint32_t delays_us[DELAY_POINTS];

/* Parse the environment; an unknown step is an error, so that a test cannot test nothing. */
int delays_init(void);
void delays_sleep(enum delay_point point);

static inline void delay(enum delay_point point)
{
	if (__builtin_expect(delays_us[point] != 0, 0))
		delays_sleep(point);
}

#endif
