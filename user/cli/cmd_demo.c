/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth demo: hands over to demo/run of the source tree that this program was
 * built in. The demo builds and needs that tree, so it is not installed.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"

#define SCRIPT "../demo/run" /* from the folder of the program, build/ */

static bool find_script(char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return false;
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	return (size_t)snprintf(path, size, "%s/" SCRIPT, self) < size && !access(path, X_OK);
}

int cmd_demo(struct cli *cli)
{
	char path[PATH_MAX + 64], **argv;

	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	if (cli->json)
		return cli_usage(cli, "the demo has no JSON form");
	if (!find_script(path, sizeof(path))) {
		cli_error(cli, "the demo is not here: it runs from the source tree");
		cli_hint(cli, "there: sudo make demo, or sudo build/hearth demo");
		return CLI_FAILED;
	}
	argv = calloc((size_t)cli->argc + 2, sizeof(*argv));
	if (!argv)
		return cli_error(cli, "%s", strerror(ENOMEM));
	argv[0] = path;
	memcpy(argv + 1, cli->argv, (size_t)cli->argc * sizeof(*argv));
	fflush(cli->out);
	execv(path, argv);
	free(argv);
	return cli_error(cli, "%s: %s", path, strerror(errno));
}
