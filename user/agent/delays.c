/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Random sleeps at the named steps of the protocol; see delays.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/delays.h"
#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/log.h"
#include "lib/util.h"

uint32_t delays_us[DELAY_POINTS];

static const char *const NAMES[DELAY_POINTS] = {
    [DELAY_AFTER_INTENT] = "after_intent",
    [DELAY_AFTER_ARM] = "after_arm",
    [DELAY_BEFORE_FREEZE_WRITE] = "before_freeze_write",
    [DELAY_AFTER_FREEZE_WRITE] = "after_freeze_write",
    [DELAY_BEFORE_FROZEN] = "before_frozen",
    [DELAY_BEFORE_THAW_WRITE] = "before_thaw_write",
    [DELAY_AFTER_THAW_WRITE] = "after_thaw_write",
    [DELAY_BEFORE_THAWED] = "before_thawed",
    [DELAY_WAKE_READ] = "wake_read",
};

static int set_point(char *item)
{
	char *value = strchr(item, '=');
	char *end;
	size_t i;

	if (!value)
		return -EINVAL;
	*value++ = '\0';
	for (i = 0; i < DELAY_POINTS; i++) {
		unsigned long us;

		if (strcmp(NAMES[i], item))
			continue;
		us = strtoul(value, &end, 10);
		if (strcmp(end, "us") || us > 1000000)
			return -EINVAL;
		delays_us[i] = (uint32_t)us;
		return 0;
	}
	return -EINVAL;
}

int delays_init(void)
{
	const char *env = getenv("HEARTH_TEST_DELAYS");
	_cleanup_free_ char *copy = env ? strdup(env) : NULL;
	char *item, *rest = copy;

	if (!env || !*env)
		return 0;
	if (!copy)
		return -ENOMEM;
	while ((item = strsep(&rest, ","))) {
		if (set_point(item)) {
			log_error(
			    "HEARTH_TEST_DELAYS: bad step '%s'; accepted: STEP=MICROSECONDSus",
			    item);
			return -EINVAL;
		}
	}
	log_warn("HEARTH_TEST_DELAYS is set: the freeze protocol is slowed on purpose");
	return 0;
}

void delays_sleep(enum delay_point point)
{
	static _Thread_local uint64_t seed;
	struct timespec ts = {};

	if (!seed)
		seed = now_ns() | 1;
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	ts.tv_nsec = (long)(seed % (delays_us[point] + 1)) * 1000;
	nanosleep(&ts, NULL);
}
