/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `top` shows at one moment, apart from the terminal it is shown on: the
 * state and how one frame of it is drawn. The cursor stays on a function by
 * name, whatever the order of the rows becomes.
 */
#ifndef HEARTH_TOP_VIEW_H
#define HEARTH_TOP_VIEW_H

#include <stdbool.h>

#include "cli/view.h"

#define TOP_FILTER_MAX 63

struct top {
	struct view view;
	json_t *status;    /* the agent's, NULL until it answered */
	json_t *images;    /* what it says of the image manager's, NULL if it does not */
	char problem[512]; /* why what is shown is old, "" if it is not */
	char filter[TOP_FILTER_MAX + 1];
	bool typing; /* the filter is being typed */
	bool paused;
	int sort;
	bool reverse;
	char *selected; /* name under the cursor, NULL: none yet */
	size_t offset;  /* first row shown */
	int rows;       /* lines of the terminal, 0: all rows (no cursor, no help line) */
};

/* New answers of the agent; takes the references. False if they are not what they should be. */
bool top_load(struct top *top, json_t *status, json_t *functions, json_t *images);
void top_done(struct top *top);

void top_resort(struct top *top);
void top_move(struct top *top, long rows); /* move the cursor, stopping at the ends */

void top_draw(struct top *top, struct pen *pen);

#endif
