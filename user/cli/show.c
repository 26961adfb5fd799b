/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Draws one function: labelled lines, histogram, instances, reasons, events. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/histogram.h"
#include "cli/show.h"
#include "lib/util.h"

#define HISTOGRAM_ROWS 8
#define LABEL          13

static void label(struct pen *pen, const char *name)
{
	pen_print(pen, STYLE_DIM, "%-*s ", LABEL, name);
}

static void heading(struct pen *pen, const char *text)
{
	pen_line(pen);
	pen_print(pen, STYLE_HEAD, "%s\n", text);
}

/* ---- facts */

static const char *number(const json_t *f, const char *key, char *buf)
{
	return format_count(field_number(f, key), buf);
}

static void draw_settings(struct pen *pen, const json_t *f)
{
	bool pinned = field_is_true(f, "pinned");

	pen_print(pen, STYLE_BOLD, "%s\n", field_text(f, "name"));
	label(pen, "policy");
	pen_print(pen, STYLE_PLAIN, "%s (from %s), mode %s%s\n", field_text(f, "policy"),
		  field_text(f, "policy_from"), field_text(f, "mode"), pinned ? ", pinned" : "");
}

static void draw_counters(struct pen *pen, const json_t *f)
{
	char a[FORMAT_TEXT], b[FORMAT_TEXT], c[FORMAT_TEXT], d[FORMAT_TEXT];

	label(pen, "invocations");
	pen_print(pen, STYLE_PLAIN, "%s in %s busy spans, %s in flight\n",
		  number(f, "invocations", a), number(f, "busy_spans", b),
		  number(f, "inflight", c));
	label(pen, "starts");
	pen_print(pen, STYLE_PLAIN, "%s cold, %s lukewarm (found frozen or reclaimed)\n",
		  number(f, "cold_starts", a), number(f, "lukewarm_starts", b));
	label(pen, "frozen");
	pen_print(pen, STYLE_PLAIN, "%s of the time (%s); %s freezes, %s wakes\n",
		  format_share(field_number(f, "frozen_share"), a),
		  format_duration(field_number(f, "frozen_s"), b), number(f, "freezes", c),
		  number(f, "wakes", d));
	label(pen, "wake latency");
	pen_print(pen, STYLE_PLAIN, "p50 %s, p99 %s\n",
		  format_duration(field_number(f, "wake_p50_us") / 1e6, a),
		  format_duration(field_number(f, "wake_p99_us") / 1e6, b));
	label(pen, "memory");
	pen_print(pen, STYLE_PLAIN, "%s\n", format_bytes(field_number(f, "memory_bytes"), a));
	label(pen, "idle times");
	pen_print(pen, STYLE_PLAIN, "p50 %s, p99 %s of %s learned; idle now: %s\n",
		  format_duration(field_number(f, "it_p50_s"), a),
		  format_duration(field_number(f, "it_p99_s"), b), number(f, "it_count", c),
		  format_duration(field_number(f, "idle_s"), d));
}

/* ---- what its tiers cost here */

static void draw_measure(struct pen *pen, const char *name, bool bytes, const json_t *m)
{
	const char *(*format)(double v, char *buf) = bytes ? format_bytes : format_duration;
	char buf[FORMAT_TEXT];

	pen_print(pen, STYLE_PLAIN, "  ");
	pen_cell(pen, STYLE_PLAIN, name, 32, false);
	pen_cell(pen, STYLE_PLAIN, format(field_number(m, "p50"), buf), 8, true);
	pen_cell(pen, STYLE_PLAIN, format(field_number(m, "p90"), buf), 8, true);
	pen_print(pen, STYLE_PLAIN, "%7s\n", number(m, "count", buf));
}

/* Those that have samples, in the order of the agent's answer. */
static void draw_measures(struct pen *pen, const json_t *f)
{
	static const struct {
		const char *key;
		const char *name;
	} rows[] = {
	    {"warm_bytes", "memory, warm"},
	    {"frozen_bytes", "memory, frozen"},
	    {"reclaimed_bytes", "memory, reclaimed"},
	    {"returned_bytes", "returned by a reclaim"},
	    {"span_s", "busy span, warm"},
	    {"thaw_s", "thaw"},
	    {"frozen_wake_s", "longer after frozen"},
	    {"reclaimed_wake_s", "longer after reclaimed"},
	    {"prefaulted_wake_s", "longer after reclaimed, restored"},
	    {"prefault_s", "restore"},
	    {"cold_s", "cold start"},
	};
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const json_t *m = json_object_get(json_object_get(f, "measures"), rows[i].key);

		if (!(field_number(m, "count") > 0))
			continue;
		if (!any) {
			heading(pen, "Measured");
			pen_print(pen, STYLE_DIM, "  %-32s %8s %8s %7s\n", "", "P50", "P90",
				  "SAMPLES");
		}
		any = true;
		draw_measure(pen, rows[i].name, !!strstr(rows[i].key, "_bytes"), m);
	}
}

