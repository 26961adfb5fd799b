/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Styles as curses attributes, with the terminal's own background. */
#include <langinfo.h>
#include <string.h>

#include "cli/curses_pen.h"
#include "cli/format.h"
#include "lib/util.h"

static const struct {
	attr_t attributes;
	short color; /* -1: the terminal's */
} looks[STYLE_COUNT] = {
    [STYLE_PLAIN] = {A_NORMAL, -1},
    [STYLE_BOLD] = {A_BOLD, -1},
    [STYLE_DIM] = {A_DIM, -1},
    [STYLE_GOOD] = {A_NORMAL, COLOR_GREEN},
    [STYLE_WARN] = {A_NORMAL, COLOR_YELLOW},
    [STYLE_BAD] = {A_BOLD, COLOR_RED},
    [STYLE_COLD] = {A_NORMAL, COLOR_CYAN},
    [STYLE_ODD] = {A_NORMAL, COLOR_MAGENTA},
    [STYLE_HEAD] = {A_BOLD, -1},
    [STYLE_SORTED] = {A_BOLD | A_UNDERLINE, -1},
    [STYLE_SELECTED] = {A_REVERSE, -1},
};

void curses_pen_init(bool color)
{
	if (!color || !has_colors())
		return;
	start_color();
	use_default_colors();
	for (int i = 0; i < STYLE_COUNT; i++)
		init_pair((short)(i + 1), looks[i].color, -1);
}

static void put(struct pen *pen, enum style style, const char *text)
{
	struct curses_pen *c = container_of(pen, struct curses_pen, pen);
	size_t length = strcspn(text, "\n");
	int room = getmaxx(c->window) - getcurx(c->window);
	size_t fit = format_fit(text, room);

	if (getcury(c->window) == c->line && c->line < getmaxy(c->window)) {
		wattr_set(c->window, looks[style].attributes, (short)(style + 1), NULL);
		waddnstr(c->window, text, (int)MIN(fit, length));
	}
	if (text[length]) {
		c->line++;
		wmove(c->window, c->line, 0);
	}
}

struct curses_pen curses_pen_open(WINDOW *window)
{
	return (struct curses_pen){
	    .pen = {.put = put,
		    .columns = getmaxx(window),
		    .utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8")},
	    .window = window,
	};
}
