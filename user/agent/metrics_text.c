/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The samples of a family must stand together, but the snapshot comes function
 * by function: each family collects its own text, and the page is all of them.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/idle_shown.h"
#include "agent/metrics_families.h"
#include "agent/metrics_text.h"
#include "lib/util.h"

struct metrics_page {
	struct {
		FILE *out; /* NULL: no sample */
		char *text;
		size_t len;
	} family[METRICS_FAMILIES];
	unsigned int functions, left_out;
	bool failed; /* out of memory somewhere */
};

struct metrics_page *metrics_page_new(void)
{
	return calloc(1, sizeof(struct metrics_page));
}

static FILE *out_of(struct metrics_page *p, enum metrics_family family)
{
	if (!p->family[family].out)
		p->family[family].out =
		    open_memstream(&p->family[family].text, &p->family[family].len);
	if (!p->family[family].out)
		p->failed = true;
	return p->family[family].out;
}

/* ---- samples */

struct label {
	const char *name, *value;
};

static void put_value(FILE *out, double v)
{
	if (v == floor(v) && fabs(v) < 1e15)
		fprintf(out, " %.0f\n", v);
	else
		fprintf(out, " %.9g\n", v);
}

/* The format is UTF-8; a cgroup may be called anything. */
static bool is_utf8(const char *text)
{
	json_t *s = json_string(text);

	json_decref(s);
	return s;
}

static void put_label(FILE *out, const struct label *l, char before)
{
	bool plain = is_utf8(l->value);

	fprintf(out, "%c%s=\"", before, l->name);
	for (const char *c = l->value; *c; c++) {
		if (*c == '\\' || *c == '"')
			fprintf(out, "\\%c", *c);
		else if (*c == '\n')
			fputs("\\n", out);
		else
			fputc(plain || !(*c & 0x80) ? *c : '?', out);
	}
	fputc('"', out);
}

/* One line; what is not known (NAN, INFINITY) has none. */
static void put(struct metrics_page *p, enum metrics_family family, const char *suffix, double v,
		const struct label *labels, size_t n)
{
	FILE *out = isfinite(v) ? out_of(p, family) : NULL;

	if (!out)
		return;
	fprintf(out, "%s%s", metrics_families[family].name, suffix);
	for (size_t i = 0; i < n; i++)
		put_label(out, &labels[i], i ? ',' : '{');
	if (n)
		fputc('}', out);
	put_value(out, v);
}

static void put_plain(struct metrics_page *p, enum metrics_family family, double v)
{
	put(p, family, "", v, NULL, 0);
}

static void put_one(struct metrics_page *p, enum metrics_family family, double v, const char *name,
		    const char *value)
{
	put(p, family, "", v, &(struct label){name, value}, 1);
}

static void put_two(struct metrics_page *p, enum metrics_family family, double v,
		    const struct label *first, const char *name, const char *value)
{
	put(p, family, "", v, (struct label[]){*first, {name, value}}, 2);
}

/* ---- functions */

static void put_idle_times(struct metrics_page *p, const struct idle_shown *shown,
			   const struct label *function)
{
	char bound[32];

	if (!shown)
		return;
	for (unsigned int i = 0; i < shown->n; i++) {
		snprintf(bound, sizeof(bound), "%.9g", shown->bound_s[i]);
		put(p, FUNCTION_IDLE_SECONDS, "_bucket", shown->within[i],
		    (struct label[]){*function, {"le", bound}}, 2);
	}
	put(p, FUNCTION_IDLE_SECONDS, "_bucket", shown->count,
	    (struct label[]){*function, {"le", "+Inf"}}, 2);
	put(p, FUNCTION_IDLE_SECONDS, "_sum", shown->sum_s, function, 1);
	put(p, FUNCTION_IDLE_SECONDS, "_count", shown->count, function, 1);
}

static void put_tiers(struct metrics_page *p, const struct snapshot_function *f,
		      const struct label *function)
{
	static const char *const TIERS[] = {"running", "warm",    "frozen",  "reclaimed",
					    "gone",    "foreign", "changing"};
	double instances[ARRAY_SIZE(TIERS)] = {0}, bytes[ARRAY_SIZE(TIERS)] = {0};

	for (size_t i = 0; i < f->n_instances; i++) {
		size_t t = 0;

		while (t + 1 < ARRAY_SIZE(TIERS) && strcmp(TIERS[t], f->instances[i].tier))
			t++;
		instances[t]++;
		if (isfinite(f->instances[i].memory_bytes))
			bytes[t] += f->instances[i].memory_bytes;
	}
	for (size_t t = 0; t < ARRAY_SIZE(TIERS); t++) {
		put_two(p, FUNCTION_INSTANCES, instances[t], function, "tier", TIERS[t]);
		put_two(p, FUNCTION_MEMORY_BYTES, bytes[t], function, "tier", TIERS[t]);
	}
}

