/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The plots of a report, each a panel that is drawn if the results have what
 * its x axis needs. gnuplot reads script and data from a nameless file;
 * nothing is left behind but the picture.
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

#define LINES_SHOWN   24 /* more cannot be told apart */
#define KEY_LINES     12 /* more hide the curves */
#define COLORS        8  /* then dashes */
#define PANEL_WIDTH   560
#define PANEL_HEIGHT  500
#define SPREAD_POINTS 200

typedef bool (*same_fn)(const struct sim_result *a, const struct sim_result *b);

struct panel {
	const char *title, *x_label, *y_label; /* %s: app or function */
	const char *y_limited;                 /* y_label with memory limits, if it differs */
	const char *settings;                  /* gnuplot's, for this panel alone */
	same_fn line;  /* results of one line; NULL: as for the policy and ranker */
	same_fn point; /* of them, those with a point on it; NULL: all */
	bool (*wanted)(const struct report *r);
	void (*at)(const struct sim_result *s, double *x, double *y); /* NULL: the spread */
};

/* ---- which results belong together */

static const char *ranker(const struct sim_result *s)
{
	return s->setting.ranker ? s->setting.ranker : "";
}

static bool same_policy(const struct sim_result *a, const struct sim_result *b)
{
	return !strcmp(a->setting.policy, b->setting.policy);
}

static bool same_setting(const struct sim_result *a, const struct sim_result *b)
{
	return same_policy(a, b) && !strcmp(ranker(a), ranker(b));
}

/* The part of a spec without its first parameter: the 10 of fixed:10,x=1. */
static void family(const char *spec, size_t *name, const char **rest)
{
	const char *p;

	*name = strcspn(spec, ":");
	*rest = spec + *name;
	p = *rest + 1;
	if (!**rest || memchr(p, '=', strcspn(p, ",")))
		return;
	*rest = p + strcspn(p, ",");
}

/* Policies that differ in their first parameter alone: points of one trade-off. */
static bool same_family(const struct sim_result *a, const struct sim_result *b)
{
	const char *rest_a, *rest_b;
	size_t n_a, n_b;

	family(a->setting.policy, &n_a, &rest_a);
	family(b->setting.policy, &n_b, &rest_b);
	return n_a == n_b && !strncmp(a->setting.policy, b->setting.policy, n_a) &&
	       !strcmp(rest_a, rest_b) && !strcmp(ranker(a), ranker(b));
}

static bool same_cost(const struct sim_result *a, const struct sim_result *b)
{
	return a->setting.cold_cost_s == b->setting.cold_cost_s;
}

static bool same_memory(const struct sim_result *a, const struct sim_result *b)
{
	return a->setting.memory_mb == b->setting.memory_mb;
}

/* First results of each line, LINES_SHOWN at most; how many lines there are. */
static size_t lines(const struct report *r, same_fn same, size_t first[LINES_SHOWN])
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		size_t k = 0;

		while (k < i && !same(&r->results[k], &r->results[i]))
			k++;
		if (k < i)
			continue;
		if (n < LINES_SHOWN)
			first[n] = i;
		n++;
	}
	return n;
}

/* ---- the panels */

static bool always(const struct report *r)
{
	(void)r;
	return true;
}

static bool several(const struct report *r, same_fn same)
{
	for (size_t i = 1; i < r->n; i++)
		if (!same(&r->results[0], &r->results[i]))
			return true;
	return false;
}

static bool several_costs(const struct report *r)
{
	return several(r, same_cost);
}

static bool several_memories(const struct report *r)
{
	return r->limited && several(r, same_memory);
}

static void trade_off(const struct sim_result *s, double *x, double *y)
{
	*x = s->waste_s / 3600 / MAX(s->apps, 1u);
	*y = (double)(s->total.cold + s->total.dropped) / MAX(s->apps, 1u);
}

static void total_cost(const struct sim_result *s, double *x, double *y)
{
	*x = s->setting.cold_cost_s / 60;
	*y = s->cost_s / 3600 / MAX(s->apps, 1u);
}

static void not_warm(const struct sim_result *s, double *x, double *y)
{
	*x = s->setting.memory_mb;
	*y = 100.0 * (s->total.cold + s->total.dropped) / MAX(s->total.arrivals, 1u);
}

static const struct panel panels[] = {
    {.title = "Memory against cold starts",
     .x_label = "loaded and idle, hours per %s",
     .y_label = "cold starts per %s",
     .y_limited = "cold starts and drops per %s",
     .line = same_family,
     .wanted = always,
     .at = trade_off},
    {.title = "Cold starts over all %ss",
     .x_label = "%% of invocations that start cold",
     .y_label = "share of %ss",
     .settings = "set xrange [0:100]\nset yrange [0:1]\nset key bottom right\n",
     .wanted = always},
    {.title = "Cost against the worth of a cold start",
     .x_label = "cost of a cold start, minutes of keep-alive",
     .y_label = "total cost, hours of keep-alive per %s",
     .settings = "set key top left\n",
     .point = same_memory,
     .wanted = several_costs,
     .at = total_cost},
    {.title = "Who is served warm in so much memory",
     .x_label = "memory, MB",
     .y_label = "cold or dropped, %% of invocations",
     .settings = "set logscale y\nset yrange [0.05:100]\n",
     .point = same_cost,
     .wanted = several_memories,
     .at = not_warm},
};

/* ---- data */

