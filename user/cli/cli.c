/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Dispatch: global options, then the command, then its own options mixed with
 * the global ones in any order. Every wrong command line ends with status 2
 * and a line that says where the right form is described.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "lib/text.h"

#define MAX_OPTIONS     48
#define COLUMNS_DEFAULT 100 /* where there is no terminal to ask */

/* Codes of the global options without a letter: above any command's. */
enum { OPT_SOCKET = 1000, OPT_JSON, OPT_NO_COLOR, OPT_VERSION, OPT_COMPLETION };

const struct cli_option cli_globals[] = {
    {OPT_SOCKET, "socket", "PATH", "the agent's socket (default " CLI_SOCKET ")"},
    {OPT_JSON, "json", NULL, "write JSON instead of text"},
    {OPT_NO_COLOR, "no-color", NULL, "no colours, as with NO_COLOR in the environment"},
    {OPT_COMPLETION, "completion", "SHELL", "print the completion script (bash) and exit"},
    {'h', "help", NULL, "show help and exit; with --json, the table of commands"},
    {OPT_VERSION, "version", NULL, "show the version and exit"},
    {0},
};

static void complain(struct cli *cli, const char *format, va_list args)
{
	fputs("hearth", cli->err);
	if (cli->command)
		fprintf(cli->err, " %s", cli->command->name);
	fputs(": ", cli->err);
	vfprintf(cli->err, format, args);
	fputc('\n', cli->err);
}

int cli_error(struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain(cli, format, args);
	va_end(args);
	return CLI_FAILED;
}

void cli_hint(struct cli *cli, const char *format, ...)
{
	va_list args;

	fputs("  ", cli->err);
	va_start(args, format);
	vfprintf(cli->err, format, args);
	va_end(args);
	fputc('\n', cli->err);
}

int cli_usage(struct cli *cli, const char *format, ...)
{
	const struct cli_command *c = cli->command;
	va_list args;

	va_start(args, format);
	complain(cli, format, args);
	va_end(args);
	if (c)
		cli_hint(cli, "usage: hearth %s%s%s; see `hearth %s --help`", c->name,
			 *c->args ? " " : "", c->args, c->name);
	else
		cli_hint(cli, "see `hearth --help`");
	return CLI_USAGE;
}

static size_t add_options(const struct cli_option *from, struct option *longs, size_t n,
			  char **shorts)
{
	for (; from && from->name && n < MAX_OPTIONS; from++) {
		longs[n++] = (struct option){
		    from->name, from->arg ? required_argument : no_argument, NULL, from->code};
		if (from->code >= 256)
			continue;
		*(*shorts)++ = from->code;
		if (from->arg)
			*(*shorts)++ = ':';
	}
	return n;
}

/* The next option as getopt_long sees it; `lead` is "+:" to stop at the first argument. */
static int next_option(struct cli *cli, const char *lead)
{
	struct option longs[MAX_OPTIONS + 1] = {0};
	char shorts[2 * MAX_OPTIONS + 4], *s = stpcpy(shorts, lead);
	size_t n = add_options(cli_globals, longs, 0, &s);

	if (cli->command)
		add_options(cli->command->options, longs, n, &s);
	*s = '\0';
	return getopt_long(cli->argc, cli->argv, shorts, longs, NULL);
}

static bool take_global(struct cli *cli, int code)
{
	switch (code) {
	case OPT_SOCKET:
		cli->socket = optarg;
		return true;
	case OPT_JSON:
		cli->json = true;
		return true;
	case OPT_NO_COLOR:
		cli->color = false;
		return true;
	case OPT_COMPLETION:
		cli->arg = optarg;
		/* fall through */
	case OPT_VERSION:
	case 'h':
		cli->finish = code;
		return true;
	}
	return false;
}

/* --help and its like act once the line is read, so that --json may follow them. */
static int finish(struct cli *cli)
{
	switch (cli->finish) {
	case 'h':
		if (cli->json)
			help_json(cli->out);
		else if (cli->command)
			help_command(cli->out, cli->command);
		else
			help_all(cli->out);
		return CLI_OK;
	case OPT_VERSION:
		fprintf(cli->out, "hearth %s\n", HEARTH_VERSION);
		return CLI_OK;
	}
	if (strcmp(cli->arg, "bash"))
		return cli_usage(cli, "no completion for shell '%s'; accepted: bash", cli->arg);
	help_completion(cli->out);
	return CLI_OK;
}

