/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Styled text to a file; padding and cutting for every kind of pen. */
#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/pen.h"
#include "lib/util.h"

static const char *const escapes[STYLE_COUNT] = {
    [STYLE_BOLD] = "\033[1m",     [STYLE_DIM] = "\033[2m",    [STYLE_GOOD] = "\033[32m",
    [STYLE_WARN] = "\033[33m",    [STYLE_BAD] = "\033[1;31m", [STYLE_COLD] = "\033[36m",
    [STYLE_ODD] = "\033[35m",     [STYLE_HEAD] = "\033[1m",   [STYLE_SORTED] = "\033[1;4m",
    [STYLE_SELECTED] = "\033[7m",
};

static void put_file(struct pen *pen, enum style style, const char *text)
{
	struct file_pen *f = container_of(pen, struct file_pen, pen);
	size_t line = strcspn(text, "\n"); /* the line end stays outside the style */
	bool styled = f->color && escapes[style] && line;

	fprintf(f->file, "%s%.*s%s%s", styled ? escapes[style] : "", (int)line, text,
		styled ? "\033[0m" : "", text + line);
}

struct file_pen pen_open(const struct cli *cli)
{
	return (struct file_pen){
	    .pen = {.put = put_file,
		    .columns = cli->terminal ? cli->columns : 0,
		    .utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8")},
	    .file = cli->out,
	    .color = cli->color,
	};
}

/* Only a line end of the format's own survives. */
static void without_controls(char *text, bool ends_line)
{
	for (; *text; text++)
		if (((unsigned char)*text < 0x20 && !(ends_line && !text[1])) || *text == 0x7f)
			*text = '?';
}

void pen_print(struct pen *pen, enum style style, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	size_t length = strlen(format);
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		return;
	}
	without_controls(text, length && format[length - 1] == '\n');
	pen->put(pen, style, text);
}

void pen_line(struct pen *pen)
{
	pen->put(pen, STYLE_PLAIN, "\n");
}

void pen_cell(struct pen *pen, enum style style, const char *text, int width, bool right)
{
	int natural = format_width(text), pad = width - natural;

	if (!width || pad == 0)
		pen_print(pen, style, "%s ", text);
	else if (pad > 0 && right)
		pen_print(pen, style, "%*s%s ", pad, "", text);
	else if (pad > 0)
		pen_print(pen, style, "%s%*s ", text, pad, "");
	else {
		int fit = (int)format_fit(text, width - 1);
		_cleanup_free_ char *start = strndup(text, fit);
		int used = start ? format_width(start) : 0;

		pen_print(pen, style, "%.*s%s%*s ", fit, text, pen->utf8 ? "…" : "~",
			  width - 1 - used, "");
	}
}

enum style pen_tier(const char *tier)
{
	static const struct {
		const char *tier;
		enum style style;
	} styles[] = {
	    {"running", STYLE_GOOD}, {"warm", STYLE_WARN},      {"freezing", STYLE_COLD},
	    {"frozen", STYLE_COLD},  {"reclaimed", STYLE_COLD}, {"gone", STYLE_DIM},
	    {"thawing", STYLE_WARN}, {"foreign", STYLE_ODD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
		if (!strncmp(tier, styles[i].tier, strlen(styles[i].tier)))
			return styles[i].style;
	return STYLE_DIM;
}
