/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth status: the agent itself. What is wrong stands out; what is off is
 * listed with its reason.
 */
#include <math.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/pen.h"

#define LABEL      12
#define FULL_MAP   0.9 /* above it, new entries may soon be refused */
#define NAME_WIDTH 26

static void label(struct pen *pen, const char *name)
{
	pen_print(pen, STYLE_DIM, "%-*s ", LABEL, name);
}

static const json_t *part(const json_t *s, const char *key)
{
	return json_object_get(s, key);
}

static void draw_agent(struct pen *pen, const json_t *s)
{
	char a[FORMAT_TEXT], b[FORMAT_TEXT], c[FORMAT_TEXT];
	const char *attach = field_text(s, "attach");

	label(pen, "hearthd");
	pen_print(pen, STYLE_PLAIN, "%s, mode %s, pid %.0f, up %s, cpu %s, memory %s\n",
		  field_text(s, "version"), field_text(s, "mode"), field_number(s, "pid"),
		  format_duration(field_number(s, "uptime_s"), a),
		  format_duration(field_number(s, "cpu_s"), b),
		  format_bytes(field_number(s, "memory_bytes"), c));
	label(pen, "config");
	pen_print(pen, STYLE_PLAIN, "%s\n", field_text(s, "config"));
	label(pen, "cgroups");
	pen_print(pen, STYLE_PLAIN, "%s, hooks attached to %s\n", field_text(s, "cgroup_root"),
		  *attach ? attach : "the root");
	label(pen, "state");
	pen_print(pen, STYLE_PLAIN, "%s, saved %s; maps in %s%s\n", field_text(s, "state_file"),
		  format_time(field_number(s, "state_saved_at_s"), a), field_text(s, "pin_dir"),
		  field_is_true(s, "adopted") ? " (adopted from an earlier run)" : "");
}

static void draw_totals(struct pen *pen, const json_t *t)
{
	char a[FORMAT_TEXT], b[FORMAT_TEXT], c[FORMAT_TEXT], d[FORMAT_TEXT];

	label(pen, "functions");
	pen_print(pen, STYLE_PLAIN, "%.0f with %.0f instances, %.0f frozen, %.0f in flight\n",
		  field_number(t, "functions"), field_number(t, "instances"),
		  field_number(t, "frozen"), field_number(t, "inflight"));
	label(pen, "seen");
	pen_print(pen, STYLE_PLAIN, "%s invocations, %s busy spans, %s cold, %s lukewarm starts\n",
		  format_count(field_number(t, "invocations"), a),
		  format_count(field_number(t, "busy_spans"), b),
		  format_count(field_number(t, "cold_starts"), c),
		  format_count(field_number(t, "lukewarm_starts"), d));
	label(pen, "done");
	pen_print(pen, STYLE_PLAIN, "%s freezes, %s wakes; %s freezes failed, %s foreign\n",
		  format_count(field_number(t, "freezes"), a),
		  format_count(field_number(t, "wakes"), b),
		  format_count(field_number(t, "freeze_failures"), c),
		  format_count(field_number(t, "foreign_freezes"), d));
}

static void draw_memory(struct pen *pen, const json_t *m)
{
	double budget = field_number(m, "budget_bytes"), some = field_number(m, "pressure_some");
	char a[FORMAT_TEXT], b[FORMAT_TEXT], c[FORMAT_TEXT], d[FORMAT_TEXT];
	const char *why_not = field_text(m, "why_no_pressure");

	label(pen, "memory");
	pen_print(pen, STYLE_PLAIN, "%s kept by idle instances",
		  format_bytes(field_number(m, "idle_bytes"), a));
	if (!isnan(budget))
		pen_print(pen, STYLE_PLAIN, " of %s at most", format_bytes(budget, a));
	pen_print(pen, STYLE_PLAIN, ", %s in swap of %s at most; %s returned, %s killed\n",
		  format_bytes(field_number(m, "swapped_bytes"), a),
		  format_bytes(field_number(m, "swap_budget_bytes"), b),
		  format_bytes(field_number(m, "returned_bytes"), c),
		  format_count(field_number(m, "evictions"), d));
	label(pen, "prewarms");
	pen_print(pen, STYLE_PLAIN, "%s hit, %s early, %s wasted\n",
		  format_count(field_number(m, "prewarms_hit"), a),
		  format_count(field_number(m, "prewarms_early"), b),
		  format_count(field_number(m, "prewarms_wasted"), c));
	label(pen, "pressure");
	pen_print(pen, STYLE_PLAIN, "%s of the last 10 s; ", format_share(some, a));
	if (*why_not)
		pen_print(pen, STYLE_WARN, "not listened to: %s\n", why_not);
	else
		pen_print(pen, STYLE_PLAIN, "too high %s times\n",
			  format_count(field_number(m, "pressure_events"), a));
}

