/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Durations as people write them: a decimal number and a unit of ns, us, ms, s,
 * m, h or d ("500ms", "1.5h"). A bare number means minutes, the unit keep-alive
 * times are spoken of in. Exact: no floating point on the way.
 */
#ifndef HEARTH_LIB_DURATION_H
#define HEARTH_LIB_DURATION_H

#include <stddef.h>
#include <stdint.h>

#define DURATION_TEXT 32 /* enough for any duration_format() */
#define DURATION_ACCEPTED                                                                          \
	"a duration such as 500ms, 30s, 10m, 1.5h or 1d (a bare number is minutes)"

/* 0, -EINVAL (not a duration; also negative, nan, inf) or -ERANGE (over 584 years). */
int duration_parse(const char *text, uint64_t *ns);

/* The shortest text with a unit that parses back to exactly ns. Returns buf. */
const char *duration_format(uint64_t ns, char *buf, size_t size);

#endif
