/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The image manager's images as hearthd last heard of them: the pane at the foot of `top`. */
#ifndef HEARTH_IMAGES_PANE_H
#define HEARTH_IMAGES_PANE_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/pen.h"

/* Has the manager told nothing for longer than it takes to ask it? The pane says so. */
bool images_pane_old(const json_t *images);

/* Lines it takes with at most `most` of them (0: as many as it needs); 0 before an answer. */
int images_pane_lines(const json_t *images, int most);
void images_pane_draw(struct pen *pen, const json_t *images, int lines);

#endif