static void draw_threads(struct pen *pen, const json_t *guard, const json_t *wake)
{
	bool alive = field_is_true(guard, "alive"), fifo = field_is_true(wake, "fifo");
	const char *why_not = field_text(wake, "why_not_fifo");
	char a[FORMAT_TEXT], b[FORMAT_TEXT];

	label(pen, "guard");
	if (alive)
		pen_print(pen, STYLE_GOOD, "watching, pid %.0f", field_number(guard, "pid"));
	else
		pen_print(pen, STYLE_BAD, "NOT WATCHING: nothing is frozen until it is back");
	pen_print(pen, STYLE_PLAIN, ", thaw epoch %.0f\n", field_number(guard, "thaw_epoch"));
	label(pen, "wake thread");
	if (fifo)
		pen_print(pen, STYLE_PLAIN, "SCHED_FIFO %.0f", field_number(wake, "priority"));
	else
		pen_print(pen, STYLE_WARN, "not SCHED_FIFO (%s)", why_not);
	pen_print(pen, STYLE_PLAIN, ", %.0f wakes, p50 %s, p99 %s\n", field_number(wake, "count"),
		  format_duration(field_number(wake, "p50_us") / 1e6, a),
		  format_duration(field_number(wake, "p99_us") / 1e6, b));
}

static void heading(struct pen *pen, const char *text)
{
	pen_line(pen);
	pen_print(pen, STYLE_HEAD, "%s\n", text);
}

static void draw_hook(struct pen *pen, const json_t *hook)
{
	double runs = field_number(hook, "run_count"), ns = field_number(hook, "run_time_ns");
	char a[FORMAT_TEXT];

	pen_print(pen, STYLE_PLAIN, "  ");
	pen_cell(pen, STYLE_PLAIN, field_text(hook, "name"), NAME_WIDTH, false);
	if (!field_is_true(hook, "attached")) {
		pen_print(pen, STYLE_WARN, "off: %s\n", field_text(hook, "why_not"));
		return;
	}
	pen_cell(pen, STYLE_GOOD, "on", 4, false);
	if (runs > 0 && ns > 0)
		pen_print(pen, STYLE_PLAIN, "%s runs, %.0f ns each", format_count(runs, a),
			  ns / runs);
	else if (runs > 0)
		pen_print(pen, STYLE_PLAIN, "%s runs", format_count(runs, a));
	pen_line(pen);
}

static void draw_counts(struct pen *pen, const json_t *s)
{
	const json_t *drops = part(s, "drops"), *maps = part(s, "maps"), *item;
	size_t i;

	heading(pen, "Records dropped");
	json_array_foreach (drops, i, item) {
		double count = field_number(item, "count");

		pen_print(pen, STYLE_PLAIN, "  ");
		pen_cell(pen, STYLE_PLAIN, field_text(item, "reason"), NAME_WIDTH, false);
		pen_print(pen, count > 0 ? STYLE_WARN : STYLE_PLAIN, "%.0f\n", count);
	}
	heading(pen, "Maps");
	json_array_foreach (maps, i, item) {
		double used = field_number(item, "used"), max = field_number(item, "max");
		char share[FORMAT_TEXT];

		pen_print(pen, STYLE_PLAIN, "  ");
		pen_cell(pen, STYLE_PLAIN, field_text(item, "name"), NAME_WIDTH, false);
		pen_print(pen, used > FULL_MAP * max ? STYLE_BAD : STYLE_PLAIN,
			  "%.0f of %.0f (%s)\n", used, max,
			  format_share(max > 0 ? used / max : NAN, share));
	}
}

static void draw_status(struct pen *pen, const json_t *s)
{
	const json_t *hooks = part(s, "hooks"), *notices = part(s, "notices"), *item;
	size_t i;

	draw_agent(pen, s);
	draw_totals(pen, part(s, "totals"));
	draw_memory(pen, part(s, "memory"));
	draw_threads(pen, part(s, "guard"), part(s, "wake"));
	heading(pen, "Hooks");
	json_array_foreach (hooks, i, item)
		draw_hook(pen, item);
	draw_counts(pen, s);
	if (json_array_size(notices))
		heading(pen, "Off, and why");
	json_array_foreach (notices, i, item)
		pen_print(pen, STYLE_WARN, "  %s: %s\n", field_text(item, "name"),
			  field_text(item, "reason"));
}

int cmd_status(struct cli *cli)
{
	struct file_pen pen;
	json_t *status;
	int result;

	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	result = agent_get(cli, "/v1/status", &status);
	if (result)
		return result;
	pen = pen_open(cli);
	if (cli->json)
		agent_print_json(cli, status);
	else
		draw_status(&pen.pen, status);
	json_decref(status);
	return CLI_OK;
}
