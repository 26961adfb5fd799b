/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <math.h>

#include "cli/format.h"
#include "cli/images_pane.h"
#include "lib/clock.h"
#include "lib/util.h"

#define NAME_WIDTH   20
#define NUMBER_WIDTH 9
#define OLD_S        2.0 /* hearthd asks once a second while somebody looks */

static const struct {
	const char *title;
	const char *key;
	const char *(*format)(double, char *); /* NULL: a text */
} columns[] = {
    {"STATE", "state", NULL},
    {"OWNER", "owner", format_count},
    {"USERS", "users", format_count},
    {"CHILDREN", "children", format_count},
    {"MEMORY", "resident_bytes", format_bytes},
    {"SAVED", "bytes_saved", format_bytes},
    {"HITS", "hits", format_count},
};

static const json_t *list_of(const json_t *images)
{
	return json_object_get(images, "images");
}

static double age_s(const json_t *images)
{
	return ns_to_s(unix_ns()) - field_number(images, "as_of_s");
}

bool images_pane_old(const json_t *images)
{
	return json_array_size(list_of(images)) && age_s(images) > OLD_S;
}

int images_pane_lines(const json_t *images, int most)
{
	int wanted = (int)json_array_size(list_of(images)) + 1 + images_pane_old(images);

	if (!images)
		return 0;
	return most ? MIN(wanted, most) : wanted;
}

static void draw_title(struct pen *pen)
{
	pen_cell(pen, STYLE_HEAD, "IMAGE", NAME_WIDTH, false);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		pen_cell(pen, STYLE_HEAD, columns[i].title, NUMBER_WIDTH, columns[i].format);
	pen_line(pen);
}

static void draw_age(struct pen *pen, const json_t *images)
{
	const char *why = json_string_value(json_object_get(images, "why_not"));
	char text[FORMAT_TEXT];

	pen_print(pen, STYLE_BAD, "images as of %s ago: %s\n", format_duration(age_s(images), text),
		  why ? why : "no answer from the image manager since");
}

static void draw_image(struct pen *pen, const json_t *image)
{
	char text[FORMAT_TEXT];

	pen_cell(pen, STYLE_BOLD, field_text(image, "name"), NAME_WIDTH, false);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		pen_cell(
		    pen, columns[i].format ? STYLE_PLAIN : pen_tier(field_text(image, "state")),
		    columns[i].format ? columns[i].format(field_number(image, columns[i].key), text)
				      : field_text(image, columns[i].key),
		    NUMBER_WIDTH, columns[i].format);
	pen_line(pen);
}

void images_pane_draw(struct pen *pen, const json_t *images, int lines)
{
	const json_t *list = list_of(images), *why = json_object_get(images, "why_not");
	int n = (int)json_array_size(list), shown = lines - 1;

	if (lines < 1)
		return;
	if (!n) {
		pen_print(pen, STYLE_DIM, "images: %s\n",
			  json_is_string(why) ? json_string_value(why) : "none");
		return;
	}
	if (images_pane_old(images) && shown > 0) {
		draw_age(pen, images);
		shown--;
	}
	draw_title(pen);
	if (n > shown)
		shown--; /* for the line that says so */
	for (int i = 0; i < MIN(n, shown); i++)
		draw_image(pen, json_array_get(list, (size_t)i));
	if (n > shown && lines > 1)
		pen_print(pen, STYLE_DIM, "and %d more (hearth image ls)\n", n - MAX(shown, 0));
}
