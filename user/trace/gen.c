/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/util.h"
#include "trace/gen_model.h"

#define SPREAD  0.5 /* sd of a function's log execution time around its mean: invented */
#define CV_ZERO 0.05

struct gen {
	const struct gen_options *o;
	int dir;
	struct gen_app *apps;
	uint32_t (*counts)[GEN_MINUTES];
	FILE *invocations, *durations, *memory;
	char *err;
	size_t err_size;
};

static int fail(struct gen *g, const char *what, int error)
{
	snprintf(g->err, g->err_size, "%s: %s", what, strerror(error));
	return -error;
}

/* NAME.anon.dNN.csv, which must not exist. */
static int create(struct gen *g, const char *name, uint32_t day, FILE **out)
{
	char file[96];
	int fd;

	snprintf(file, sizeof(file), "%s.anon.d%02" PRIu32 ".csv", name, day + 1);
	fd = openat(g->dir, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail(g, file, errno);
	*out = fdopen(fd, "w");
	return *out ? 0 : -ENOMEM;
}

static int finish(struct gen *g, FILE **f)
{
	int bad = *f && (ferror(*f) | fclose(*f));

	*f = NULL;
	return bad ? fail(g, "writing the trace", EIO) : 0;
}

static const char *trigger(const struct gen_app *a, uint32_t f)
{
	static const char *const others[] = {"http", "queue", "http", "event", "storage"};

	return a->cv == 0 ? "timer" : others[(a->id + f) % ARRAY_SIZE(others)];
}

/* The three hashes of a function, as long as the published ones. */
static void hashes(FILE *f, const struct gen_app *a, int function)
{
	for (int part = 0; part < 2 + (function >= 0); part++) {
		struct draw d = {a->id + part * 0x1000 + (part == 2 ? function + 1 : 0)};

		for (int i = 0; i < 4; i++)
			fprintf(f, "%016" PRIx64, draw_bits(&d));
		fputc(',', f);
	}
}

static void invocation_row(struct gen *g, const struct gen_app *a, uint32_t f)
{
	hashes(g->invocations, a, f);
	fputs(trigger(a, f), g->invocations);
	for (int m = 0; m < GEN_MINUTES; m++) {
		if (g->counts[f][m])
			fprintf(g->invocations, ",%" PRIu32, g->counts[f][m]);
		else
			fputs(",0", g->invocations);
	}
	fputc('\n', g->invocations);
}

static void duration_row(struct gen *g, const struct gen_app *a, uint32_t f, uint64_t calls)
{
	static const double z[] = {-3, -2.326, -0.674, 0, 0.674, 2.326, 3}; /* of the percentiles */
	double ms = a->duration_s[f] * 1000;

	hashes(g->durations, a, f);
	fprintf(g->durations, "%.3f,%" PRIu64 ",%.3f,%.3f", ms, calls, ms * exp(SPREAD * z[0]),
		ms * exp(SPREAD * z[6]));
	for (size_t i = 0; i < ARRAY_SIZE(z); i++)
		fprintf(g->durations, ",%.3f", ms * exp(SPREAD * z[i]));
	fputc('\n', g->durations);
}

static void memory_row(struct gen *g, const struct gen_app *a)
{
	static const double of_mean[] = {0.7, 0.8, 0.95, 1, 1.05, 1.2, 1.3, 1.5};

	hashes(g->memory, a, -1);
	fprintf(g->memory, "%d,%.1f", GEN_MINUTES, a->memory_mb);
	for (size_t i = 0; i < ARRAY_SIZE(of_mean); i++)
		fprintf(g->memory, ",%.1f", a->memory_mb * of_mean[i]);
	fputc('\n', g->memory);
}

static void headers(struct gen *g)
{
	fputs("HashOwner,HashApp,HashFunction,Trigger", g->invocations);
	for (int m = 1; m <= GEN_MINUTES; m++)
		fprintf(g->invocations, ",%d", m);
	fputc('\n', g->invocations);
	fputs("HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum,percentile_Average_0,"
	      "percentile_Average_1,percentile_Average_25,percentile_Average_50,"
	      "percentile_Average_75,percentile_Average_99,percentile_Average_100\n",
	      g->durations);
	fputs("HashOwner,HashApp,SampleCount,AverageAllocatedMb,AverageAllocatedMb_pct1,"
	      "AverageAllocatedMb_pct5,AverageAllocatedMb_pct25,AverageAllocatedMb_pct50,"
	      "AverageAllocatedMb_pct75,AverageAllocatedMb_pct95,AverageAllocatedMb_pct99,"
	      "AverageAllocatedMb_pct100\n",
	      g->memory);
}

/* An app's rows of one day; like the published ones, only of what was called. */
static void write_app(struct gen *g, struct gen_app *a, uint32_t day)
{
	bool any = false;

	gen_app_day(a, day, g->counts);
	for (uint32_t f = 0; f < a->functions; f++) {
		uint64_t calls = 0;

		for (int m = 0; m < GEN_MINUTES; m++)
			calls += g->counts[f][m];
		if (!calls)
			continue;
		any = true;
		invocation_row(g, a, f);
		duration_row(g, a, f, calls);
	}
	if (any)
		memory_row(g, a);
}

static int write_day(struct gen *g, uint32_t day)
{
	int rc = create(g, "invocations_per_function_md", day, &g->invocations);

	if (!rc)
		rc = create(g, "function_durations_percentiles", day, &g->durations);
	if (!rc)
		rc = create(g, "app_memory_percentiles", day, &g->memory);
	if (!rc) {
		headers(g);
		for (uint32_t i = 0; i < g->o->apps; i++)
			write_app(g, &g->apps[i], day);
	}
	rc = rc ? rc : finish(g, &g->invocations);
	rc = rc ? rc : finish(g, &g->durations);
	return rc ? rc : finish(g, &g->memory);
}

static int double_order(const void *x, const void *y)
{
	const double *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

static void two_percentiles(double *v, size_t n, double *p50, double *p90)
{
	qsort(v, n, sizeof(*v), double_order);
	*p50 = v[n / 2];
	*p90 = v[n * 9 / 10];
}

static int measure(const struct gen *g, struct gen_result *out)
{
	struct gen_result r = {.apps = g->o->apps};
	_cleanup_free_ double *memory = calloc(g->o->apps, sizeof(double));
	_cleanup_free_ double *duration = calloc(g->o->apps, sizeof(double));
	uint32_t with_cv = 0;

	if (!memory || !duration)
		return -ENOMEM;
	for (uint32_t i = 0; i < g->o->apps; i++) {
		const struct gen_app *a = &g->apps[i];
		double per_day = (double)a->arrivals / g->o->days, cv = gen_app_cv(a);

		r.functions += a->functions;
		r.invocations += a->arrivals;
		r.hourly += per_day <= 24;
		r.minutely += per_day <= GEN_MINUTES;
		with_cv += cv >= 0;
		r.regular += cv >= 0 && cv < CV_ZERO;
		r.bursty += cv > 1;
		r.single += a->functions == 1;
		memory[i] = a->memory_mb;
		duration[i] = a->duration_s[0];
	}
	r.hourly /= r.apps;
	r.minutely /= r.apps;
	r.single /= r.apps;
	r.regular /= MAX(with_cv, 1u);
	r.bursty /= MAX(with_cv, 1u);
	two_percentiles(duration, r.apps, &r.duration_p50_s, &r.duration_p90_s);
	two_percentiles(memory, r.apps, &r.memory_p50_mb, &r.memory_p90_mb);
	*out = r;
	return 0;
}

static int write_all(struct gen *g, struct gen_result *out)
{
	int rc = 0;

	g->apps = calloc(g->o->apps, sizeof(*g->apps));
	g->counts = calloc(GEN_FUNCTIONS_MAX, sizeof(*g->counts));
	if (!g->apps || !g->counts)
		return fail(g, "generator", ENOMEM);
	for (uint32_t i = 0; i < g->o->apps; i++)
		gen_app_draw(&g->apps[i], i, g->o);
	for (uint32_t day = 0; day < g->o->days && !rc; day++)
		rc = write_day(g, day);
	return rc ? rc : measure(g, out);
}

int gen_write(const char *directory, const struct gen_options *o, struct gen_result *out, char *err,
	      size_t err_size)
{
	struct gen g = {.o = o, .dir = -1, .err = err, .err_size = err_size};
	int rc;

	if (mkdir(directory, 0755) && errno != EEXIST)
		return fail(&g, directory, errno);
	g.dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g.dir < 0)
		return fail(&g, directory, errno);
	rc = write_all(&g, out);
	cleanup_fclose_p(&g.invocations);
	cleanup_fclose_p(&g.durations);
	cleanup_fclose_p(&g.memory);
	free(g.apps);
	free(g.counts);
	close(g.dir);
	return rc;
}
