/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Windows to tiers. Where a window says resident there is nothing to decide; each
 * gap between windows is cut into stretches that grow with the age, and the
 * cheapest path through the allowed tiers is found over them (tier.c).
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>

#include <hearth/ladder.h>
#include <hearth/tier.h>

#define PRIOR_IDLE_TIMES 2.0 /* weight of the prior's idle times among those seen */
#define PRIOR_SCALE_S    60.0
#define STRETCHES        128
#define STRETCH_MIN_S    1.0
#define STRETCH_GROWTH   0.15 /* of the age */
#define HORIZON_S        (7 * 86400.0)

const char *hearth_rung_name(enum hearth_rung r)
{
	static const char *const NAMES[HEARTH_RUNGS] = {"warm", "frozen", "reclaimed", "gone"};

	return r < HEARTH_RUNGS ? NAMES[r] : "?";
}

/* ---- how long idle times last */

/* Idle times seen that outlast an age; asked for ascending ages. */
struct seen {
	const struct hearth_hist *h;
	uint32_t bin;    /* next one to pass */
	uint64_t passed; /* in the bins before it */
};

static double seen_beyond(struct seen *s, double age_s)
{
	const struct hearth_hist *h = s->h;
	double range = h->nbins * h->bin_s, within;

	while (s->bin < h->nbins && (s->bin + 1) * h->bin_s <= age_s)
		s->passed += h->bins[s->bin++];
	if (s->bin >= h->nbins)
		return (double)h->oob * (age_s > range ? range / age_s : 1);
	within = age_s / h->bin_s - s->bin; /* spread evenly over the bin */
	return (double)(h->s1 - s->passed + h->oob) - within * h->bins[s->bin];
}

static double survival(struct seen *s, double age_s)
{
	double n = s->h->bins ? (double)(s->h->s1 + s->h->oob) : 0;
	double beyond = n > 0 ? seen_beyond(s, age_s) : 0;

	return (beyond + PRIOR_IDLE_TIMES * PRIOR_SCALE_S / (PRIOR_SCALE_S + age_s)) /
	       (n + PRIOR_IDLE_TIMES);
}

double hearth_survival(const struct hearth_hist *h, double age_s)
{
	struct seen s = {.h = h};

	return survival(&s, age_s);
}

/* ---- steps */

struct planner {
	const struct hearth_ladder *l;
	struct seen seen;
	enum hearth_rung top;
	struct hearth_tier tiers[HEARTH_RUNGS];
	struct hearth_rung_step *out;
	size_t n;
};

static void step(struct planner *p, double at_s, enum hearth_rung rung)
{
	if (p->n && p->out[p->n - 1].rung == rung)
		return;
	if (p->n && p->out[p->n - 1].at_s >= at_s) /* the earlier one would last no time */
		p->n--;
	if (p->n < HEARTH_LADDER_STEPS)
		p->out[p->n++] = (struct hearth_rung_step){at_s, rung};
}

static bool allowed(const struct hearth_ladder *l, enum hearth_rung r)
{
	return l->allowed & (1u << r);
}

static size_t cut(struct planner *p, double from_s, double to_s, struct hearth_stretch s[STRETCHES])
{
	double at = from_s, end = fmin(to_s, fmax(HORIZON_S, 2 * from_s)), next;
	double alive = survival(&p->seen, at), left;
	size_t n;

	for (n = 0; n < STRETCHES && at < end; n++) {
		next = fmin(at + fmax(STRETCH_MIN_S, STRETCH_GROWTH * at), end);
		left = survival(&p->seen, next);
		s[n] = (struct hearth_stretch){next - at, alive, alive - left};
		at = next;
		alive = left;
	}
	return n;
}

/*
 * What a move costs, in seconds of keeping the warm instance: the work of it, and
 * that of the way back if the idle time lasts until the next window.
 */
static void price_moves(const struct hearth_ladder *l, double back,
			double move[HEARTH_RUNGS][HEARTH_TIERS])
{
	double cpu = HEARTH_CPU_BYTES / l->bytes[HEARTH_WARM];
	double down[HEARTH_RUNGS] = {[HEARTH_RECLAIMED] = l->reclaim_s};
	double up[HEARTH_RUNGS] = {
	    [HEARTH_RECLAIMED] = l->restore_s, [HEARTH_GONE] = l->latency_s[HEARTH_GONE]};

	for (int i = 0; i < HEARTH_RUNGS; i++)
		for (int j = 0; j < HEARTH_RUNGS; j++)
			move[i][j] = j < i ? INFINITY : cpu * (down[j] + back * (up[j] - up[i]));
}

