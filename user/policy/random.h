/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Random numbers from the caller's 64-bit state (splitmix64): the same seed
 * gives the same run everywhere.
 */
#ifndef HEARTH_POLICY_RANDOM_H
#define HEARTH_POLICY_RANDOM_H

#include <stdint.h>

static inline uint64_t random_bits(uint64_t *rng)
{
	uint64_t z = *rng += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* In (0, 1): its logarithm is finite. */
static inline double random_unit(uint64_t *rng)
{
	return ((random_bits(rng) >> 11) + 0.5) * 0x1p-53;
}

#endif
