/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <math.h>

#include "sim/spread.h"

static uint64_t mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

void spread_start(struct spread *s, const struct spread_options *o, const char *unit,
		  const struct trace_run *run, double span_s)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	*s = (struct spread){.t_s = run->t_s, .span_s = span_s, .n = run->n};
	s->jitter = o->jitter && span_s > 0;
	if (!s->jitter)
		return;
	for (; *unit; unit++)
		h = (h ^ (unsigned char)*unit) * 0x100000001b3;
	s->rng = o->seed ^ h ^ ((uint64_t)run->t_s << 20);
}

double spread_random(struct spread *s)
{
	double u = ((mix(&s->rng) >> 11) + 0.5) * 0x1p-53;

	/* The smallest of k uniforms on what is left of the span: 1 - u^(1/k). */
	s->log_left += log(u) / (s->n - s->i);
	return -expm1(s->log_left) * s->span_s;
}
