/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Short texts for numbers, terminal widths, JSON fields. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "cli/format.h"

/* "4m10s", "3h05m", "2d04h": the larger unit, then two digits of the next unless zero. */
static const char *two_units(double s, unsigned int unit, unsigned int part, const char *names,
			     char *buf)
{
	unsigned long long whole = s / unit, rest = fmod(s, unit) / part;

	if (rest)
		snprintf(buf, FORMAT_TEXT, "%llu%c%02llu%c", whole, names[0], rest, names[1]);
	else
		snprintf(buf, FORMAT_TEXT, "%llu%c", whole, names[0]);
	return buf;
}

const char *format_duration(double s, char *buf)
{
	if (isnan(s))
		return strcpy(buf, "-");
	if (isinf(s))
		return strcpy(buf, "forever");
	if (s >= 86400)
		return two_units(s, 86400, 3600, "dh", buf);
	if (s >= 3600)
		return two_units(s, 3600, 60, "hm", buf);
	if (s >= 60)
		return two_units(s, 60, 1, "ms", buf);
	if (s >= 10)
		snprintf(buf, FORMAT_TEXT, "%.0fs", floor(s));
	else if (s >= 1)
		snprintf(buf, FORMAT_TEXT, "%.3gs", floor(s * 10) / 10);
	else if (s >= 0.001)
		snprintf(buf, FORMAT_TEXT, "%.0fms", floor(s * 1e3));
	else
		snprintf(buf, FORMAT_TEXT, s >= 1e-6 ? "%.0fus" : "0s", floor(s * 1e6));
	return buf;
}

const char *format_bytes(double bytes, char *buf)
{
	static const char units[] = "BKMGTPE";
	unsigned int unit = 0;

	if (isnan(bytes))
		return strcpy(buf, "-");
	while (bytes >= 1024 && units[unit + 1]) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, FORMAT_TEXT, unit && bytes < 100 ? "%.1f%c" : "%.0f%c", bytes, units[unit]);
	return buf;
}

const char *format_count(double n, char *buf)
{
	if (isnan(n))
		return strcpy(buf, "-");
	if (n < 1e5)
		snprintf(buf, FORMAT_TEXT, "%.0f", n);
	else if (n < 1e6)
		snprintf(buf, FORMAT_TEXT, "%.0fk", floor(n / 1e3));
	else if (n < 1e9)
		snprintf(buf, FORMAT_TEXT, "%.2fM", floor(n / 1e4) / 1e2);
	else
		snprintf(buf, FORMAT_TEXT, "%.2fG", floor(n / 1e7) / 1e2);
	return buf;
}

const char *format_share(double share, char *buf)
{
	double percent = 100 * share;

	if (isnan(share))
		return strcpy(buf, "-");
	if (percent > 0 && percent < 0.1)
		return strcpy(buf, "<.1%");
	snprintf(buf, FORMAT_TEXT, percent > 0 && percent < 10 ? "%.1f%%" : "%.0f%%", percent);
	return buf;
}

const char *format_time(double at_s, char *buf)
{
	time_t t = isnan(at_s) ? 0 : (time_t)at_s;
	struct tm tm;

	if (isnan(at_s) || !localtime_r(&t, &tm) ||
	    !strftime(buf, FORMAT_TEXT, "%Y-%m-%d %H:%M:%S", &tm))
		return strcpy(buf, "-");
	return buf;
}

/* One character: its bytes and columns. What cannot be printed takes one column. */
static size_t next_char(const char *text, int *columns)
{
	mbstate_t state = {0};
	wchar_t wide;
	size_t bytes = mbrtowc(&wide, text, strnlen(text, MB_LEN_MAX), &state);

	*columns = 1;
	if (bytes == 0 || bytes == (size_t)-1 || bytes == (size_t)-2)
		return *text ? 1 : 0;
	if (wcwidth(wide) >= 0)
		*columns = wcwidth(wide);
	return bytes;
}

size_t format_fit(const char *text, int columns)
{
	size_t at = 0;

	while (text[at]) {
		int width;
		size_t bytes = next_char(text + at, &width);

		if (width > columns)
			break;
		columns -= width;
		at += bytes;
	}
	return at;
}

int format_width(const char *text)
{
	int columns = 0;

	while (*text) {
		int width;

		text += next_char(text, &width);
		columns += width;
	}
	return columns;
}

double field_number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *field_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

bool field_is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}
