/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The snapshot in the text format of Prometheus (version 0.0.4): families of
 * samples, each with its HELP and TYPE. Pure: snapshot in, text out. Labels are
 * bounded: METRICS_FUNCTIONS functions, IMAGES_MAX images, fixed words.
 */
#ifndef HEARTH_METRICS_TEXT_H
#define HEARTH_METRICS_TEXT_H

#include "agent/snapshot.h"

#define METRICS_FUNCTIONS 512u /* the others are in the totals, and counted as left out */

struct metrics_page;

/* NULL without memory. */
struct metrics_page *metrics_page_new(void);
void metrics_page_function(struct metrics_page *p, const struct snapshot_function *f);
void metrics_page_status(struct metrics_page *p, const struct snapshot_status *s);
void metrics_page_images(struct metrics_page *p, const struct snapshot_images *s);
/* The text, which the caller frees, and its length; NULL without memory. Ends the page. */
char *metrics_page_end(struct metrics_page *p, size_t *len);

#endif
