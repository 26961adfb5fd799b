/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The population, from Serverless in the Wild (Shahrad et al., USENIX ATC
 * 2020) and the published Azure 2019 data: rates and CVs as tables of their
 * distribution, execution times and memory as the fitted laws, the time of day
 * as the platform's mean load per hour. Calls are renewals in time that runs with
 * the platform's load: with gamma-distributed times between them up to a CV of 1,
 * in sessions of calls a minute apart above that; timers are exact.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "lib/util.h"
#include "trace/gen_model.h"

#define DAY_S        86400.0
#define HOURS        24
#define SESSION_DAYS (1.0 / GEN_MINUTES) /* mean time between the calls of a session */
#define SESSION_MOST 0.1                 /* of the mean time between all calls */
#define DURATION_MU  -0.38               /* log-normal, seconds (figure 7) */
#define DURATION_SD  2.36
#define DURATION_MAX 36000.0
#define MEMORY_C     11.652 /* Burr XII, MB (figure 8) */
#define MEMORY_K     0.221
#define MEMORY_SCALE 107.083
#define SINGLE       0.54  /* apps of one function (figure 1) */
#define MORE         0.782 /* chance of one more: 95% of apps have at most 10 */
#define RENEWALS_MAX 20000 /* a day; busier apps are drawn by the minute */
#define PARTS_MAX    100u  /* a minute's calls go to functions in at most so many parts */

/* Invocations per app and day: 45% at most one an hour, 81% at most one a minute (figure 5). */
static const struct draw_point rates[] = {
    {0.00, 0.3},   {0.12, 1},   {0.23, 2},    {0.31, 5},     {0.37, 10},
    {0.45, 24},    {0.53, 100}, {0.66, 300},  {0.81, 1440},  {0.93, 10000},
    {0.97, 86400}, {0.99, 5e5}, {0.999, 9e6}, {1.00, 1.3e8},
};

/*
 * CV of the times between them: 20% are 0, 40% above 1 (figure 6). Apps with few
 * calls have them in sessions more often: the blocks of the published data show
 * as much by their cold starts under a keep-alive of 5 minutes.
 */
#define RARE 300 /* a day, at most */
static const struct draw_point rare_cvs[] = {
    {0.17, 0}, {0.30, 0.25}, {0.36, 0.5}, {0.44, 1}, {0.70, 2.2}, {0.90, 4}, {0.98, 10}, {1.00, 30},
};
static const struct draw_point busy_cvs[] = {
    {0.26, 0}, {0.46, 0.25}, {0.60, 0.5}, {0.72, 1}, {0.84, 2}, {0.95, 5}, {0.99, 20}, {1.00, 60},
};

/* The platform's load by hour of the day, mean 1 (14 days of totals). */
static const double load[HOURS] = {0.936, 0.919, 0.918, 0.914, 0.913, 0.947, 0.973, 1.007,
				   1.001, 1.006, 1.007, 1.010, 1.045, 1.088, 1.088, 1.071,
				   1.050, 1.071, 1.079, 1.035, 1.011, 0.999, 0.973, 0.940};

/* Periods that people set timers to, in minutes. */
static const double periods_min[] = {1, 2, 5, 10, 15, 20, 30, 60, 120, 240, 360, 720, 1440};

const struct gen_target gen_targets[] = {
    {"apps with at most 1 call an hour", 0.45, offsetof(struct gen_result, hourly), "figure 5"},
    {"apps with at most 1 call a minute", 0.81, offsetof(struct gen_result, minutely), "figure 5"},
    {"apps with regular calls (CV 0)", 0.20, offsetof(struct gen_result, regular), "figure 6"},
    {"apps with bursts (CV > 1)", 0.40, offsetof(struct gen_result, bursty), "figure 6"},
    {"apps of one function", SINGLE, offsetof(struct gen_result, single), "figure 1"},
    {"median execution time, s", 0.684, offsetof(struct gen_result, duration_p50_s), "figure 7"},
    {"90th percentile, s", 14.07, offsetof(struct gen_result, duration_p90_s), "figure 7"},
    {"median memory, MB", 139.5, offsetof(struct gen_result, memory_p50_mb), "figure 8"},
    {"90th percentile, MB", 261.8, offsetof(struct gen_result, memory_p90_mb), "figure 8"},
    {NULL},
};

static double nearest_period_s(double per_day)
{
	double want = DAY_S / per_day, best = periods_min[0] * 60;

	for (size_t i = 0; i < ARRAY_SIZE(periods_min); i++) {
		double p = periods_min[i] * 60;

		if (fabs(log(p / want)) < fabs(log(best / want)))
			best = p;
	}
	return best;
}

static double burr(struct draw *d)
{
	return MEMORY_SCALE * pow(pow(1 - draw_unit(d), -1 / MEMORY_K) - 1, 1 / MEMORY_C);
}

/*
 * Days to the next call. Sessions: a share `apart` of the times is long, so that
 * the CV would be right if those within a session were nothing.
 */
