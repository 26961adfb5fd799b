/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A pen on a curses window; lines are cut at its right edge. */
#ifndef HEARTH_CURSES_PEN_H
#define HEARTH_CURSES_PEN_H

#include <curses.h>

#include "cli/pen.h"

struct curses_pen {
	struct pen pen;
	WINDOW *window;
	int line;
};

/* Once after initscr(). */
void curses_pen_init(bool color);
struct curses_pen curses_pen_open(WINDOW *window);

#endif
