/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <math.h>

#include "trace/draw.h"

#define POISSON_NORMAL 50.0 /* from this mean on, rounding a normal draw is close enough */

uint64_t draw_bits(struct draw *d)
{
	uint64_t z = (d->state += 0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

double draw_unit(struct draw *d)
{
	return ((draw_bits(d) >> 11) + 0.5) * 0x1p-53;
}

double draw_normal(struct draw *d)
{
	double r = sqrt(-2 * log(draw_unit(d)));

	return r * cos(2 * M_PI * draw_unit(d));
}

/* Marsaglia and Tsang (2000); shapes below 1 through shape + 1. */
double draw_gamma(struct draw *d, double shape)
{
	double k = (shape < 1 ? shape + 1 : shape) - 1 / 3.0;
	double c = 1 / sqrt(9 * k);
	double x, v;

	do {
		x = draw_normal(d);
		v = pow(fmax(1 + c * x, 0), 3);
	} while (v <= 0 || log(draw_unit(d)) >= x * x / 2 + k - k * v + k * log(v));
	return shape < 1 ? k * v * pow(draw_unit(d), 1 / shape) : k * v;
}

uint64_t draw_poisson(struct draw *d, double mean)
{
	double left = exp(-mean), product = draw_unit(d);
	uint64_t n = 0;

	if (mean >= POISSON_NORMAL)
		return fmax(0, round(mean + sqrt(mean) * draw_normal(d)));
	for (; product > left; n++)
		product *= draw_unit(d);
	return n;
}

double draw_table(struct draw *d, const struct draw_point *table, size_t n)
{
	double u = draw_unit(d), share;
	size_t i = 0;

	while (i < n && table[i].p < u)
		i++;
	if (i == 0 || i == n)
		return table[i ? n - 1 : 0].x;
	share = (u - table[i - 1].p) / (table[i].p - table[i - 1].p);
	if (table[i - 1].x > 0)
		return table[i - 1].x * pow(table[i].x / table[i - 1].x, share);
	return table[i - 1].x + share * (table[i].x - table[i - 1].x);
}