static int bad_option(struct cli *cli, int c)
{
	const char *word = cli->argv[optind - 1];

	if (c == ':')
		return cli_usage(cli, "option '%s' needs a value", word);
	if (optopt && optopt < 256)
		return cli_usage(cli, "unknown option '-%c'", optopt);
	return cli_usage(cli, "unknown option '%s'", word);
}

static int check_arguments(struct cli *cli)
{
	const struct cli_command *c = cli->command;

	if (cli->argc < c->min_args)
		return cli_usage(cli, "too few arguments");
	if (c->max_args >= 0 && cli->argc > c->max_args)
		return cli_usage(cli, "unexpected argument '%s'", cli->argv[c->max_args]);
	return CLI_OK;
}

int cli_option(struct cli *cli)
{
	int c;

	while ((c = next_option(cli, ":")) >= 0 && c != '?' && c != ':') {
		if (take_global(cli, c))
			continue;
		cli->arg = optarg;
		return c;
	}
	if (c < 0) {
		cli->argc -= optind;
		cli->argv += optind;
		if (!cli->finish && check_arguments(cli) == CLI_OK)
			return CLI_DONE;
		cli->status = cli->finish ? finish(cli) : CLI_USAGE;
	} else {
		cli->status = bad_option(cli, c);
	}
	return CLI_STOP;
}

int cli_number(struct cli *cli, int min, int max, int *out)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(cli->arg, &end, 10);
	if (errno || end == cli->arg || *end || value < min || value > max)
		return cli_usage(cli, "'%s' is not a whole number from %d to %d", cli->arg, min,
				 max);
	*out = (int)value;
	return CLI_OK;
}

static int unknown_command(struct cli *cli, const char *name)
{
	cli_error(cli, "no command '%s'", name);
	for (const struct cli_command *c = commands; c->name; c++)
		if (text_distance(name, c->name) <= text_tolerance(name) ||
		    (*name && !strncmp(name, c->name, strlen(name))))
			cli_hint(cli, "did you mean `hearth %s`?", c->name);
	cli_hint(cli, "see `hearth --help`");
	return CLI_USAGE;
}

static void look_at_output(struct cli *cli)
{
	const char *columns = getenv("COLUMNS"), *term = getenv("TERM");
	const char *plain = getenv("NO_COLOR");
	struct winsize size;
	int fd = fileno(cli->out);

	cli->columns = columns && atoi(columns) > 0 ? atoi(columns) : COLUMNS_DEFAULT;
	cli->terminal = fd >= 0 && isatty(fd);
	if (cli->terminal && !ioctl(fd, TIOCGWINSZ, &size) && size.ws_col)
		cli->columns = size.ws_col;
	cli->color = cli->terminal && !(plain && *plain) && !(term && !strcmp(term, "dumb"));
}

static int run_command(struct cli *cli)
{
	int status;

	optind = 0; /* glibc: start over, with the command in place of the program */
	status = cli->command->run(cli);
	return cli->status >= 0 ? cli->status : status;
}

int cli_run(int argc, char **argv, FILE *out, FILE *err)
{
	static char *view[] = {"top", NULL};
	struct cli cli = {.socket = getenv("HEARTH_SOCKET"),
			  .out = out,
			  .err = err,
			  .argc = argc,
			  .argv = argv,
			  .status = -1};
	int c;

	if (!cli.socket || !*cli.socket)
		cli.socket = CLI_SOCKET;
	look_at_output(&cli);
	optind = 0;
	opterr = 0;
	while ((c = next_option(&cli, "+:")) >= 0)
		if (!take_global(&cli, c))
			return bad_option(&cli, c);
	if (cli.finish && optind == argc)
		return finish(&cli);
	cli.argc -= optind;
	cli.argv += optind;
	if (!cli.argc) {
		cli.argc = 1;
		cli.argv = view;
	}
	cli.command = commands_find(cli.argv[0]);
	if (!cli.command)
		return unknown_command(&cli, cli.argv[0]);
	return run_command(&cli);
}
