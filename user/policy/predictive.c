/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hearth's own policy. A gap is the number of clock minutes from one arrival to
 * the next, because what repeats, repeats by the clock. The predictive
 * distribution of the next gap backs off in three steps, each a Pitman-Yor
 * smoothing of counts (discount: many distinct values announce more new ones):
 * gaps that followed a gap like the last one; all gaps of the function; all
 * gaps of a population (prior-*.csv, or the caller's). Theorem 2 (On Keep-alive Caching)
 * then says when to be loaded: where the hazard exceeds c_p / c_cs.
 *
 * State is a ring of the latest runs of equal gaps, so that old habits are
 * forgotten, with the counts of what is in it. A decision costs a pass over the
 * ring and over the minutes that the function has seen or that the population
 * alone could make worth it.
 */
#include <math.h>
#include <string.h>

#include <hearth/population.h>

#include "policy/def.h"
#include "policy/windows.h"

#define RUNS         256
#define RUN_MOST     255                  /* longer runs are split: counts stay below 2^16 */
#define BINS         HEARTH_PRIOR_MINUTES /* gap; gap BINS stands for longer */
#define BLOCK        32                   /* minutes looked at or skipped together */
#define BLOCKS       (BINS / BLOCK)
#define DISCOUNT     0.5
#define OWN_WEIGHT   0.5  /* gaps that the population counts as, against the function's own */
#define ORDER_WEIGHT 2.0  /* gaps that the function's own count as, against those in context */
#define UNFORESEEN   0.01 /* of any prediction; it may always be otherwise */
#define EPSILON_S    1e-6 /* times that are minutes up to rounding are minutes */

enum { COST, PRIOR, LOAD };
enum { BOTH, DAY, HOURS };

/* Tables of `hearth fit --prior`, from rows of the Azure Functions Trace 2019 (CC-BY 4.0;
 * Shahrad et al., Serverless in the Wild, USENIX ATC 2020), as rows {minute, p}. */
static const struct hearth_prior_cell day[] = {
#include "prior-day.inc"
};
static const struct hearth_prior_cell hours[] = {
#include "prior-hours.inc"
};
static const struct hearth_prior_cell both[] = {
#include "prior-both.inc"
};

static const struct policy_param params[] = {
    [COST] = {"cost", PARAM_COLD_COST, .min = POLICY_MIN_COST_S, .max = POLICY_MAX_S},
    [PRIOR] = {"prior", PARAM_CHOICE,
	       .choices = (const char *const[]){"both", "day", "hours", NULL}},
    [LOAD] = {"load", PARAM_DURATION, .fallback = 1, .max = 3600},
    {},
};

struct run {
	uint16_t gap;
	uint16_t times;
};

struct predictive_state {
	double last_s;     /* the last arrival */
	double idle_s;     /* when its busy span ended */
	uint32_t runs;     /* ever begun; the ring holds the latest */
	uint32_t seen;     /* an arrival */
	uint32_t gaps;     /* in the ring */
	uint32_t distinct; /* among them */
	struct run ring[RUNS];
	uint16_t count[BINS + 1];      /* of each gap in the ring */
	uint32_t occupied[BLOCKS + 1]; /* bit per gap with a count */
};

struct predictive_aux {
	float p[BINS];           /* population: probability of a gap */
	float longer[BINS + 1];  /* of this gap or a longer one */
	float most[BLOCKS];      /* p * cost - longer, what a loaded minute saves, over a block */
	uint32_t worthy[BLOCKS]; /* bit per minute that saves anything */
};

/* The function's own part of the distribution; `escape` is the population's share. */
struct own {
	uint32_t follows[BLOCKS + 1]; /* bit per gap in `after`; the others are not filled in */
	uint16_t after[BINS + 1];     /* counts of the gaps that came after one like the last */
	double scale, after_scale, after_escape, escape;
};

static void read_prior(struct predictive_aux *aux, double cost_min,
		       const struct hearth_prior_cell cells[], size_t n)
{
	double sum = 0;

	*aux = (struct predictive_aux){0};
	for (size_t c = 0; c < n; c++) {
		int to = c + 1 < n ? cells[c + 1].minute : BINS;

		for (int b = cells[c].minute; b < to; b++)
			aux->p[b] = cells[c].p / (to - cells[c].minute);
		sum += cells[c].p;
	}
	aux->longer[BINS] = fmax(0, 1 - sum);
	for (int b = BINS; b-- > 0;) {
		double worth;

		aux->longer[b] = aux->longer[b + 1] + aux->p[b];
		worth = aux->p[b] * cost_min - aux->longer[b];
		aux->most[b / BLOCK] = fmax(aux->most[b / BLOCK], worth);
		if (worth > 0)
			aux->worthy[b / BLOCK] |= 1u << b % BLOCK;
	}
}

static void prepare(const struct hearth_policy *p)
{
	static const struct {
		const struct hearth_prior_cell *cells;
		size_t n;
	} priors[] = {
	    [BOTH] = {both, sizeof(both) / sizeof(both[0])},
	    [DAY] = {day, sizeof(day) / sizeof(day[0])},
	    [HOURS] = {hours, sizeof(hours) / sizeof(hours[0])},
	};
	int which = p->v[PRIOR];

	read_prior(p->aux, p->v[COST] / 60, priors[which].cells, priors[which].n);
}

const struct hearth_prior_cell *hearth_policy_prior(size_t *n)
{
	*n = sizeof(both) / sizeof(both[0]);
	return both;
}

static void set_prior(const struct hearth_policy *p, const struct hearth_prior_cell cells[],
		      size_t n)
{
	if (p->v[PRIOR] == BOTH)
		read_prior(p->aux, p->v[COST] / 60, cells, n);
}

static void forget(struct predictive_state *s, const struct run *run)
{
	s->gaps -= run->times;
	s->count[run->gap] -= run->times;
	if (s->count[run->gap])
		return;
	s->distinct--;
	s->occupied[run->gap / BLOCK] &= ~(1u << run->gap % BLOCK);
}

static void push(struct predictive_state *s, unsigned int gap)
{
	struct run *latest = &s->ring[(s->runs - 1) % RUNS], *next = &s->ring[s->runs % RUNS];

	if (s->runs && latest->gap == gap && latest->times < RUN_MOST) {
		latest->times++;
	} else {
		if (s->runs >= RUNS)
			forget(s, next);
		*next = (struct run){gap, 1};
		s->runs++;
	}
	s->gaps++;
	s->distinct += !s->count[gap]++;
	s->occupied[gap / BLOCK] |= 1u << gap % BLOCK;
}

static void observe(const struct hearth_policy *p, void *state, const struct hearth_arrival *a)
{
	struct predictive_state *s = state;
	double gap = hearth_clock_minute(a->t_s) - hearth_clock_minute(s->last_s);

	(void)p;
	if (s->seen && gap >= 0) /* a clock that was set back teaches nothing */
		push(s, fmin(gap, BINS));
	s->seen = 1;
	s->last_s = s->idle_s = a->t_s;
}

static void idle(const struct hearth_policy *p, void *state, double t_s)
{
	struct predictive_state *s = state;

	(void)p;
	s->idle_s = fmax(s->last_s, t_s);
}

static bool bit(const uint32_t *bits, unsigned int gap)
{
	return bits[gap / BLOCK] >> gap % BLOCK & 1;
}

/* Count the gaps that came after one like the last; how many, and how many distinct. */
static unsigned int count_after(const struct predictive_state *s, struct own *own,
				unsigned int *distinct)
{
	unsigned int n = s->runs < RUNS ? s->runs : RUNS, before = BINS + 1, sum = 0;
	unsigned int last = n ? s->ring[(s->runs - 1) % RUNS].gap : BINS + 1;

	*distinct = 0;
	memset(own->follows, 0, sizeof(own->follows));
	for (uint32_t i = s->runs - n; i != s->runs; i++) {
		const struct run *run = &s->ring[i % RUNS];
		unsigned int times = before == last;

		before = run->gap;
		if (before == last)
			times += run->times - 1;
		if (!times)
			continue;
		if (!bit(own->follows, before)) {
			own->follows[before / BLOCK] |= 1u << before % BLOCK;
			own->after[before] = 0;
			++*distinct;
		}
		own->after[before] += times;
		sum += times;
	}
	return sum;
}

static void weigh(const struct predictive_state *s, struct own *own)
{
	unsigned int distinct, after = count_after(s, own, &distinct);
	double escape;

	own->scale = 1 / (s->gaps + OWN_WEIGHT);
	escape = (OWN_WEIGHT + DISCOUNT * s->distinct) * own->scale;
	own->after_scale = (1 - UNFORESEEN) / (after + ORDER_WEIGHT);
	own->after_escape = (ORDER_WEIGHT + DISCOUNT * distinct) * own->after_scale;
	own->escape = own->after_escape * escape + UNFORESEEN;
}

static double own_probability(const struct predictive_state *s, const struct own *own,
			      unsigned int gap)
{
	double p = 0;

	if (s->count[gap])
		p += (s->count[gap] - DISCOUNT) * own->scale * own->after_escape;
	if (bit(own->follows, gap))
		p += (own->after[gap] - DISCOUNT) * own->after_scale;
	return p;
}

/* Minutes of a block that may be worth it: seen, or promising in the population. */
static uint32_t candidates(const struct predictive_aux *aux, const struct predictive_state *s,
			   double escape, double own_longer, int block)
{
	uint32_t bits = s->occupied[block] | (block == 0);

	if (bits || aux->most[block] * escape > own_longer)
		bits |= aux->worthy[block];
	return bits;
}

static void decide_minutes(const struct hearth_policy *p, const struct predictive_state *s,
			   const struct own *own, struct windows *windows)
{
	const struct predictive_aux *aux = p->aux;
	double cost_min = p->v[COST] / 60, load_min = p->v[LOAD] / 60;
	double began_s = 60 * hearth_clock_minute(s->last_s);
	double minute_s = began_s - s->idle_s - EPSILON_S; /* counted from the idle time's start */
	double rest_min = 1 - (s->last_s - began_s) / 60;  /* of the arrival's own minute */
	double own_longer = 1 - own->escape;               /* own gaps of at least b minutes */

	for (int i = 0; i < BLOCKS; i++) {
		uint32_t bits = candidates(aux, s, own->escape, own_longer, i);

		for (; bits; bits &= bits - 1) {
			unsigned int b = i * BLOCK + __builtin_ctz(bits);
			double own_p = own_probability(s, own, b);
			double from_s = minute_s + 60.0 * b, to_s = minute_s + 60.0 * (b + 1);
			double longer = own_longer + own->escape * aux->longer[b];
			double gain = (own_p + own->escape * aux->p[b]) * cost_min -
				      longer * (b ? 1 : rest_min);

			own_longer -= own_p;
			if (gain > 0 && to_s > EPSILON_S)
				windows_add(windows, from_s > 0 ? from_s : 0, to_s, gain,
					    load_min * longer);
		}
	}
}

static void decide(const struct hearth_policy *p, void *state, const struct hearth_hist *hist,
		   struct hearth_decision *out)
{
	const struct predictive_state *s = state;
	struct windows windows;
	struct own own;

	(void)hist;
	weigh(s, &own);
	windows_init(&windows, out);
	decide_minutes(p, s, &own, &windows);
	windows_done(&windows);
	out->reason = s->runs ? "loaded while the next arrival is likely enough"
			      : "no gap seen yet: as likely as in the population";
}

const struct policy_def policy_predictive = {
    .params = params,
    .state_size = sizeof(struct predictive_state),
    .aux_size = sizeof(struct predictive_aux),
    .prepare = prepare,
    .set_prior = set_prior,
    .observe = observe,
    .idle = idle,
    .decide = decide,
};
