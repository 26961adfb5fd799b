/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the gaps of functions to a prior; see population.h. */
#include <hearth/population.h>

#define LONGER        HEARTH_PRIOR_MINUTES
#define HALF_LIFE_S   (7 * 24 * 3600.0) /* of a silent function's weight */
#define FULL_S        (24 * 3600.0)     /* the longest wait that a prior tells apart */
#define AT_RISK_LEAST 1e-9              /* what rounding leaves of nothing is nothing */

void hearth_gaps_arrive(struct hearth_gaps *g, double t_s)
{
	double gap = hearth_clock_minute(t_s) - hearth_clock_minute(g->last_s);

	if (!isfinite(t_s))
		return;
	if (!g->waiting && !g->n && g->first_s == 0)
		g->first_s = t_s;
	if (g->waiting && gap >= 0) /* a clock that was set back teaches nothing */
		g->minutes[g->n++ % HEARTH_GAPS] = (uint16_t)fmin(gap, LONGER);
	g->waiting = true;
	g->last_s = t_s;
}

unsigned int hearth_gaps_held(const struct hearth_gaps *g)
{
	return g->n < HEARTH_GAPS ? g->n : HEARTH_GAPS;
}

unsigned int hearth_gaps_at(const struct hearth_gaps *g, unsigned int i)
{
	return g->minutes[(g->n - hearth_gaps_held(g) + i) % HEARTH_GAPS];
}

/* n arrivals, spread over their minute; the last one's time. */
static double teach_minute(const struct hearth_policy *policy, void *state, double minute_s,
			   unsigned int n, double last_s)
{
	for (unsigned int i = 0; i < n; i++) {
		double t_s = minute_s + 60.0 * i / n, gap_s = isnan(last_s) ? -1 : t_s - last_s;
		struct hearth_arrival a = {.t_s = t_s, .idle_s = gap_s, .iat_s = gap_s};

		hearth_policy_observe(policy, state, &a);
		last_s = t_s;
	}
	return last_s;
}

void hearth_gaps_teach(const struct hearth_gaps *g, const struct hearth_policy *policy, void *state)
{
	unsigned int held = hearth_gaps_held(g), n = 1;
	double minute_s = 60 * hearth_clock_minute(g->last_s), last_s = NAN;

	if (!held && !g->waiting) /* a lone arrival is taught too */
		return;
	for (unsigned int i = 0; i < held; i++)
		minute_s -= 60.0 * hearth_gaps_at(g, i);
	for (unsigned int i = 0; i < held; i++) {
		unsigned int gap = hearth_gaps_at(g, i);

		if (!gap) {
			n++;
			continue;
		}
		last_s = teach_minute(policy, state, minute_s, n, last_s);
		minute_s += 60.0 * gap;
		n = 1;
	}
	teach_minute(policy, state, minute_s, n, last_s);
}

void hearth_population_wait(struct hearth_population *p, double minutes, bool ended, double weight)
{
	int b = (int)fmin(fmax(minutes, 0), LONGER);

	if (ended)
		p->ended[b] += weight;
	else
		p->cut[b] += weight;
}

void hearth_population_prior_add(struct hearth_population *p,
				 const struct hearth_prior_cell cells[], size_t n, double weight)
{
	double sum = 0;

	for (size_t c = 0; c < n; c++) {
		int to = c + 1 < n ? cells[c + 1].minute : LONGER;

		for (int b = cells[c].minute; b < to; b++)
			p->ended[b] += weight * cells[c].p / (to - cells[c].minute);
		sum += cells[c].p;
	}
	p->cut[LONGER] += weight * fmax(0, 1 - sum);
}

void hearth_population_add(struct hearth_population *p, const struct hearth_gaps *g, double now_s)
{
	unsigned int held = hearth_gaps_held(g), n = held + g->waiting;
	double known = fmin(1, fmax(0, now_s - g->first_s) / FULL_S);
	double silent_s = fmax(0, now_s - g->last_s);
	double weight = n ? known * exp(-M_LN2 * silent_s / HALF_LIFE_S) / n : 0;

	if (!isfinite(weight))
		return;
	for (unsigned int i = 0; i < held; i++)
		hearth_population_wait(p, hearth_gaps_at(g, i), true, weight);
	if (g->waiting)
		hearth_population_wait(
		    p, hearth_clock_minute(now_s) - hearth_clock_minute(g->last_s), false, weight);
}

/* Cells are single minutes where timers fire, and what lies between them. */
static bool fires(int minute)
{
	return minute <= 30 || (minute <= 120 && minute % 5 == 0) ||
	       (minute <= 480 && minute % 30 == 0) || minute % 60 == 0;
}

size_t hearth_population_estimate(const struct hearth_population *p,
				  struct hearth_prior_cell cells[])
{
	double at_risk = 0, survival = 1;
	size_t n = 0;

	for (int b = 0; b <= LONGER; b++)
		at_risk += p->ended[b] + p->cut[b];
	for (int b = 0; b < LONGER; b++) {
		double hazard = at_risk > AT_RISK_LEAST ? fmin(1, p->ended[b] / at_risk) : 0;

		if (fires(b) || fires(b - 1))
			cells[n++] = (struct hearth_prior_cell){.minute = (uint16_t)b};
		cells[n - 1].p += (float)(survival * hazard);
		survival *= 1 - hazard;
		at_risk -= p->ended[b] + p->cut[b];
	}
	return n;
}