static void line_data(const struct report *r, const struct panel *p, size_t first, FILE *g)
{
	same_fn same = p->line ? p->line : same_setting;
	double x, y;

	for (size_t i = first; i < r->n; i++) {
		const struct sim_result *s = &r->results[i], *f = &r->results[first];

		if (!same(f, s) || (p->point && !p->point(f, s)))
			continue;
		p->at(s, &x, &y);
		fprintf(g, "%g %g\n", x, y);
	}
}

/* Distribution over apps of the share of cold starts. */
static int spread_data(const struct report *r, size_t setting, FILE *g)
{
	size_t units, apps = 0;
	_cleanup_free_ double *pct = NULL;

	trace_units(r->trace, &units);
	pct = calloc(units + 1, sizeof(*pct));
	if (!pct)
		return -ENOMEM;
	for (size_t u = 0; u < units; u++) {
		const struct sim_tally *y = r->tally(r->tally_arg, setting, u);

		if (y && y->arrivals)
			pct[apps++] = 100.0 * y->cold / y->arrivals;
	}
	for (int q = 0; q <= SPREAD_POINTS; q++)
		fprintf(g, "%g %g\n", summary_percentile(pct, apps, 100.0 * q / SPREAD_POINTS),
			(double)q / SPREAD_POINTS);
	return 0;
}

/* ---- the script */

/* Text for gnuplot; in single quotes nothing else is special. */
static void quoted(const char *text, size_t n, FILE *g)
{
	for (; n && *text; text++, n--)
		fputs(*text == '\'' ? "''" : (char[2]){*text}, g);
}

/* A line's name: its policy, unless all have the same one and rankers tell them apart. */
static void label(const struct panel *p, const struct report *r, const struct sim_result *s,
		  FILE *g)
{
	bool policy = !r->limited || several(r, same_policy);
	const char *spec = s->setting.policy, *rest = "";
	size_t name = strlen(spec);

	if (p->line == same_family)
		family(spec, &name, &rest);
	fputs(" title '", g);
	if (policy) {
		quoted(spec, name, g);
		quoted(rest, strlen(rest), g);
	}
	if (policy && r->limited)
		fputs(" + ", g);
	quoted(ranker(s), strlen(ranker(s)), g);
	fputc('\'', g);
}

static void text(const char *what, const char *format, const char *unit, FILE *g)
{
	fprintf(g, "set %s '", what);
	fprintf(g, format, unit);
	fputs("'\n", g);
}

static void head(const struct panel *p, const struct report *r, size_t shown, size_t n, FILE *g)
{
	const char *unit = r->by_function ? "function" : "app";

	fprintf(g,
		"set xrange [0:*]\nset yrange [0:*]\nunset logscale\nset key inside top right\n%s",
		p->settings ? p->settings : "");
	text("title", p->title, unit, g);
	text("xlabel", p->x_label, unit, g);
	text("ylabel", r->limited && p->y_limited ? p->y_limited : p->y_label, unit, g);
	if (shown < n)
		fprintf(g, "set title '%zu of %zu lines'\n", shown, n);
	if (shown > KEY_LINES)
		fputs("set key outside right\n", g);
}

static int panel(const struct panel *p, const struct report *r, FILE *g)
{
	size_t first[LINES_SHOWN], n = lines(r, p->line ? p->line : same_setting, first);
	size_t shown = MIN(n, (size_t)LINES_SHOWN);
	int rc = 0;

	for (size_t k = 0; k < shown && !rc; k++) {
		fprintf(g, "$line%zu << EOD\n", k);
		if (p->at)
			line_data(r, p, first[k], g);
		else
			rc = spread_data(r, first[k], g);
		fputs("EOD\n", g);
	}
	head(p, r, shown, n, g);
	for (size_t k = 0; k < shown; k++) {
		fprintf(g, "%s $line%zu using 1:2 %s lt %zu dt %zu lw 2", k ? "," : "plot", k,
			p->at ? "smooth unique with linespoints pt 7 ps 0.8" : "with lines",
			k % COLORS + 1, k / COLORS + 1);
		label(p, r, &r->results[first[k]], g);
	}
	fputc('\n', g);
	return rc;
}

/* gnuplot's terminal by the ending of the file's name; NULL: none. */
static const char *terminal_of(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && !strcmp(dot, ".svg"))
		return "svg dynamic background 'white'";
	if (dot && !strcmp(dot, ".png"))
		return "pngcairo background 'white'";
	return NULL;
}

static int script(const struct report *r, const char *path, FILE *g)
{
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(panels); i++)
		n += panels[i].wanted(r);
	fprintf(g, "set terminal %s size %d,%d font 'sans-serif,13' noenhanced\nset output '",
		terminal_of(path), PANEL_WIDTH * 2, PANEL_HEIGHT * (int)((n + 1) / 2));
	quoted(path, strlen(path), g);
	fprintf(g,
		"'\nset multiplot layout %zu,2\nset grid lc rgb '#dddddd'\n"
		"set linetype 5 lc rgb '#a65628'\n" /* gnuplot's is too light to read */
		"set key noautotitle font ',11'\nset border 3\nset tics nomirror\n",
		(n + 1) / 2);
	for (size_t i = 0; i < ARRAY_SIZE(panels) && !rc; i++)
		if (panels[i].wanted(r))
			rc = panel(&panels[i], r, g);
	fputs("unset multiplot\n", g);
	return rc;
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

bool report_plot_accepts(const char *path)
{
	return terminal_of(path);
}

int report_plot(const struct report *r, const char *path)
{
	_cleanup_fclose_ FILE *f = tmpfile();
	int rc;

	if (!f)
		return -errno;
	rc = script(r, path, f);
	return rc ? rc : run_gnuplot(f);
}
