/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parsing and printing of sizes, in integers but for the fraction, which has few
 * enough digits to be exact.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/size.h"
#include "lib/util.h"

#define FRACTION_DIGITS 9 /* beyond: less than a byte even of a gibibyte, refused */

static const struct {
	const char *name;
	unsigned int shift;
} units[] = {{"T", 40}, {"G", 30}, {"M", 20}, {"K", 10}, {"", 0}};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "12.5UNIT": the number as whole + fraction / scale; what follows, or NULL. */
static const char *decimal(const char *p, uint64_t *whole, uint64_t *fraction, uint64_t *scale,
			   bool *overflow)
{
	*whole = *fraction = 0;
	*scale = 1;
	*overflow = false;
	if (!is_digit(*p))
		return NULL;
	for (; is_digit(*p); p++) {
		*overflow |= __builtin_mul_overflow(*whole, 10, whole);
		*overflow |= __builtin_add_overflow(*whole, (uint64_t)(*p - '0'), whole);
	}
	if (*p != '.')
		return p;
	if (!is_digit(*++p))
		return NULL;
	for (int i = 0; is_digit(*p); p++, i++) {
		if (i == FRACTION_DIGITS)
			return NULL;
		*fraction = *fraction * 10 + (uint64_t)(*p - '0');
		*scale *= 10;
	}
	return p;
}

int size_parse(const char *text, uint64_t *bytes)
{
	uint64_t whole, fraction, scale;
	bool overflow;
	const char *unit = decimal(text, &whole, &fraction, &scale, &overflow);

	if (!unit)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		unsigned __int128 total;

		if (strcmp(unit, units[i].name) != 0)
			continue;
		if (fraction && units[i].shift == 0)
			return -EINVAL; /* a part of a byte */
		total = ((unsigned __int128)whole << units[i].shift) +
			((unsigned __int128)fraction << units[i].shift) / scale;
		if (overflow || total > UINT64_MAX)
			return -ERANGE;
		*bytes = (uint64_t)total;
		return 0;
	}
	return -EINVAL;
}

const char *size_format(uint64_t bytes, char *buf, size_t size)
{
	size_t i = 0;

	while (bytes == 0 ? i + 1 < ARRAY_SIZE(units)
			  : bytes & ((UINT64_C(1) << units[i].shift) - 1))
		i++;
	snprintf(buf, size, "%llu%s", (unsigned long long)(bytes >> units[i].shift), units[i].name);
	return buf;
}

int share_parse(const char *text, double *share)
{
	uint64_t whole, fraction, scale;
	bool overflow;
	const char *rest = decimal(text, &whole, &fraction, &scale, &overflow);

	if (!rest || strcmp(rest, "%") != 0)
		return -EINVAL;
	if (overflow || whole > 100 || (whole == 100 && fraction))
		return -ERANGE;
	*share = ((double)whole + (double)fraction / (double)scale) / 100;
	return 0;
}