/* ---- windows and histogram */

static size_t load_windows(const json_t *f, struct hearth_window *windows)
{
	const json_t *list = json_object_get(f, "windows");
	size_t n = MIN(json_array_size(list), (size_t)HEARTH_WINDOWS);

	for (size_t i = 0; i < n; i++) {
		const json_t *pair = json_array_get(list, i), *close = json_array_get(pair, 1);

		windows[i].open_s = json_number_value(json_array_get(pair, 0));
		windows[i].close_s = json_is_number(close) ? json_number_value(close) : INFINITY;
	}
	return n;
}

static void draw_windows(struct pen *pen, const json_t *f)
{
	struct hearth_window w[HEARTH_WINDOWS];
	size_t n = load_windows(f, w);
	const char *reason = field_text(f, "decision_reason");

	label(pen, "warm");
	for (size_t i = 0; i < n; i++) {
		char open[FORMAT_TEXT], close[FORMAT_TEXT];

		pen_print(pen, STYLE_PLAIN, isinf(w[i].close_s) ? "%sfrom %s on" : "%s%s to %s",
			  i ? ", " : "", format_duration(w[i].open_s, open),
			  format_duration(w[i].close_s, close));
	}
	pen_print(pen, STYLE_PLAIN, "%s%s%s%s\n", n ? " after the last end" : "never when idle",
		  *reason ? " (" : "", reason, *reason ? ")" : "");
}

/* A percentile that the policy spec names ("head=5"), or what it is by default. */
static unsigned int spec_percentile(const char *spec, const char *key, unsigned int fallback)
{
	const char *at = strstr(spec, key);
	unsigned long value = at ? strtoul(at + strlen(key), NULL, 10) : fallback;

	return value <= 100 ? (unsigned int)value : fallback;
}

static void draw_histogram(struct pen *pen, const json_t *f)
{
	const json_t *json = json_object_get(f, "histogram"), *list = json_object_get(json, "bins");
	const char *policy = field_text(f, "policy");
	double nbins = field_number(json, "nbins"), bin_s = field_number(json, "bin_s");
	struct hearth_window windows[HEARTH_WINDOWS];
	_cleanup_free_ uint32_t *bins = NULL;
	struct histogram h = {.windows = windows, .n_windows = load_windows(f, windows)};
	size_t i;
	json_t *bin;

	if (!(nbins >= 1 && nbins <= 1e6 && bin_s > 0))
		return;
	bins = calloc((size_t)nbins, sizeof(*bins));
	if (!bins)
		return;
	json_array_foreach (list, i, bin) {
		if (i >= (size_t)nbins)
			break;
		bins[i] = (uint32_t)json_integer_value(bin);
		h.hist.s1 += bins[i];
	}
	h.hist.bins = bins;
	h.hist.nbins = (uint32_t)nbins;
	h.hist.bin_s = bin_s;
	h.hist.oob = (uint64_t)json_integer_value(json_object_get(json, "oob"));
	h.head_q = spec_percentile(policy, "head=", 5);
	h.tail_q = spec_percentile(policy, "tail=", 99);
	heading(pen, "Idle times");
	histogram_draw(pen, &h, HISTOGRAM_ROWS);
}

/* ---- instances */

static void draw_instance(struct pen *pen, const json_t *instance)
{
	const char *tier = field_text(instance, "tier"), *hold = field_text(instance, "hold");
	char buf[FORMAT_TEXT];

	pen_print(pen, STYLE_PLAIN, "  ");
	pen_cell(pen, pen_tier(tier), tier, 8, false);
	pen_cell(pen, STYLE_PLAIN, number(instance, "inflight", buf), 8, true);
	pen_cell(pen, STYLE_PLAIN, format_duration(field_number(instance, "idle_s"), buf), 7, true);
	pen_cell(pen, STYLE_PLAIN, number(instance, "invocations", buf), 6, true);
	pen_cell(pen, STYLE_PLAIN, format_duration(field_number(instance, "frozen_s"), buf), 7,
		 true);
	pen_cell(pen, STYLE_PLAIN, format_bytes(field_number(instance, "memory_bytes"), buf), 6,
		 true);
	pen_print(pen, STYLE_PLAIN, "%s\n", field_text(instance, "cgroup"));
	if (*hold)
		pen_print(pen, STYLE_DIM, "           held: %s\n", hold);
	if (json_is_false(json_object_get(instance, "proven")))
		pen_print(pen, STYLE_DIM,
			  "           no completed invocation seen yet (sources: %s)\n",
			  field_text(instance, "sources"));
}

