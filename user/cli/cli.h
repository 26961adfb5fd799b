/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The frame of every `hearth` subcommand. One const table (commands.c) holds
 * each command's name, arguments, help, options and function; dispatch,
 * --help, the shell completion and the documentation test all work from it.
 *
 * To add a command: write cmd_x.c with `int cmd_x(struct cli *cli)` and, if it
 * has options, `const struct cli_option cmd_x_options[]`; declare both in
 * commands.h; add one row to commands.c; describe it in docs/man/hearth.1.scd.
 *
 * A command writes results to cli->out, messages through cli_error and
 * cli_hint, and returns an exit status. It never calls exit().
 */
#ifndef HEARTH_CLI_H
#define HEARTH_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CLI_SOCKET "/run/hearth/hearth.sock"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* What cli_option returns besides the codes of the command's own options. */
#define CLI_DONE (-1) /* options are over: cli->argc, cli->argv are the arguments */
#define CLI_STOP (-2) /* wrong usage, reported; or --help, done: return CLI_USAGE */

struct cli_option {
	int code;         /* the short letter, or a number >= 256 if there is none */
	const char *name; /* long form, without dashes */
	const char *arg;  /* what it takes, e.g. "SECONDS"; NULL: nothing */
	const char *help; /* one line */
};

/* What a command's first argument is, for the completion. */
enum cli_complete { COMPLETE_NONE, COMPLETE_FUNCTION, COMPLETE_FILE, COMPLETE_WORDS };

struct cli;

struct cli_command {
	const char *name;
	const char *args; /* as in the usage line, "" if there are none */
	const char *help; /* one line, no full stop */
	int (*run)(struct cli *cli);
	const struct cli_option *options; /* ends with .name = NULL; may be NULL */
	int min_args;
	int max_args; /* -1: any number */
	enum cli_complete complete;
	const char *words; /* COMPLETE_WORDS: the choices, separated by spaces */
};

struct cli {
	const struct cli_command *command;
	const char *socket;
	FILE *out;
	FILE *err;
	bool json;     /* one JSON document (or one per line for streams) to out */
	bool terminal; /* out is a terminal */
	bool color;
	int columns;     /* width of out */
	const char *arg; /* argument of the option just returned */
	int argc;        /* arguments left once cli_option returned CLI_DONE */
	char **argv;
	int finish; /* for cli.c: an option such as --help does the whole work */
	int status; /* for cli.c: the exit status of that */
};

/* Run a whole command line; out and err stay open. Returns an enum cli_exit. */
int cli_run(int argc, char **argv, FILE *out, FILE *err);

/*
 * The next option of the running command: its code (argument in cli->arg),
 * CLI_DONE once the number of arguments is right, or CLI_STOP.
 */
int cli_option(struct cli *cli);

/* cli->arg as a whole number from min to max: CLI_OK, or CLI_USAGE after the message. */
int cli_number(struct cli *cli, int min, int max, int *out);

/* "hearth NAME: message" on cli->err; returns CLI_FAILED, so `return cli_error(...)` works. */
int cli_error(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong command line: adds where to find help, returns CLI_USAGE. */
int cli_usage(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* An indented line below an error: what to do next. */
void cli_hint(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The global options: same form as a command's. */
extern const struct cli_option cli_globals[];

#endif
