/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The plot of a report. gnuplot reads script and data from a nameless file;
 * nothing is left behind but the SVG.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "sim/report.h"

#define SERIES_MAX 12 /* more cannot be told apart */

/* A setting's label: what tells it from the others of its series is on the x axis. */
static bool same_series(const struct sim_result *a, const struct sim_result *b)
{
	const char *ra = a->setting.ranker, *rb = b->setting.ranker;

	return !strcmp(a->setting.policy, b->setting.policy) && !strcmp(ra ? ra : "", rb ? rb : "");
}

/* Text for gnuplot; in single quotes nothing else is special. */
static void quoted(const char *text, FILE *g)
{
	for (; *text; text++)
		fputs(*text == '\'' ? "''" : (char[2]){*text}, g);
}

static void label(const struct sim_result *s, FILE *g)
{
	fputc('\'', g);
	quoted(s->setting.policy, g);
	if (s->setting.ranker) {
		fputs(" + ", g);
		quoted(s->setting.ranker, g);
	}
	fputc('\'', g);
}

/* First results of each series, up to SERIES_MAX. */
static size_t series(const struct report *r, size_t first[SERIES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < r->n && n < SERIES_MAX; i++) {
		size_t k = 0;

		while (k < n && !same_series(&r->results[first[k]], &r->results[i]))
			k++;
		if (k == n)
			first[n++] = i;
	}
	return n;
}

/* Memory and cold starts of every setting; a series (its cold costs or memory sizes) is a line. */
static void cost_data(const struct report *r, const size_t first[], size_t n, FILE *g)
{
	for (size_t k = 0; k < n; k++) {
		fprintf(g, "$cost%zu << EOD\n", k);
		for (size_t i = 0; i < r->n; i++) {
			const struct sim_result *s = &r->results[i];

			if (same_series(s, &r->results[first[k]]))
				fprintf(g, "%g %g\n", s->waste_s / 3600 / MAX(s->apps, 1u),
					(double)(s->total.cold + s->total.dropped) /
					    MAX(s->apps, 1u));
		}
		fputs("EOD\n", g);
	}
}

/* Distribution over apps of the share of cold starts, of the first setting of each series. */
static int spread_data(const struct report *r, const size_t first[], size_t n, FILE *g)
{
	size_t units;
	_cleanup_free_ double *pct = NULL;

	trace_units(r->trace, &units);
	pct = calloc(units + 1, sizeof(*pct));
	if (!pct)
		return -ENOMEM;
	for (size_t k = 0; k < n; k++) {
		size_t apps = 0;

		for (size_t u = 0; u < units; u++) {
			const struct sim_tally *y = r->tally(r->tally_arg, first[k], u);

			if (y && y->arrivals)
				pct[apps++] = 100.0 * y->cold / y->arrivals;
		}
		fprintf(g, "$spread%zu << EOD\n", k);
		for (int q = 0; q <= 200; q++)
			fprintf(g, "%g %g\n", summary_percentile(pct, apps, q / 2.0), q / 200.0);
		fputs("EOD\n", g);
	}
	return 0;
}

/* One panel: a line per series from its data block. */
static void curves(const struct report *r, const size_t first[], size_t n, const char *block,
		   const char *style, FILE *g)
{
	for (size_t k = 0; k < n; k++) {
		fprintf(g, "%s $%s%zu using 1:2 with %s lt %zu lw 2 title ", k ? "," : "plot",
			block, k, style, k + 1);
		label(&r->results[first[k]], g);
	}
	fputc('\n', g);
}

static void script(const struct report *r, const size_t first[], size_t n, const char *path,
		   FILE *g)
{
	const char *unit = r->by_function ? "function" : "app";

	fputs("set terminal svg size 1100,520 dynamic font 'sans-serif,13' background 'white' "
	      "noenhanced\nset output '",
	      g);
	quoted(path, g);
	fputs("'\nset multiplot layout 1,2\nset grid lc rgb '#dddddd'\n"
	      "set linetype 5 lc rgb '#a65628'\n" /* gnuplot's is too light to read */
	      "set key noautotitle top right font ',11'\nset border 3\nset tics nomirror\n",
	      g);
	fprintf(g,
		"set xlabel 'loaded and idle, hours per %s'\nset ylabel '%s per %s'\n"
		"set title 'What it costs'\nset yrange [0:*]\nset xrange [0:*]\n",
		unit, r->limited ? "cold starts and drops" : "cold starts", unit);
	curves(r, first, n, "cost", "linespoints pt 7 ps 0.8", g);
	fprintf(g,
		"set xlabel '%% of invocations that start cold'\nset ylabel 'share of %ss'\n"
		"set title 'Cold starts over %ss'\nset xrange [0:100]\nset yrange [0:1]\n"
		"set key bottom right\n",
		unit, unit);
	curves(r, first, n, "spread", "lines", g);
	fputs("unset multiplot\n", g);
}

/* gnuplot with f as its input, from the start. */
static int run_gnuplot(FILE *f)
{
	char *argv[] = {"gnuplot", "-", NULL};
	posix_spawn_file_actions_t actions;
	int rc, status;
	pid_t pid;

	rc = posix_spawn_file_actions_init(&actions);
	if (rc)
		return -rc;
	if (fflush(f) || lseek(fileno(f), 0, SEEK_SET) < 0)
		rc = errno;
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&actions, fileno(f), STDIN_FILENO);
	if (!rc)
		rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (rc)
		return -rc;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status ? -EIO : 0;
}

int report_plot(const struct report *r, const char *path)
{
	_cleanup_fclose_ FILE *f = tmpfile();
	size_t first[SERIES_MAX];
	size_t n = series(r, first);
	int rc;

	if (!f)
		return -errno;
	cost_data(r, first, n, f);
	rc = spread_data(r, first, n, f);
	if (rc)
		return rc;
	script(r, first, n, path, f);
	return run_gnuplot(f);
}
