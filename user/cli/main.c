/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth: the command-line client. Everything is in cli.c and the commands, so
 * that tests can run whole command lines in-process.
 */
#include <locale.h>
#include <stdlib.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
	int status;

	/* Numbers keep their point: only the character set is the user's. */
	setlocale(LC_CTYPE, "");
	status = cli_run(argc, argv, stdout, stderr);
	if (fflush(stdout) || ferror(stdout))
		status = status ? status : CLI_FAILED;
	return status;
}
