/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util.h"
#include "sim/report.h"

static void table_head(const struct report *r, FILE *out)
{
	struct trace_info info;
	size_t n, known = 0, units = 0;
	const struct trace_unit *u = trace_units(r->trace, &n);

	trace_info(r->trace, &info);
	fprintf(out, "%s trace: %u apps, %u functions, %" PRIu64 " invocations in %.1f h\n",
		info.format, info.apps, info.functions, info.invocations,
		(info.end_s - info.start_s) / 3600);
	if (info.binned)
		fprintf(out, "arrivals are known by the minute: they are spread %s over it\n",
			r->jitter ? "at random" : "evenly");
	for (size_t i = 0; i < n; i++) {
		units += !u[i].left_out && u[i].invocations;
		known += !u[i].left_out && u[i].invocations && u[i].mem_known;
	}
	if (known < units && !r->images)
		fprintf(out, "memory of %zu %s is unknown: %.0f MB assumed\n", units - known,
			r->by_function ? "functions" : "apps", TRACE_MEM_MB);
	if (info.skipped)
		fprintf(out, "%" PRIu64 " bad rows were skipped\n", info.skipped);
	fputc('\n', out);
}

/* Of all calls: drops stay in the denominator, or dropping would look excellent. */
static double share_pct(const struct sim_result *s, uint64_t n)
{
	return s->total.arrivals ? 100.0 * n / s->total.arrivals : 0;
}

static int policy_width(const struct report *r)
{
	size_t width = strlen("policy");

	for (size_t i = 0; i < r->n; i++)
		width = MAX(width, strlen(r->results[i].setting.policy));
	return width;
}

static void image_table(const struct report *r, int width, FILE *out)
{
	const struct image_costs *c = r->images;

	fprintf(out,
		"an instance takes %g MB alone, %g MB forked; an image %g MB, paged out %g MB\n"
		"a start takes %g ms cold, %g ms forked, %g ms from an image that is paged out\n\n",
		c->alone_mb, c->private_mb, c->image_mb, c->paged_mb, 1000 * c->cold_s,
		1000 * c->fork_s, 1000 * c->paged_fork_s);
	fprintf(out, "%-10s %-*s %-12s %9s %9s %9s %9s %8s %8s %8s %9s %8s %10s\n", "mode", width,
		"policy", "ranker", "memory MB", "warm", "forked", "cold", "dropped", "evicted",
		"images", "mean ms", "p99 ms", "GB h");
	for (size_t i = 0; i < r->n; i++) {
		const struct sim_result *s = &r->results[i];
		const struct capacity_total *t = &s->total;

		fprintf(out,
			"%-10s %-*s %-12s %9.0f %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %8" PRIu64
			" %8" PRIu64 " %8" PRIu64 " %9.3f %8.1f %10.2f\n",
			s->setting.mode, width, s->setting.policy, s->setting.ranker,
			s->setting.memory_mb, t->warm, t->starts.forks, t->cold, t->dropped,
			t->evictions, t->starts.image_loads, 1000 * t->starts.mean_s,
			1000 * t->starts.p99_s, t->starts.mb_s / 1024 / 3600);
	}
}

void report_table(const struct report *r, FILE *out)
{
	int width = policy_width(r);

	table_head(r, out);
	if (r->images) {
		image_table(r, width, out);
		return;
	}
	fprintf(out, "%-*s", width, "policy");
	if (r->limited)
		fprintf(out, " %-24s %9s", "ranker", "memory MB");
	fprintf(out, " %8s %9s %10s %8s %8s", "cost min", "cold", "warm", "p75 %", "loads");
	if (r->limited)
		fprintf(out, " %9s %9s %7s %7s", "dropped", "evicted", "cold %", "drop %");
	fprintf(out, " %12s %10s %12s\n", "waste min", "GB h", "cost h");
	for (size_t i = 0; i < r->n; i++) {
		const struct sim_result *s = &r->results[i];

		fprintf(out, "%-*s", width, s->setting.policy);
		if (r->limited)
			fprintf(out, " %-24s %9.0f", s->setting.ranker, s->setting.memory_mb);
		fprintf(out, " %8g %9" PRIu64 " %10" PRIu64 " %8.2f %8" PRIu64,
			s->setting.cold_cost_s / 60, s->total.cold, s->total.warm, s->cold_p75_pct,
			s->loads);
		if (r->limited)
			fprintf(out, " %9" PRIu64 " %9" PRIu64 " %7.2f %7.2f", s->total.dropped,
				s->total.evictions, share_pct(s, s->total.cold),
				share_pct(s, s->total.dropped));
		fprintf(out, " %12.1f %10.1f %12.1f\n", s->waste_s / 60,
			s->waste_mb_s / 1024 / 3600, s->cost_s / 3600);
	}
}

