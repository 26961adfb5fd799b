/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An idle-time histogram drawn with block characters, fitted to a width. */
#ifndef HEARTH_HISTOGRAM_H
#define HEARTH_HISTOGRAM_H

#include <stddef.h>

#include "cli/pen.h"
#include "hearth/policy.h"

struct histogram {
	struct hearth_hist hist;
	const struct hearth_window *windows;
	size_t n_windows;
	unsigned int head_q, tail_q; /* percentiles to mark, in percent */
};

/*
 * Bars of `rows` lines, a time axis, the marks H(ead) M(edian) T(ail), and the
 * windows in which the function is kept warm. Bins are grouped when there are
 * more than columns; a bin that is not empty is always seen.
 */
void histogram_draw(struct pen *pen, const struct histogram *h, int rows);

#endif
