/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth image: the images that hearth-images keeps, shown, declared and forgotten. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/images.h"
#include "cli/pen.h"
#include "lib/pip_lock.h"
#include "lib/util.h"

#define NAME_WIDTH   20
#define NUMBER_WIDTH 9

const struct cli_option cmd_image_options[] = {
    {'m', "manager", "PATH", "the image manager's socket (default " IMAGES_SOCKET ")"},
    {'o', "owner", "USER", "declare: whose it is (default: yours; root says)"},
    {'M', "modules", "LIST", "declare: modules to load"},
    {'l', "lock", "FILE", "declare: locked dependencies, as in pip's requirements files"},
    {'p', "path", "DIRECTORY", "declare: where they are installed (PYTHONPATH)"},
    {'s', "set", "KEY=VALUE", "declare: any other key of an image, see hearth-images(8)"},
    {0},
};

static const char *const titles[] = {"STATE",  "OWNER", "RUNNING", "USES",  "FORKS",
				     "CLAIMS", "COLD",  "SPARES",  "BUILD", "FORK",
				     "MEMORY", "PAGED", "VALUE/GB"};

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
	    {"claims", format_count},     {"cold", format_count},
	    {"spares", format_count},     {"build_s", format_duration},
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
	json_array_foreach (json_object_get(answer, "retired"), i, image) {
		print_row(&pen.pen, image);
		pen_print(&pen.pen, STYLE_DIM,
			  "  retired: it ends with the last of its children, log %s\n",
			  field_text(image, "log"));
	}
	if (!json_array_size(list))
		pen_print(&pen.pen, STYLE_DIM,
			  "no images: declare one in /etc/hearth/images.conf or by hearth image "
			  "declare\n");
}

static void print_worth(struct pen *pen, const json_t *image)
{
	const json_t *functions = json_object_get(image, "functions");
	char time[FORMAT_TEXT], memory[FORMAT_TEXT];
	size_t i;
	json_t *function;

	pen_print(pen, STYLE_PLAIN, "saved    %s in %g starts, %s of memory now\n",
		  format_duration(field_number(image, "seconds_saved"), time),
		  field_number(image, "hits"),
		  format_bytes(field_number(image, "bytes_saved"), memory));
	pen_print(pen, STYLE_PLAIN, "users    %g", field_number(image, "users"));
	json_array_foreach (functions, i, function) {
		pen_print(pen, STYLE_PLAIN, "%s %s", i ? "," : ":", json_string_value(function));
	}
	pen_print(pen, STYLE_PLAIN, "\n");
}

static void print_image(struct cli *cli, const json_t *image)
{
	struct file_pen pen = pen_open(cli);
	const json_t *modules = json_object_get(image, "modules");
	char time[FORMAT_TEXT];
	size_t i;
	json_t *module;

	print_head(&pen.pen);
	print_row(&pen.pen, image);
	pen_print(&pen.pen, STYLE_PLAIN, "policy   %s\n", field_text(image, "policy"));
	pen_print(&pen.pen, STYLE_PLAIN, "cgroup   %s\n", field_text(image, "cgroup"));
	pen_print(&pen.pen, STYLE_PLAIN, "log      %s\n", field_text(image, "log"));
	pen_print(&pen.pen, STYLE_PLAIN, "runtime  %s, %s\n", field_text(image, "runtime"),
		  field_text(image, "interpreter"));
	if (field_number(image, "spares") + field_number(image, "claims") > 0)
		pen_print(&pen.pen, STYLE_PLAIN, "spares   %g ready, %g claimed, the last in %s\n",
			  field_number(image, "spares"), field_number(image, "claims"),
			  format_duration(field_number(image, "claim_s"), time));
	pen_print(&pen.pen, STYLE_PLAIN, "declared %s%s\n",
		  strcmp(field_text(image, "declared"), "api") ? "in the configuration"
							       : "through the API",
		  field_is_true(image, "retired") ? ", retired: ends with its last child" : "");
	print_worth(&pen.pen, image);
	if (field_number(image, "locked") > 0)
		pen_print(&pen.pen, STYLE_PLAIN, "locked   %g distributions\n",
			  field_number(image, "locked"));
	json_array_foreach (modules, i, module) {
		pen_print(&pen.pen, STYLE_PLAIN, "%s%s\n", i ? "         " : "modules  ",
			  json_string_value(module));
	}
}

/* ---- declare */

/* Relative to here, which means nothing to the manager. */
static int add_path(struct cli *cli, json_t *request)
{
	_cleanup_free_ char *path = *cli->arg == '/' ? strdup(cli->arg) : realpath(cli->arg, NULL);

	if (!path)
		return cli_error(cli, "%s: %s", cli->arg, strerror(errno));
	if (json_object_set_new(request, "path", json_string(path)))
		return cli_error(cli, "%s: no UTF-8", path);
	return CLI_OK;
}

