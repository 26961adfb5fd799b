/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The agent's time: CLOCK_MONOTONIC in u64 nanoseconds, the same clock as
 * bpf_ktime_get_ns(). Policy code takes seconds as double.
 */
#ifndef HEARTH_LIB_CLOCK_H
#define HEARTH_LIB_CLOCK_H

#include <stdint.h>

#define NSEC_PER_USEC UINT64_C(1000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MIN  (60 * NSEC_PER_SEC)
#define NSEC_PER_HOUR (60 * NSEC_PER_MIN)
#define NSEC_PER_DAY  (24 * NSEC_PER_HOUR)

uint64_t now_ns(void);

/* CLOCK_REALTIME: for people and for what outlives a boot, never for differences. */
uint64_t unix_ns(void);

static inline double ns_to_s(uint64_t ns)
{
	return (double)ns / (double)NSEC_PER_SEC;
}

/* Rounds to the nearest; negative and NaN give 0, too large gives UINT64_MAX. */
uint64_t s_to_ns(double s);

#endif
