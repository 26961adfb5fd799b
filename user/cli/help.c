/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Help texts, the table as JSON, and the bash completion, all from one table. */
#include <jansson.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/help.h"

static void print_options(FILE *out, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%s--%s%s%s",
			 o->code < 256 ? (char[]){'-', o->code, ',', ' ', 0} : "    ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(out, "  %-26s %s\n", left, o->help);
	}
}

void help_all(FILE *out)
{
	fputs("hearth: keeps the functions of this host warm at the lowest cost\n\n"
	      "usage: hearth [OPTIONS] [COMMAND [ARGUMENTS]]\n"
	      "Without a command: the live view (top) on a terminal, else the list (ls).\n\n"
	      "Commands:\n",
	      out);
	for (const struct cli_command *c = commands; c->name; c++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s", c->name, *c->args ? " " : "", c->args);
		fprintf(out, "  %-26s %s\n", left, c->help);
	}
	fputs("\nOptions of every command:\n", out);
	print_options(out, cli_globals);
	fputs("\nExit status: 0 done, 1 failed, 2 wrong command line.\n"
	      "Manual: hearth(1), hearthd(8), hearth.conf(5), hearth-policy(7).\n",
	      out);
}

void help_command(FILE *out, const struct cli_command *c)
{
	fprintf(out, "usage: hearth %s%s%s%s\n%s.\n", c->name, c->options ? " [OPTIONS]" : "",
		*c->args ? " " : "", c->args, c->help);
	if (c->options) {
		fputs("\nOptions:\n", out);
		print_options(out, c->options);
	}
	fputs("\nOptions of every command:\n", out);
	print_options(out, cli_globals);
}

static json_t *options_json(const struct cli_option *options)
{
	json_t *list = json_array();

	for (const struct cli_option *o = options; o && o->name; o++) {
		char letter[2] = {o->code < 256 ? o->code : 0, 0};

		json_array_append_new(list, json_pack("{s:s, s:s*, s:s?, s:s}", "name", o->name,
						      "letter", *letter ? letter : NULL, "arg",
						      o->arg, "help", o->help));
	}
	return list;
}

void help_json(FILE *out)
{
	json_t *list = json_array(), *all;

	for (const struct cli_command *c = commands; c->name; c++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "name", c->name,
						      "args", c->args, "help", c->help, "options",
						      options_json(c->options)));
	all = json_pack("{s:s, s:o, s:o}", "version", HEARTH_VERSION, "commands", list, "options",
			options_json(cli_globals));
	json_dumpf(all, out, JSON_INDENT(2));
	fputc('\n', out);
	json_decref(all);
}

static void completion_options(FILE *out, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++)
		fprintf(out, " --%s", o->name);
}

/* "COMMAND OPTION" for every option that takes a value, as alternatives of a shell `case`. */
static void completion_valued(FILE *out)
{
	const char *before = "";

	for (const struct cli_option *o = cli_globals; o->name; o++)
		if (o->arg) {
			fprintf(out, "%s*' --%s'", before, o->name);
			before = "|";
		}
	for (const struct cli_command *c = commands; c->name; c++)
		for (const struct cli_option *o = c->options; o && o->name; o++) {
			if (!o->arg)
				continue;
			fprintf(out, "|'%s --%s'", c->name, o->name);
			if (o->code < 256)
				fprintf(out, "|'%s -%c'", c->name, o->code);
		}
}

static void completion_command(FILE *out, const struct cli_command *c)
{
	fprintf(out, "\t%s)\n", c->name);
	if (c->options) {
		fputs("\t\topts=\"$opts", out);
		completion_options(out, c->options);
		fputs("\"\n", out);
	}
	switch (c->complete) {
	case COMPLETE_FUNCTION:
		fputs("\t\t(( at == 1 )) && words=$(hearth ls --names 2>/dev/null)\n", out);
		break;
	case COMPLETE_FILE:
		fputs("\t\tfiles=1\n", out);
		break;
	case COMPLETE_WORDS:
		fprintf(out, "\t\t(( at == 1 )) && words=\"%s\"\n\t\t(( at > 1 )) && files=1\n",
			c->words);
		break;
	case COMPLETE_NONE:
		break;
	}
	fputs("\t\t;;\n", out);
}

void help_completion(FILE *out)
{
	fputs("# bash completion for hearth; written by `hearth --completion bash`.\n"
	      "_hearth()\n{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	      "\tlocal command='' at=0 skip=0 files=0 words='' opts='' i\n\n"
	      "\tfor (( i = 1; i < COMP_CWORD; i++ )); do\n"
	      "\t\tif (( skip )); then skip=0; continue; fi\n"
	      "\t\tcase \"$command ${COMP_WORDS[i]}\" in\n"
	      "\t\t",
	      out);
	completion_valued(out);
	fputs(") skip=1 ;;\n"
	      "\t\t*' '-*) ;;\n"
	      "\t\t*) [[ $command ]] || command=${COMP_WORDS[i]}; at=$(( at + 1 )) ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tif (( skip )); then\n"
	      "\t\tcase $prev in\n"
	      "\t\t--completion) mapfile -t COMPREPLY < <(compgen -W bash -- \"$cur\") ;;\n"
	      "\t\t*) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	      "\t\tesac\n"
	      "\t\treturn\n"
	      "\tfi\n\n"
	      "\topts=\"",
	      out);
	completion_options(out, cli_globals);
	fputs("\"\n\tcase $command in\n\t'')\n\t\twords=\"", out);
	for (const struct cli_command *c = commands; c->name; c++)
		fprintf(out, "%s%s", c == commands ? "" : " ", c->name);
	fputs("\"\n\t\t;;\n", out);
	for (const struct cli_command *c = commands; c->name; c++)
		completion_command(out, c);
	fputs("\tesac\n"
	      "\t[[ $cur == -* ]] && words=$opts && files=0\n"
	      "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	      "\t(( files )) && mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "
	      "\"$cur\")\n"
	      "}\n"
	      "complete -o filenames -F _hearth hearth\n",
	      out);
}
