/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sizes as people write them: a decimal number and K, M, G or T, powers of 1024
 * ("64K", "1.5G"); a bare number is bytes. Shares as "10%". Exact to the byte.
 */
#ifndef HEARTH_LIB_SIZE_H
#define HEARTH_LIB_SIZE_H

#include <stddef.h>
#include <stdint.h>

#define SIZE_TEXT     32 /* enough for any size_format() */
#define SIZE_ACCEPTED "a size such as 512K, 100M or 1.5G (a bare number is bytes)"

/* 0, -EINVAL (not a size) or -ERANGE (16 EiB or more). */
int size_parse(const char *text, uint64_t *bytes);

/* With the largest unit that the bytes are a multiple of. Returns buf. */
const char *size_format(uint64_t bytes, char *buf, size_t size);

/* "12.5%" to 0.125. 0, -EINVAL (no percentage) or -ERANGE (over 100%). */
int share_parse(const char *text, double *share);

#endif
