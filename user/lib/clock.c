/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Monotonic time and conversions. CLOCK_MONOTONIC cannot fail on Linux.
 */
#include <time.h>

#include "lib/clock.h"

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t unix_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t s_to_ns(double s)
{
	double ns = s * (double)NSEC_PER_SEC + 0.5;

	if (!(ns > 0))
		return 0;
	return ns >= 0x1p64 ? UINT64_MAX : (uint64_t)ns;
}
