/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Values as people read them, in few columns; and the fields of the agent's
 * JSON, where a missing or null number is NAN and a missing text is "".
 */
#ifndef HEARTH_FORMAT_H
#define HEARTH_FORMAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_TEXT 32 /* enough for any of these */

/* "74us" "850ms" "9.3s" "42s" "4m10s" "3h05m" "2d04h"; "-" for NAN, "forever" for infinity. */
const char *format_duration(double s, char *buf);
/* "512B" "50.0M" "1.2G", powers of 1024; "-" for NAN. */
const char *format_bytes(double bytes, char *buf);
/* "99999" "1.23M", powers of 1000. */
const char *format_count(double n, char *buf);
/* "0%" "<.1%" "3.4%" "58%" of 0..1; "-" for NAN. */
const char *format_share(double share, char *buf);
/* Unix time as local "2026-11-21 01:32:17"; "-" for NAN. */
const char *format_time(double at_s, char *buf);

/* Columns that a text takes on a terminal; bytes that are not text count one each. */
int format_width(const char *text);
/* Bytes of the longest start of text that fits into `columns`. */
size_t format_fit(const char *text, int columns);

double field_number(const json_t *object, const char *key);
const char *field_text(const json_t *object, const char *key);
bool field_is_true(const json_t *object, const char *key);

#endif