static double renewal(struct gen_app *a)
{
	double shape = 1 / (a->cv * a->cv), mean = 1 / a->per_day;
	double apart, within;

	if (a->cv <= 1)
		return draw_gamma(&a->draw, shape) / shape * mean;
	apart = 2 / (a->cv * a->cv + 1);
	within = fmin(SESSION_DAYS, SESSION_MOST * mean);
	if (draw_unit(&a->draw) < apart)
		mean = (mean - (1 - apart) * within) / apart;
	else
		mean = within;
	return -log(draw_unit(&a->draw)) * mean;
}

void gen_app_draw(struct gen_app *a, uint64_t id, const struct gen_options *o)
{
	*a = (struct gen_app){.draw = {o->seed * 0x9e3779b97f4a7c15 ^ id << 20}};
	a->id = draw_bits(&a->draw);
	do
		a->per_day = draw_table(&a->draw, rates, ARRAY_SIZE(rates));
	while (o->max_per_day > 0 && a->per_day > o->max_per_day);
	a->cv = a->per_day <= RARE ? draw_table(&a->draw, rare_cvs, ARRAY_SIZE(rare_cvs))
				   : draw_table(&a->draw, busy_cvs, ARRAY_SIZE(busy_cvs));
	if (a->cv < 0.01) {
		a->cv = 0;
		a->period_s = nearest_period_s(a->per_day);
		a->next = floor(draw_unit(&a->draw) * a->period_s / 60) * 60;
	} else {
		a->next = draw_unit(&a->draw) * renewal(a);
	}
	a->memory_mb = burr(&a->draw);
	a->functions = 1;
	if (draw_unit(&a->draw) > SINGLE)
		do
			a->functions++;
		while (a->functions < GEN_FUNCTIONS_MAX && draw_unit(&a->draw) < MORE);
	for (uint32_t f = 0; f < a->functions; f++)
		a->duration_s[f] =
		    fmin(DURATION_MAX, exp(DURATION_MU + DURATION_SD * draw_normal(&a->draw)));
}

/* Minute of the day at which a share of the day's load has passed. */
static uint32_t minute_of(double share)
{
	int h = 0;

	for (share *= HOURS; h < HOURS - 1 && share >= load[h]; h++)
		share -= load[h];
	return MIN(h * 60 + (uint32_t)(fmin(share / load[h], 1) * 60), GEN_MINUTES - 1u);
}

/* The app's first functions are called most. */
static uint32_t pick_function(struct gen_app *a)
{
	double u = draw_unit(&a->draw);

	return a->functions * u * u;
}

static void day_of_timer(struct gen_app *a, uint32_t day, uint32_t total[GEN_MINUTES])
{
	for (; a->next < (day + 1) * DAY_S; a->next += a->period_s)
		total[(uint32_t)((a->next - day * DAY_S) / 60)]++;
}

static void day_of_renewals(struct gen_app *a, uint32_t day, uint32_t total[GEN_MINUTES])
{
	for (; a->next < day + 1.0; a->next += renewal(a))
		total[minute_of(a->next - day)]++;
}

/* Too many to draw one by one: a rate per minute that varies with the app's CV. */
static void day_of_rates(struct gen_app *a, uint32_t total[GEN_MINUTES])
{
	double shape = 1 / (a->cv * a->cv);

	for (int m = 0; m < GEN_MINUTES; m++) {
		double mean = a->per_day / GEN_MINUTES * load[m / 60];

		if (a->cv > 1)
			mean *= draw_gamma(&a->draw, shape) / shape;
		total[m] = draw_poisson(&a->draw, mean);
	}
}

/* Times between arrivals, with those of a minute spread evenly over it. */
static void learn_intervals(struct gen_app *a, uint32_t day, const uint32_t total[GEN_MINUTES])
{
	for (int m = 0; m < GEN_MINUTES; m++) {
		double start_s = day * DAY_S + m * 60.0;
		double step_s = total[m] ? 60.0 / total[m] : 0;

		if (!total[m])
			continue;
		if (a->arrivals) {
			a->iat_sum += start_s - a->last_s;
			a->iat_sum2 += (start_s - a->last_s) * (start_s - a->last_s);
		}
		a->iat_sum += (total[m] - 1) * step_s;
		a->iat_sum2 += (total[m] - 1) * step_s * step_s;
		a->last_s = start_s + (total[m] - 1) * step_s;
		a->arrivals += total[m];
	}
}

double gen_app_cv(const struct gen_app *a)
{
	double n = a->arrivals - 1.0, mean = a->iat_sum / n;

	if (a->arrivals < 4)
		return -1;
	return sqrt(fmax(0, a->iat_sum2 / n - mean * mean)) / mean;
}

void gen_app_day(struct gen_app *a, uint32_t day, uint32_t counts[GEN_FUNCTIONS_MAX][GEN_MINUTES])
{
	uint32_t total[GEN_MINUTES] = {0};

	if (a->cv == 0)
		day_of_timer(a, day, total);
	else if (a->per_day <= RENEWALS_MAX)
		day_of_renewals(a, day, total);
	else
		day_of_rates(a, total);
	learn_intervals(a, day, total);
	memset(counts, 0, a->functions * sizeof(counts[0]));
	for (int m = 0; m < GEN_MINUTES; m++) {
		uint32_t left = total[m], parts = MIN(left, PARTS_MAX);

		for (; parts; parts--) {
			uint32_t n = left / parts;

			counts[pick_function(a)][m] += n;
			left -= n;
		}
	}
}
