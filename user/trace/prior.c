/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "trace/prior.h"

#define HEAD    "minute,probability"
#define SURPLUS 0.01 /* a sum beyond 1 that rounded numbers can make */

void prior_built_in(struct prior *out)
{
	const struct hearth_prior_cell *cells = hearth_policy_prior(&out->n);

	memcpy(out->cells, cells, out->n * sizeof(*cells));
}

int prior_write(const struct prior *prior, size_t apps, FILE *f)
{
	fprintf(f,
		"# Probability that the next arrival comes within these clock minutes after the\n"
		"# last one: from each row's minute up to the next row's, the last up to %d.\n"
		"# What is missing to 1: longer. Apps: %zu.\n%s\n",
		HEARTH_PRIOR_MINUTES, apps, HEAD);
	for (size_t i = 0; i < prior->n; i++)
		fprintf(f, "%u,%.2e\n", prior->cells[i].minute, prior->cells[i].p);
	return ferror(f) ? -EIO : 0;
}

struct reading {
	const char *path;
	unsigned int line;
	bool head;
	double sum;
	char *err;
	size_t err_size;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct reading *r, const char *what,
						      ...)
{
	int n = snprintf(r->err, r->err_size, "%s:%u: ", r->path, r->line);
	va_list args;

	va_start(args, what);
	if (n >= 0 && (size_t)n < r->err_size)
		vsnprintf(r->err + n, r->err_size - n, what, args);
	va_end(args);
	return -EINVAL;
}

static int read_row(struct reading *r, const char *line, struct prior *out)
{
	struct hearth_prior_cell *cell = &out->cells[out->n];
	char *end;
	double minute, p;

	minute = strtod(line, &end);
	if (end == line || *end != ',')
		return fail(r, "\"%s\" is not accepted; accepted: %s", line, HEAD);
	p = strtod(end + 1, &end);
	if (*end || !(p >= 0 && p <= 1))
		return fail(r, "\"%s\" has no probability; accepted: 0 to 1", line);
	if (!(minute >= 0 && minute < HEARTH_PRIOR_MINUTES) || minute != floor(minute) ||
	    (out->n ? minute <= cell[-1].minute : minute != 0))
		return fail(r,
			    "minute %g is out of order; accepted: whole minutes that rise from 0 "
			    "to below %d",
			    minute, HEARTH_PRIOR_MINUTES);
	r->sum += p;
	if (r->sum > 1 + SURPLUS)
		return fail(r, "probabilities sum to more than 1");
	*cell = (struct hearth_prior_cell){minute, p};
	out->n++;
	return 0;
}

static int read_line(struct reading *r, char *line, struct prior *out)
{
	line[strcspn(line, "\r\n")] = '\0';
	r->line++;
	if (!*line || *line == '#')
		return 0;
	if (r->head)
		return read_row(r, line, out);
	if (strcmp(line, HEAD))
		return fail(r, "not a table of \"hearth fit --prior\"; accepted: %s", HEAD);
	r->head = true;
	return 0;
}

int prior_read(const char *path, struct prior *out, char *err, size_t err_size)
{
	struct reading r = {.path = path, .err = err, .err_size = err_size};
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	struct prior prior = {0};
	size_t room = 0;
	int rc = 0;

	if (!f) {
		rc = -errno;
		snprintf(err, err_size, "%s: %s", path, strerror(-rc));
		return rc;
	}
	while (!rc && (errno = 0, getline(&line, &room, f)) >= 0)
		rc = read_line(&r, line, &prior);
	if (!rc && ferror(f)) {
		rc = errno ? -errno : -EIO;
		snprintf(err, err_size, "%s: %s", path, strerror(-rc));
	}
	if (!rc && !prior.n)
		rc = fail(&r, "no rows; accepted: %s", HEAD);
	if (!rc)
		*out = prior;
	return rc;
}