void metrics_page_function(struct metrics_page *p, const struct snapshot_function *f)
{
	struct label function = {"function", f->name};

	if (p->functions++ >= METRICS_FUNCTIONS) {
		p->left_out++;
		return;
	}
	for (size_t i = 0; i < metrics_n_function_values; i++)
		put(p, metrics_function_values[i].family, "",
		    metrics_value(&metrics_function_values[i], f), &function, 1);
	put_two(p, FUNCTION_PREWARMS, (double)f->prewarms_hit, &function, "result", "hit");
	put_two(p, FUNCTION_PREWARMS, (double)f->prewarms_early, &function, "result", "early");
	put_two(p, FUNCTION_PREWARMS, (double)f->prewarms_wasted, &function, "result", "wasted");
	put_tiers(p, f, &function);
	put_idle_times(p, f->idle_shown, &function);
}

/* ---- the node and hearthd itself */

static void put_wakes(struct metrics_page *p, const struct snapshot_status *s)
{
	put(p, WAKE_SECONDS, "", s->wake.p50_us / 1e6, &(struct label){"quantile", "0.5"}, 1);
	put(p, WAKE_SECONDS, "", s->wake.p99_us / 1e6, &(struct label){"quantile", "0.99"}, 1);
	put(p, WAKE_SECONDS, "_count", (double)s->wake.count, NULL, 0);
}

static void put_kernel(struct metrics_page *p, const struct snapshot_status *s)
{
	for (size_t i = 0; i < s->n_drops; i++)
		put_one(p, EVENTS_LOST, (double)s->drops[i].count, "reason", s->drops[i].reason);
	for (size_t i = 0; i < s->n_hooks; i++) {
		struct label hook = {"hook", s->hooks[i].name};

		put(p, HOOK_ATTACHED, "", s->hooks[i].attached, &hook, 1);
		if (!s->hooks[i].run_time_ns)
			continue;
		put(p, HOOK_RUNS, "", (double)s->hooks[i].run_count, &hook, 1);
		put(p, HOOK_SECONDS, "", (double)s->hooks[i].run_time_ns / 1e9, &hook, 1);
	}
	for (size_t i = 0; i < s->n_maps; i++) {
		put_one(p, MAP_ENTRIES, (double)s->maps[i].used, "map", s->maps[i].name);
		put_one(p, MAP_CAPACITY, (double)s->maps[i].max, "map", s->maps[i].name);
	}
}

void metrics_page_status(struct metrics_page *p, const struct snapshot_status *s)
{
	for (size_t i = 0; i < metrics_n_status_values; i++)
		put_plain(p, metrics_status_values[i].family,
			  metrics_value(&metrics_status_values[i], s));
	put_one(p, BUILD_INFO, 1, "version", s->version);
	put_plain(p, MANAGING, !strcmp(s->mode, "manage"));
	put_one(p, PREWARMS, (double)s->memory.prewarms_hit, "result", "hit");
	put_one(p, PREWARMS, (double)s->memory.prewarms_early, "result", "early");
	put_one(p, PREWARMS, (double)s->memory.prewarms_wasted, "result", "wasted");
	put_one(p, PRESSURE, s->memory.pressure_some, "kind", "some");
	put_one(p, PRESSURE, s->memory.pressure_full, "kind", "full");
	put_wakes(p, s);
	put_kernel(p, s);
}

/* ---- images */

static void put_image(struct metrics_page *p, const struct snapshot_image *image)
{
	static const char *const STATES[] = {"none", "building", "resident", "frozen"};
	struct label name = {"image", image->name};

	for (size_t i = 0; i < ARRAY_SIZE(STATES); i++)
		put_two(p, IMAGE_STATE, !strcmp(image->state, STATES[i]), &name, "state",
			STATES[i]);
	for (size_t i = 0; i < metrics_n_image_values; i++)
		put(p, metrics_image_values[i].family, "",
		    metrics_value(&metrics_image_values[i], image), &name, 1);
}

void metrics_page_images(struct metrics_page *p, const struct snapshot_images *s)
{
	put_plain(p, IMAGE_MANAGER_UP, !s->why_not);
	for (size_t i = 0; i < s->n_images; i++)
		put_image(p, &s->images[i]);
}

/* ---- the page */

static void join(struct metrics_page *p, FILE *out)
{
	static const char *const TYPES[] = {
	    [METRIC_COUNTER] = "counter",
	    [METRIC_GAUGE] = "gauge",
	    [METRIC_SUMMARY] = "summary",
	    [METRIC_HISTOGRAM] = "histogram",
	};

	for (int i = 0; i < METRICS_FAMILIES; i++) {
		const struct metrics_family_info *info = &metrics_families[i];

		if (!p->family[i].out)
			continue;
		fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", info->name, info->help, info->name,
			TYPES[info->type]);
		if (fclose(p->family[i].out))
			p->failed = true;
		p->family[i].out = NULL;
		fwrite(p->family[i].text, 1, p->family[i].len, out);
		free(p->family[i].text);
	}
}

char *metrics_page_end(struct metrics_page *p, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	put_plain(p, FUNCTIONS_LEFT_OUT, p->left_out);
	if (out) {
		join(p, out);
		if (fclose(out))
			p->failed = true;
	} else {
		p->failed = true;
		for (int i = 0; i < METRICS_FAMILIES; i++) {
			if (p->family[i].out)
				fclose(p->family[i].out);
			free(p->family[i].text);
		}
	}
	if (p->failed) {
		free(text);
		text = NULL;
	}
	free(p);
	return text;
}
