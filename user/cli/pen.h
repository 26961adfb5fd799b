/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where styled text goes: a file (with or without colours) or, in `top`, a
 * curses window. Views draw with a pen and know neither. Control characters in
 * what the agent reports (a cgroup may be called anything) never reach the
 * terminal: they are drawn as '?'.
 */
#ifndef HEARTH_PEN_H
#define HEARTH_PEN_H

#include <stdbool.h>
#include <stdio.h>

enum style {
	STYLE_PLAIN,
	STYLE_BOLD,
	STYLE_DIM,
	STYLE_GOOD,
	STYLE_WARN,
	STYLE_BAD,
	STYLE_COLD,
	STYLE_ODD,
	STYLE_HEAD,     /* column titles */
	STYLE_SORTED,   /* the title of the column that rows are sorted by */
	STYLE_SELECTED, /* the row under the cursor */
	STYLE_COUNT
};

struct pen {
	/* text has no control characters, but may end with '\n'. */
	void (*put)(struct pen *pen, enum style style, const char *text);
	int columns; /* width to draw for; 0: as wide as it gets */
	bool utf8;   /* the terminal can show line-drawing and block characters */
};

struct file_pen {
	struct pen pen;
	FILE *file;
	bool color;
};

struct cli;

/* A pen on the command's output. */
struct file_pen pen_open(const struct cli *cli);

/* A line end at the end of format ends the line; any other control character is drawn as '?'. */
void pen_print(struct pen *pen, enum style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* text padded or cut to exactly `width` columns (0: as it is); then one space. */
void pen_cell(struct pen *pen, enum style style, const char *text, int width, bool right);

void pen_line(struct pen *pen); /* end the line */

/* The style in which a tier is shown. */
enum style pen_tier(const char *tier);

#endif