/* The cheapest path through the usable tiers, from the one it is in. back: it must return. */
static void plan_stretch(struct planner *p, double from_s, double to_s, unsigned int usable,
			 bool back)
{
	double move[HEARTH_RUNGS][HEARTH_TIERS], alive, at = from_s;
	unsigned char plan[STRETCHES], scratch[STRETCHES * HEARTH_RUNGS];
	struct hearth_tier tiers[HEARTH_RUNGS];
	struct hearth_stretch s[STRETCHES];
	struct seen end = {.h = p->seen.h};
	enum hearth_rung was = p->n ? p->out[p->n - 1].rung : p->top;
	size_t n;

	if (!(usable & (usable - 1))) /* no choice */
		return step(p, from_s, (enum hearth_rung)__builtin_ctz(usable));
	n = cut(p, from_s, to_s, s);
	if (!n)
		return;
	alive = s[0].survival;
	price_moves(p->l, back && alive > 0 ? survival(&end, to_s) / alive : 0, move);
	for (int r = 0; r < HEARTH_RUNGS; r++)
		tiers[r] = usable & (1u << r) ? p->tiers[r] : (struct hearth_tier){1e15, 1e15};
	hearth_tier_plan(tiers, HEARTH_RUNGS, (const double(*)[HEARTH_TIERS])move, was, s, n,
			 scratch, plan);
	for (size_t i = 0; i < n; at += s[i++].seconds)
		step(p, at, plan[i]);
}

/* Between two windows, the top tier is not for it. */
static void plan_gap(struct planner *p, double from_s, double to_s)
{
	plan_stretch(p, from_s, to_s, p->l->allowed & ~(1u << p->top), !isinf(to_s));
}

/* The window that the idle time begins in, if it is about being alive alone. */
static void plan_first(struct planner *p, double close_s)
{
	plan_stretch(p, 0, close_s, 1u << p->top | (p->l->allowed & 1u << HEARTH_RECLAIMED), false);
}

/* Resident for a window; if it was reclaimed before, it is made so ahead. */
static void plan_window(struct planner *p, double open_s)
{
	enum hearth_rung was = p->n ? p->out[p->n - 1].rung : p->top;
	double ahead = was == HEARTH_RECLAIMED ? p->l->restore_s
		       : was == HEARTH_GONE    ? p->l->latency_s[HEARTH_GONE]
					       : 0;
	double last = p->n ? p->out[p->n - 1].at_s : 0;

	if (was == HEARTH_RECLAIMED && allowed(p->l, HEARTH_FROZEN))
		step(p, fmax(open_s - ahead, last), HEARTH_FROZEN);
	else
		step(p, fmax(open_s - ahead, last), p->top);
}

/* Lines of the tiers. */
static int price_tiers(struct planner *p)
{
	const struct hearth_ladder *l = p->l;

	for (int r = 0; r < HEARTH_RUNGS; r++) {
		struct hearth_tier_measure m = {l->bytes[r], 0, l->latency_s[r]};
		int err = hearth_tier_cost(&m, l->bytes[HEARTH_WARM], 0, l->cold_cost_s,
					   l->latency_s[HEARTH_GONE], &p->tiers[r]);

		if (err)
			return err;
	}
	return 0;
}

static bool usable(const struct hearth_ladder *l)
{
	return (l->allowed & ((1u << HEARTH_RUNGS) - 1)) && l->restore_s >= 0 &&
	       isfinite(l->restore_s) && l->reclaim_s >= 0 && isfinite(l->reclaim_s);
}

int hearth_ladder_plan(const struct hearth_decision *d, const struct hearth_hist *h,
		       const struct hearth_ladder *l,
		       struct hearth_rung_step out[HEARTH_LADDER_STEPS])
{
	struct planner p = {.l = l, .seen = {.h = h}, .out = out};
	double idle_from = 0;
	int err;

	if (!usable(l))
		return -EINVAL;
	while (!allowed(l, p.top))
		p.top++;
	if (l->allowed == 1u << p.top) { /* nothing to step down to */
		step(&p, 0, p.top);
		return (int)p.n;
	}
	err = price_tiers(&p);
	if (err)
		return err;
	for (unsigned int i = 0; i < d->n; i++) {
		if (d->w[i].open_s > idle_from)
			plan_gap(&p, idle_from, d->w[i].open_s);
		if (l->alive && d->w[i].open_s <= 0 && !isinf(d->w[i].close_s))
			plan_first(&p, d->w[i].close_s);
		else
			plan_window(&p, d->w[i].open_s);
		idle_from = d->w[i].close_s;
	}
	if (!isinf(idle_from))
		plan_gap(&p, idle_from, INFINITY);
	return (int)p.n;
}

enum hearth_rung hearth_ladder_at(const struct hearth_rung_step *steps, size_t n, double age_s,
				  double *until_s)
{
	size_t i = 0;

	while (i + 1 < n && age_s >= steps[i + 1].at_s)
		i++;
	*until_s = i + 1 < n ? steps[i + 1].at_s : INFINITY;
	return steps[i].rung;
}
