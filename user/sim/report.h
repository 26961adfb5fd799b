/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Results as people and programs read them: a table, JSON, a CSV per app, a
 * plot. All work from the same sim_result.
 */
#ifndef HEARTH_SIM_REPORT_H
#define HEARTH_SIM_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "sim/summary.h"

struct report {
	const struct trace *trace;
	const struct sim_result *results;
	size_t n;
	bool by_function;
	bool jitter;
	bool limited;                     /* with memory limits */
	const struct image_costs *images; /* with dependency images; NULL: none */
	sim_tally_fn tally;
	const void *tally_arg;
};

void report_table(const struct report *r, FILE *out);
json_t *report_json(const struct report *r); /* NULL: no memory */

/* One row per unit and setting. 0 or -errno. */
int report_per_app(const struct report *r, FILE *out);

/*
 * A picture by gnuplot, SVG or PNG by the ending of path: memory against cold
 * starts, how the cold starts spread over the apps, with several cold costs the
 * total cost against them, and with several memory sizes who is served warm.
 * 0, or -errno: -ENOENT if gnuplot is not installed, -EIO if it failed.
 */
int report_plot(const struct report *r, const char *path);
bool report_plot_accepts(const char *path);

#endif