static void draw_instances(struct pen *pen, const json_t *f)
{
	const json_t *instances = json_object_get(f, "instances");
	json_t *instance;
	size_t i;

	heading(pen, "Instances");
	if (!json_array_size(instances))
		pen_print(pen, STYLE_DIM, "  none now\n");
	else
		pen_print(pen, STYLE_DIM, "  %-8s %8s %7s %6s %7s %6s %s\n", "TIER", "INFLIGHT",
			  "IDLE", "INVOC", "FROZEN", "MEM", "CGROUP");
	json_array_foreach (instances, i, instance)
		draw_instance(pen, instance);
}

void show_function(struct pen *pen, const json_t *f)
{
	draw_settings(pen, f);
	draw_windows(pen, f);
	draw_counters(pen, f);
	draw_histogram(pen, f);
	draw_measures(pen, f);
	draw_instances(pen, f);
}

/* ---- reasons */

static void draw_next(struct pen *pen, const json_t *f)
{
	const json_t *next = json_object_get(f, "next");
	const char *action = field_text(next, "action"), *reason = field_text(next, "reason");
	double in_s = field_number(next, "in_s");
	char buf[FORMAT_TEXT];

	label(pen, "next");
	if (!*action || !strcmp(action, "none"))
		pen_print(pen, STYLE_PLAIN, "nothing planned");
	else if (isnan(in_s))
		pen_print(pen, STYLE_PLAIN, "%s", action);
	else
		pen_print(pen, STYLE_PLAIN, "%s in %s", action, format_duration(in_s, buf));
	pen_print(pen, STYLE_PLAIN, "%s%s\n", *reason ? ": " : "", reason);
}

static enum style action_style(const char *action)
{
	static const struct {
		const char *action;
		enum style style;
	} styles[] = {{"freeze", STYLE_COLD},  {"would-freeze", STYLE_COLD}, {"thaw", STYLE_WARN},
		      {"wake", STYLE_GOOD},    {"failed", STYLE_BAD},        {"guard", STYLE_BAD},
		      {"foreign", STYLE_ODD},  {"reclaim", STYLE_COLD},      {"evict", STYLE_COLD},
		      {"squeeze", STYLE_COLD}, {"prewarm", STYLE_GOOD}};

	for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
		if (!strcmp(styles[i].action, action))
			return styles[i].style;
	return STYLE_PLAIN;
}

void show_event(struct pen *pen, const json_t *e, bool with_function)
{
	const char *error = field_text(e, "error"), *action = field_text(e, "action");
	double took_s = field_number(e, "took_s"), uid = field_number(e, "uid");
	double lost = field_number(e, "lost");
	char buf[FORMAT_TEXT];

	if (!isnan(lost)) {
		pen_print(pen, STYLE_WARN, "(%.0f older decisions are no longer held)\n", lost);
		return;
	}
	pen_print(pen, STYLE_DIM, "%s ", format_time(field_number(e, "time_s"), buf));
	pen_cell(pen, action_style(action), action, 12, false);
	if (with_function)
		pen_cell(pen, STYLE_BOLD, field_text(e, "function"), 24, false);
	pen_print(pen, STYLE_PLAIN, "%s", field_text(e, "reason"));
	pen_print(pen, STYLE_DIM, " (%s", field_text(e, "actor"));
	if (!isnan(uid))
		pen_print(pen, STYLE_DIM, ", uid %.0f pid %.0f", uid, field_number(e, "pid"));
	if (!isnan(took_s))
		pen_print(pen, STYLE_DIM, ", took %s", format_duration(took_s, buf));
	pen_print(pen, STYLE_DIM, ")");
	if (*error)
		pen_print(pen, STYLE_BAD, " %s", error);
	pen_line(pen);
}

void show_why(struct pen *pen, const json_t *f, const json_t *events)
{
	const json_t *instances = json_object_get(f, "instances");
	json_t *item;
	size_t i;

	pen_print(pen, STYLE_BOLD, "%s\n", field_text(f, "name"));
	label(pen, "now");
	pen_print(pen, STYLE_PLAIN, "%s\n", field_text(f, "why"));
	draw_next(pen, f);
	label(pen, "policy");
	pen_print(pen, STYLE_PLAIN, "%s (from %s), mode %s\n", field_text(f, "policy"),
		  field_text(f, "policy_from"), field_text(f, "mode"));
	draw_windows(pen, f);
	json_array_foreach (instances, i, item) {
		const char *tier = field_text(item, "tier"), *hold = field_text(item, "hold");

		label(pen, i ? "" : "instances");
		pen_cell(pen, pen_tier(tier), tier, 8, false);
		pen_print(pen, STYLE_PLAIN, "%s%s%s\n", field_text(item, "cgroup"),
			  *hold ? ", held: " : "", hold);
	}
	heading(pen, "Last decisions");
	if (!json_array_size(events))
		pen_print(pen, STYLE_DIM, "none held in the journal\n");
	json_array_foreach (events, i, item)
		show_event(pen, item, false);
}
