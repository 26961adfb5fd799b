/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parsing and printing of durations, in integers: what is printed parses back
 * to the same number of nanoseconds.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/util.h"

#define FRACTION_DIGITS 18 /* beyond: less than 0.1 ns even of a day, ignored */

static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
    {"d", NSEC_PER_DAY},   {"h", NSEC_PER_HOUR},  {"m", NSEC_PER_MIN}, {"s", NSEC_PER_SEC},
    {"ms", NSEC_PER_MSEC}, {"us", NSEC_PER_USEC}, {"ns", 1},
};

static int unit_of(const char *name, uint64_t *ns)
{
	if (!*name) {
		*ns = NSEC_PER_MIN;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(name, units[i].name) == 0) {
			*ns = units[i].ns;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int duration_parse(const char *text, uint64_t *ns)
{
	uint64_t whole = 0, fraction = 0, scale = 1, unit;
	unsigned __int128 total;
	bool overflow = false;
	const char *p = text;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++) {
		overflow |= __builtin_mul_overflow(whole, 10, &whole);
		overflow |= __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole);
	}
	if (*p == '.') {
		if (!is_digit(*++p))
			return -EINVAL;
		for (int i = 0; is_digit(*p); p++, i++) {
			if (i >= FRACTION_DIGITS)
				continue;
			fraction = fraction * 10 + (uint64_t)(*p - '0');
			scale *= 10;
		}
	}
	if (unit_of(p, &unit) < 0)
		return -EINVAL;
	total = (unsigned __int128)whole * unit +
		((unsigned __int128)fraction * unit + scale / 2) / scale;
	if (overflow || total > UINT64_MAX)
		return -ERANGE;
	*ns = (uint64_t)total;
	return 0;
}

/* ns as a decimal number of units; false if that is not finite within the digits. */
static bool format_in(uint64_t ns, uint64_t unit, const char *name, char *buf, size_t size)
{
	uint64_t rest = ns % unit;
	char digits[FRACTION_DIGITS + 1];
	int n = 0;

	for (; rest && n < FRACTION_DIGITS; n++) {
		unsigned __int128 next = (unsigned __int128)rest * 10;

		digits[n] = (char)('0' + (int)(next / unit));
		rest = (uint64_t)(next % unit);
	}
	if (rest)
		return false;
	digits[n] = '\0';
	snprintf(buf, size, "%llu%s%s%s", (unsigned long long)(ns / unit), n ? "." : "", digits,
		 name);
	return true;
}

const char *duration_format(uint64_t ns, char *buf, size_t size)
{
	char best[64] = "", text[64];

	if (ns == 0) {
		snprintf(buf, size, "0s");
		return buf;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!format_in(ns, units[i].ns, units[i].name, text, sizeof(text)))
			continue;
		if (!*best || strlen(text) < strlen(best))
			memcpy(best, text, sizeof(best));
	}
	snprintf(buf, size, "%s", best);
	return buf;
}
