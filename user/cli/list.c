/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdlib.h>

#include "cli/list.h"

int list_numbers(struct cli *cli, const char *option, double max, double *out, size_t cap,
		 size_t *n)
{
	const char *p = cli->arg;
	size_t count = 0;
	char *end;

	do {
		double v = strtod(p, &end);

		if (end == p || (*end && *end != ',') || !(v >= 0 && v <= max))
			return cli_usage(cli, "%s \"%s\"; accepted: a number from 0 to %g%s",
					 option, cli->arg, max,
					 cap > 1 ? ", or several with commas between" : "");
		if (count == cap)
			return cli_usage(cli, "%s \"%s\"; accepted: at most %zu number%s", option,
					 cli->arg, cap, cap > 1 ? "s" : "");
		out[count++] = v;
		p = end + 1;
	} while (*end);
	*n = count;
	return CLI_OK;
}
