/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <math.h>

#include "sim/jitter.h"

static uint64_t mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

void jitter_start(struct jitter *j, uint64_t seed, const char *unit, double t_s)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	for (; *unit; unit++)
		h = (h ^ (unsigned char)*unit) * 0x100000001b3;
	j->rng = seed ^ h ^ ((uint64_t)t_s << 20);
	j->log_left = 0;
}

double jitter_next(struct jitter *j, uint32_t left)
{
	double u = ((mix(&j->rng) >> 11) + 0.5) * 0x1p-53;

	/* The smallest of `left` uniforms on what is left: 1 - u^(1/left). */
	j->log_left += log(u) / left;
	return -expm1(j->log_left);
}
