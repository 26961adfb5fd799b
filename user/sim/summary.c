/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "lib/util.h"
#include "sim/summary.h"

static int double_order(const void *x, const void *y)
{
	const double *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

double summary_percentile(double *values, size_t n, double q)
{
	double at = q / 100 * (n - 1);
	size_t i = at;

	if (!n)
		return 0;
	qsort(values, n, sizeof(*values), double_order);
	if (i + 1 >= n)
		return values[n - 1];
	return values[i] + (at - i) * (values[i + 1] - values[i]);
}

int summary_make(const struct sim_setting *setting, size_t index, const struct trace *t,
		 sim_tally_fn tally, const void *arg, const struct capacity_total *limited,
		 struct sim_result *out)
{
	struct sim_result r = {.setting = *setting};
	_cleanup_free_ double *pct = NULL;
	size_t n;
	const struct trace_unit *units = trace_units(t, &n);

	pct = calloc(n + 1, sizeof(*pct));
	if (!pct)
		return -ENOMEM;
	for (size_t u = 0; u < n; u++) {
		const struct sim_tally *y = tally(arg, index, u);

		if (!y || !y->arrivals || units[u].left_out)
			continue;
		pct[r.apps++] = 100.0 * y->cold / y->arrivals;
		r.total.arrivals += y->arrivals;
		r.total.cold += y->cold;
		r.loads += y->prewarms;
		r.waste_s += y->waste_s;
		r.waste_mb_s += y->waste_s * units[u].mem_mb;
	}
	r.total.warm = r.total.arrivals - r.total.cold;
	if (limited)
		r.total = *limited;
	r.cold_p75_pct = summary_percentile(pct, r.apps, 75);
	r.cost_s = r.waste_s + setting->cold_cost_s * r.total.cold + setting->load_cost_s * r.loads;
	*out = r;
	return 0;
}
