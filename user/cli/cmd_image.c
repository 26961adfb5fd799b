/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth image ls, show, build, evict: the images that hearth-images keeps. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/images.h"
#include "cli/pen.h"

#define NAME_WIDTH   20
#define NUMBER_WIDTH 9

const struct cli_option cmd_image_options[] = {
    {'m', "manager", "PATH", "the image manager's socket (default " IMAGES_SOCKET ")"},
    {0},
};

static const char *const titles[] = {"STATE", "OWNER", "RUNNING", "USES",  "FORKS",   "COLD",
				     "BUILD", "FORK",  "MEMORY",  "PAGED", "VALUE/GB"};

static void print_head(struct pen *pen)
{
	pen_cell(pen, STYLE_HEAD, "IMAGE", NAME_WIDTH, false);
	for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++)
		pen_cell(pen, STYLE_HEAD, titles[i], NUMBER_WIDTH, i > 0);
	pen_line(pen);
}

static void print_number(struct pen *pen, const json_t *image, const char *key,
			 const char *(*format)(double, char *))
{
	char text[FORMAT_TEXT];
	double value = field_number(image, key);

	/* 0: not measured yet */
	if (format != format_count && value == 0)
		value = NAN;
	pen_cell(pen, STYLE_PLAIN, format(value, text), NUMBER_WIDTH, true);
}

static void print_row(struct pen *pen, const json_t *image)
{
	static const struct {
		const char *key;
		const char *(*format)(double, char *);
	} numbers[] = {
	    {"owner", format_count},      {"running", format_count},
	    {"uses", format_count},       {"forks", format_count},
	    {"cold", format_count},       {"build_s", format_duration},
	    {"fork_s", format_duration},  {"resident_bytes", format_bytes},
	    {"swap_bytes", format_bytes},
	};
	char value[FORMAT_TEXT];

	pen_cell(pen, STYLE_BOLD, field_text(image, "name"), NAME_WIDTH, false);
	pen_cell(pen, STYLE_PLAIN, field_text(image, "state"), NUMBER_WIDTH, false);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		print_number(pen, image, numbers[i].key, numbers[i].format);
	snprintf(value, sizeof(value), "%.2g", field_number(image, "value"));
	pen_cell(pen, STYLE_PLAIN, value, NUMBER_WIDTH, true);
	pen_line(pen);
	if (*field_text(image, "error"))
		pen_print(pen, STYLE_BAD, "  %s\n", field_text(image, "error"));
}

static void print_list(struct cli *cli, const json_t *answer)
{
	struct file_pen pen = pen_open(cli);
	const json_t *list = json_object_get(answer, "images");
	size_t i;
	json_t *image;

	print_head(&pen.pen);
	json_array_foreach (list, i, image) {
		print_row(&pen.pen, image);
	}
	if (!json_array_size(list))
		pen_print(&pen.pen, STYLE_DIM,
			  "no images: declare one in /etc/hearth/images.conf\n");
}

static void print_image(struct cli *cli, const json_t *image)
{
	struct file_pen pen = pen_open(cli);
	const json_t *modules = json_object_get(image, "modules");
	size_t i;
	json_t *module;

	print_head(&pen.pen);
	print_row(&pen.pen, image);
	pen_print(&pen.pen, STYLE_PLAIN, "policy   %s\n", field_text(image, "policy"));
	pen_print(&pen.pen, STYLE_PLAIN, "cgroup   %s\n", field_text(image, "cgroup"));
	pen_print(&pen.pen, STYLE_PLAIN, "runtime  %s\n", field_text(image, "interpreter"));
	json_array_foreach (modules, i, module) {
		pen_print(&pen.pen, STYLE_PLAIN, "%s%s\n", i ? "         " : "modules  ",
			  json_string_value(module));
	}
}

static int check_words(struct cli *cli)
{
	static const char *const words[] = {"ls", "show", "build", "evict"};
	size_t i = 0;

	while (i < sizeof(words) / sizeof(*words) && strcmp(words[i], cli->argv[0]))
		i++;
	if (i == sizeof(words) / sizeof(*words))
		return cli_usage(cli, "unknown word '%s'; accepted: ls, show, build, evict",
				 cli->argv[0]);
	if (i == 0 && cli->argc > 1)
		return cli_usage(cli, "unexpected argument '%s'", cli->argv[1]);
	if (i > 0 && cli->argc < 2)
		return cli_usage(cli, "which image?");
	return CLI_OK;
}

int cmd_image(struct cli *cli)
{
	const char *socket = images_socket();
	json_t *answer;
	int c, conn, status;

	while ((c = cli_option(cli)) >= 0)
		socket = cli->arg;
	if (c != CLI_DONE || check_words(cli))
		return CLI_USAGE;
	status = images_ask(cli, socket,
			    json_pack("{s:s s:s*}", "do", cli->argv[0], "image",
				      cli->argc > 1 ? cli->argv[1] : NULL),
			    NULL, 0, &conn);
	if (status)
		return status;
	status = images_answer(cli, conn, &answer, NULL);
	close(conn);
	if (status)
		return status;
	if (cli->json)
		agent_print_json(cli, answer);
	else if (!strcmp(cli->argv[0], "ls"))
		print_list(cli, answer);
	else
		print_image(cli, answer);
	json_decref(answer);
	return CLI_OK;
}
