/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How far a long run is: written by those who work, on any thread, read by who
 * shows it. A stage goes from 0 to 1 in steps; a step may be cut into pieces of
 * equal worth. Every function takes NULL for "nobody looks".
 */
#ifndef HEARTH_LIB_PROGRESS_H
#define HEARTH_LIB_PROGRESS_H

#include <stdatomic.h>
#include <stddef.h>

struct progress {
	const char *_Atomic stage; /* e.g. "reading"; NULL before the first */
	_Atomic double from, to;   /* shares of the stage before and after the step */
	atomic_size_t pieces, done;
};

void progress_stage(struct progress *p, const char *stage);
void progress_step(struct progress *p, double to); /* the step before it is done */
void progress_pieces(struct progress *p, size_t n);
void progress_piece(struct progress *p); /* one is done */

/* Of the stage, 0 to 1. */
double progress_share(const struct progress *p);

#endif