static json_t *image_json(const struct sim_result *s)
{
	const struct capacity_total *t = &s->total;

	return json_pack(
	    "{s:s, s:s, s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, "
	    "s:f, s:f}",
	    "mode", s->setting.mode, "policy", s->setting.policy, "ranker", s->setting.ranker,
	    "memory_mb", s->setting.memory_mb, "cold_cost_min", s->setting.cold_cost_s / 60,
	    "cold_starts", (json_int_t)t->cold, "image_starts", (json_int_t)t->starts.forks,
	    "warm_starts", (json_int_t)t->warm, "dropped", (json_int_t)t->dropped, "evictions",
	    (json_int_t)t->evictions, "image_loads", (json_int_t)t->starts.image_loads, "loads",
	    (json_int_t)s->loads, "start_mean_ms", 1000 * t->starts.mean_s, "start_p99_ms",
	    1000 * t->starts.p99_s, "memory_mb_s", t->starts.mb_s, "cold_pct",
	    share_pct(s, t->cold), "image_pct", share_pct(s, t->starts.forks), "warm_pct",
	    share_pct(s, t->warm), "dropped_pct", share_pct(s, t->dropped));
}

static json_t *result_json(const struct sim_result *s)
{
	bool limited = s->setting.ranker;

	return json_pack(
	    "{s:s, s:s?, s:o, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, "
	    "s:f, s:f, s:f}",
	    "policy", s->setting.policy, "ranker", s->setting.ranker, "memory_mb",
	    limited ? json_real(s->setting.memory_mb) : json_null(), "cold_cost_min",
	    s->setting.cold_cost_s / 60, "cold_starts", (json_int_t)s->total.cold, "warm_starts",
	    (json_int_t)s->total.warm, "dropped", (json_int_t)s->total.dropped, "evictions",
	    (json_int_t)s->total.evictions, "queued", (json_int_t)s->total.queued, "loads",
	    (json_int_t)s->loads, "cold_p75_pct", s->cold_p75_pct, "avg_cold_per_app",
	    s->apps ? (double)s->total.cold / s->apps : 0.0, "waste_s", s->waste_s, "waste_mb_s",
	    s->waste_mb_s, "cost_s", s->cost_s, "wait_s", s->total.wait_s, "cold_pct",
	    share_pct(s, s->total.cold), "warm_pct", share_pct(s, s->total.warm), "dropped_pct",
	    share_pct(s, s->total.dropped));
}

json_t *report_json(const struct report *r)
{
	json_t *results = json_array();
	struct trace_info info;

	trace_info(r->trace, &info);
	for (size_t i = 0; i < r->n; i++)
		json_array_append_new(results, r->images ? image_json(&r->results[i])
							 : result_json(&r->results[i]));
	return json_pack("{s:{s:s, s:I, s:I, s:I, s:f, s:b, s:I}, s:o}", "trace", "format",
			 info.format, "apps", (json_int_t)info.apps, "functions",
			 (json_int_t)info.functions, "invocations", (json_int_t)info.invocations,
			 "horizon_s", info.end_s - info.start_s, "minute_bins", info.binned,
			 "skipped_rows", (json_int_t)info.skipped, "results", results);
}

int report_per_app(const struct report *r, FILE *out)
{
	size_t n;
	const struct trace_unit *units = trace_units(r->trace, &n);

	fprintf(out,
		"%s,mem_mb,policy,cold_cost_min,ranker,memory_mb,invocations,cold_starts,"
		"loads,waste_s,cost_s\n",
		r->by_function ? "function" : "app");
	for (size_t u = 0; u < n; u++) {
		for (size_t i = 0; i < r->n; i++) {
			const struct sim_tally *y = r->tally(r->tally_arg, i, u);
			const struct sim_setting *s = &r->results[i].setting;

			if (!y || units[u].left_out)
				continue;
			fprintf(out, "%s,%g,\"%s\",%g,\"%s\",", units[u].name, units[u].mem_mb,
				s->policy, s->cold_cost_s / 60, s->ranker ? s->ranker : "");
			if (s->ranker)
				fprintf(out, "%g", s->memory_mb);
			fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.3f,%.3f\n",
				y->arrivals, y->cold, y->prewarms, y->waste_s,
				y->waste_s + s->cold_cost_s * y->cold +
				    s->load_cost_s * y->prewarms);
		}
	}
	return ferror(out) ? -EIO : 0;
}