/* Read here, so that errors name the file; what is sent is short. */
static int add_lock(struct cli *cli, json_t *request)
{
	_cleanup_free_ char *lock = NULL;
	char why[512];

	if (pip_lock_read(cli->arg, &lock, why, sizeof(why)))
		return cli_error(cli, "%s", why);
	if (json_object_set_new(request, "lock", json_string(lock)))
		return cli_error(cli, "%s: no UTF-8", cli->arg);
	return CLI_OK;
}

static int add_modules(struct cli *cli, json_t *request)
{
	const char *before = json_string_value(json_object_get(request, "modules"));

	if (json_object_set_new(request, "modules",
				json_sprintf("%s %s", before ? before : "", cli->arg)))
		return cli_error(cli, "%s: no UTF-8", cli->arg);
	return CLI_OK;
}

static int add_setting(struct cli *cli, json_t *request)
{
	const char *value = strchr(cli->arg, '=');
	_cleanup_free_ char *key = value ? strndup(cli->arg, (size_t)(value - cli->arg)) : NULL;

	if (!key || !*key || !strcmp(key, "do") || !strcmp(key, "image") || !strcmp(key, "fds"))
		return cli_usage(
		    cli, "--set %s; accepted: KEY=VALUE with a key of hearth-images(8)", cli->arg);
	if (!strcmp(key, "lock"))
		return cli_usage(cli, "--set %s; accepted: --lock FILE", cli->arg);
	if (json_object_set_new(request, key, json_string(value + 1)))
		return cli_error(cli, "%s: no UTF-8", cli->arg);
	return CLI_OK;
}

static int add_owner(struct cli *cli, json_t *request)
{
	if (json_object_set_new(request, "owner", json_string(cli->arg)))
		return cli_error(cli, "%s: no UTF-8", cli->arg);
	return CLI_OK;
}

static int take_option(struct cli *cli, int option, const char **socket, json_t *request)
{
	switch (option) {
	case 'm':
		*socket = cli->arg;
		return CLI_OK;
	case 'o':
		return add_owner(cli, request);
	case 'M':
		return add_modules(cli, request);
	case 'l':
		return add_lock(cli, request);
	case 'p':
		return add_path(cli, request);
	default:
		return add_setting(cli, request);
	}
}

/* One with the same owner, runtime and dependencies may have been there. */
static void say_which(struct cli *cli, const json_t *image)
{
	if (strcmp(field_text(image, "name"), cli->argv[1]))
		fprintf(cli->out, "image %s is the same: use that one\n",
			field_text(image, "name"));
}

/* ---- */

static int check_words(struct cli *cli, const json_t *request)
{
	static const char *const words[] = {"ls", "show", "build", "evict", "declare", "forget"};
	size_t i = 0;

	while (i < ARRAY_SIZE(words) && strcmp(words[i], cli->argv[0]))
		i++;
	if (i == ARRAY_SIZE(words))
		return cli_usage(
		    cli, "unknown word '%s'; accepted: ls, show, build, evict, declare, forget",
		    cli->argv[0]);
	if (i == 0 && cli->argc > 1)
		return cli_usage(cli, "unexpected argument '%s'", cli->argv[1]);
	if (i > 0 && cli->argc < 2)
		return cli_usage(cli, "which image?");
	if (json_object_size(request) && strcmp(cli->argv[0], "declare"))
		return cli_usage(cli, "--%s is for declare",
				 json_object_iter_key(json_object_iter((json_t *)request)));
	return CLI_OK;
}

/* Takes the reference to request. */
static int ask(struct cli *cli, const char *socket, json_t *request, json_t **answer)
{
	int conn, status;

	if (!strcmp(cli->argv[0], "ls")) {
		json_decref(request);
		return images_list(cli, socket, answer);
	}
	json_object_set_new(request, "do", json_string(cli->argv[0]));
	if (cli->argc > 1)
		json_object_set_new(request, "image", json_string(cli->argv[1]));
	status = images_ask(cli, socket, request, NULL, 0, &conn);
	if (status)
		return status;
	if (strcmp(cli->argv[0], "build"))
		images_hurry(conn);
	status = images_answer(cli, conn, answer, NULL);
	close(conn);
	return status;
}

static void print(struct cli *cli, const json_t *answer)
{
	if (cli->json) {
		agent_print_json(cli, answer);
		return;
	}
	if (!strcmp(cli->argv[0], "declare"))
		say_which(cli, answer);
	if (!strcmp(cli->argv[0], "ls"))
		print_list(cli, answer);
	else
		print_image(cli, answer);
}

int cmd_image(struct cli *cli)
{
	const char *socket = images_socket();
	json_t *request = json_object(), *answer;
	int c = CLI_DONE, status = CLI_OK;

	while (!status && (c = cli_option(cli)) >= 0)
		status = take_option(cli, c, &socket, request);
	if (!status && (c != CLI_DONE || check_words(cli, request)))
		status = CLI_USAGE;
	if (status) {
		json_decref(request);
		return status;
	}
	status = ask(cli, socket, request, &answer);
	if (status)
		return status;
	print(cli, answer);
	json_decref(answer);
	return CLI_OK;
}
