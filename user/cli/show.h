/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One function in full: what `show`, `explain` and the panel of `top` draw from
 * the agent's answers.
 */
#ifndef HEARTH_SHOW_H
#define HEARTH_SHOW_H

#include <jansson.h>

#include "cli/pen.h"

/* Settings, counters, histogram with windows, instances. */
void show_function(struct pen *pen, const json_t *function);

/* Why it is in its tier, what comes next, what was decided last (events: oldest first). */
void show_why(struct pen *pen, const json_t *function, const json_t *events);

/* One line of the journal; with_function: events of several functions are shown. */
void show_event(struct pen *pen, const json_t *event, bool with_function);

#endif
