/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <math.h>
#include <string.h>

#include "policy/outlook.h"

#define RUNS         OUTLOOK_RUNS
#define BINS         OUTLOOK_BINS
#define BLOCK        OUTLOOK_BLOCK
#define RUN_MOST     255 /* longer runs are split: counts stay below 2^16 */
#define DISCOUNT     0.5f
#define OWN_WEIGHT   0.5f  /* gaps that the population counts as, against the function's own */
#define ORDER_WEIGHT 2.0f  /* gaps that the function's own count as, against those in context */
#define UNFORESEEN   0.01f /* of any prediction; it may always be otherwise */
#define FADE_AT      4096  /* trials, then they count half: about three days of minutes */
#define MORE_FADE_AT 256
#define LAG_WEIGHT   1.5f /* trials that the expectation of a lag counts as */
#define AGE_WEIGHT   2.0f
#define AGE_LEAST    0.002f /* hazard that is expected at any age */
#define MORE_WEIGHT  2.0f
#define BACK_BITS    (64 * OUTLOOK_BACK)
#define LIKELIEST    0.9999f
#define DULL_MINUTES 10   /* that share a hazard */
#define DULL_STRETCH 0.3f /* in a population that says much the same of them */
#define MOST_ODDS    1e5f
#define RATE_EVENTS  0.3f /* and this many arrivals in so many minutes, before any is seen */
#define RATE_MINUTES 3.0f

static const uint16_t lag_minutes[OUTLOOK_LAGS] = {3, 5, 10, 15, 20, 30, 60, 120};
static const uint16_t age_last[OUTLOOK_AGES] = {
    1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, UINT16_MAX};
/* A lag's chance by whether there was an arrival that long ago (1) and twice that long ago (2);
 * without both, it is a share of the function's rate. */
static const float lag_expected[4] = {0, 0.2f, 0.1f, 0.5f};
#define LAG_NONE 0.8f

/* log x of a normal x > 0 to 1e-4: logf is what a decision would mostly wait for. */
static inline float rough_log(float x)
{
	uint32_t bits;
	float m;
	int e;

	memcpy(&bits, &x, sizeof(bits));
	e = (int)(bits >> 23) - 127;
	bits = (bits & 0x7fffff) | 0x3f800000;
	memcpy(&m, &bits, sizeof(m));
	m -= 1;
	return 0.69314718f * e +
	       m * (0.9992354f +
		    m * (-0.4902307f + m * (0.2852799f + m * (-0.1315791f + m * 0.0304484f))));
}

/* The logit of yes / (yes + no). */
static inline float stretch(float yes, float no)
{
	float odds = yes > no * MOST_ODDS ? MOST_ODDS : yes / no;

	return rough_log(odds > 1 / MOST_ODDS ? odds : 1 / MOST_ODDS);
}

/* FNV-1a over the chances. */
static uint32_t mark_of(const struct outlook_prior *prior)
{
	const unsigned char *at = (const unsigned char *)prior->p;
	uint32_t mark = 2166136261;

	for (size_t i = 0; i < sizeof(prior->p); i++)
		mark = (mark ^ at[i]) * 16777619;
	return mark;
}

void outlook_prior_read(struct outlook_prior *prior, const struct hearth_prior_cell cells[],
			size_t n)
{
	double sum = 0, same = 0, rest;

	*prior = (struct outlook_prior){0};
	for (size_t c = 0; c < n; c++) {
		int to = c + 1 < n ? cells[c + 1].minute : BINS;

		for (int b = cells[c].minute; b < to; b++)
			prior->p[b] = cells[c].p / (to - cells[c].minute);
		sum += cells[c].p;
	}
	same = prior->p[0];
	rest = fmax(1 - same, 1e-9);
	prior->same = same;
	prior->p[0] = 0;
	prior->longer[BINS] = fmax(0, 1 - sum) / rest;
	for (int b = BINS; b-- > 0;) {
		prior->p[b] /= rest;
		prior->longer[b] = prior->longer[b + 1] + prior->p[b];
		prior->stretched[b] = stretch(prior->p[b], prior->longer[b + 1]);
	}
	prior->mark = mark_of(prior);
}

static void tally(struct outlook_tally *t, unsigned int tried, unsigned int hits, unsigned int most)
{
	t->tried += tried;
	t->hits += hits;
	if (t->tried >= most) {
		t->tried /= 2;
		t->hits /= 2;
	}
}

/* ---- learning */

static void push_gap(struct outlook *o, unsigned int gap)
{
	struct outlook_run *latest = &o->ring[(o->runs - 1) % RUNS];
	struct outlook_run *next = &o->ring[o->runs % RUNS];

	if (o->runs && latest->gap == gap && latest->times < RUN_MOST) {
		latest->times++;
	} else {
		if (o->runs >= RUNS) {
			o->gaps -= next->times;
			o->count[next->gap] -= next->times;
			o->distinct -= !o->count[next->gap];
		}
		*next = (struct outlook_run){gap, 1};
		o->runs++;
	}
	o->gaps++;
	o->distinct += !o->count[gap]++;
}

static bool was_active(const struct outlook *o, int minutes_before)
{
	return minutes_before >= 0 && o->back[minutes_before / 64] >> minutes_before % 64 & 1;
}

static unsigned int lag_context(const struct outlook *o, int lag, int minute)
{
	return was_active(o, lag - minute) | was_active(o, 2 * lag - minute) << 1;
}

/* The minutes up to and with the next arrival, `gap` after the last; hit: there was one. */
static void try_lags(struct outlook *o, unsigned int gap, bool hit)
{
	for (int i = 0; i < OUTLOOK_LAGS; i++) {
		unsigned int lag = lag_minutes[i], near = fmin(gap, 2 * lag);
		unsigned int from = o->watched + 1 < lag ? lag - (unsigned int)o->watched : 1;

		for (unsigned int b = from; b <= near; b++)
			tally(&o->lags[i][lag_context(o, lag, b)], 1, hit && b == gap, FADE_AT);
		if (gap > near)
			tally(&o->lags[i][0], gap - near, hit, FADE_AT);
	}
}

static void try_ages(struct outlook *o, unsigned int gap, bool hit)
{
	unsigned int from = 0;

	for (int i = 0; from < gap; i++) {
		unsigned int to = fmin(gap, age_last[i]);

		tally(&o->ages[i], to - from, hit && to == gap, FADE_AT);
		from = to;
	}
}

static void shift_back(struct outlook *o, unsigned int gap)
{
	uint64_t old[OUTLOOK_BACK];
	unsigned int words = gap / 64, bits = gap % 64;

	memcpy(old, o->back, sizeof(old));
	for (unsigned int i = OUTLOOK_BACK; i-- > 0;) {
		uint64_t low = i >= words ? old[i - words] : 0;
		uint64_t lower = i > words ? old[i - words - 1] : 0;

		o->back[i] = bits ? low << bits | lower >> (64 - bits) : low;
	}
}

static struct outlook_tally *more_of(struct outlook *o)
{
	return &o->more[(o->calls < 3 ? o->calls : 3) - 1 + (o->before > 1 ? 3 : 0)];
}

void outlook_arrive(struct outlook *o, double minute)
{
	double gap = minute - o->minute;
	unsigned int known = fmin(gap, BINS);

	if (o->active && gap == 0) {
		tally(more_of(o), 1, 1, MORE_FADE_AT);
		o->calls++;
		return;
	}
	if (o->active && gap > 0) { /* a clock that was set back teaches nothing */
		tally(more_of(o), 1, 0, MORE_FADE_AT);
		try_lags(o, known, known < BINS);
		try_ages(o, known, known < BINS);
		push_gap(o, known);
		shift_back(o, known);
		o->watched += known;
		o->arrived++;
		if (o->watched > FADE_AT) {
			o->watched /= 2;
			o->arrived /= 2;
		}
	}
	if (!o->active || gap > 0) {
		o->before = o->calls;
		o->calls = 1;
		o->active++;
		o->back[0] |= 1;
	}
	o->minute = minute;
}

/* ---- foretelling */

double outlook_same_minute(const struct outlook *o, const struct outlook_prior *prior)
{
	const struct outlook_tally *t;
	double tried = 0, hits = 0, p;

	if (!o->active)
		return prior->same;
	for (int i = 0; i < OUTLOOK_MORE; i++) {
		tried += o->more[i].tried;
		hits += o->more[i].hits;
	}
	p = (hits + OWN_WEIGHT * prior->same) / (tried + OWN_WEIGHT);
	t = more_of((struct outlook *)o);
	return (t->hits + MORE_WEIGHT * p) / (t->tried + MORE_WEIGHT);
}

static bool bit(const uint32_t *bits, unsigned int gap)
{
	return bits[gap / BLOCK] >> gap % BLOCK & 1;
}

/* Count the gaps that came after one like the last; how many, and how many distinct. */
static unsigned int count_after(struct outlook_walk *w, unsigned int *distinct)
{
	const struct outlook *o = w->o;
	unsigned int n = o->runs < RUNS ? o->runs : RUNS, before = BINS + 1, sum = 0;
	unsigned int last = n ? o->ring[(o->runs - 1) % RUNS].gap : BINS + 1;

	*distinct = 0;
	memset(w->follows, 0, sizeof(w->follows));
	for (uint32_t i = o->runs - n; i != o->runs; i++) {
		const struct outlook_run *run = &o->ring[i % RUNS];
		unsigned int times = before == last;

		before = run->gap;
		if (before == last)
			times += run->times - 1;
		if (!times)
			continue;
		if (!bit(w->follows, before)) {
			w->follows[before / BLOCK] |= 1u << before % BLOCK;
			w->after[before] = 0;
			++*distinct;
		}
		w->after[before] += times;
		sum += times;
	}
	return sum;
}

static inline float tally_stretch(const struct outlook_tally *t, float expected, float weight)
{
	return stretch(t->hits + weight * expected, t->tried - t->hits + weight * (1 - expected));
}

static void weigh_lags(struct outlook_walk *w)
{
	const struct outlook *o = w->o;
	float rate = (o->arrived + 1) / (o->watched + 2);

	for (int i = 0; i < OUTLOOK_LAGS; i++) {
		for (int c = 0; c < 4; c++) {
			float expected = c ? lag_expected[c] : LAG_NONE * rate;

			w->lags[i][c] = tally_stretch(&o->lags[i][c], expected, LAG_WEIGHT);
		}
	}
}

static uint64_t reversed(uint64_t x)
{
	x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
	x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
	x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
	return __builtin_bswap64(x);
}

static unsigned int context_of(unsigned int gaps)
{
	return gaps == 0 ? 0 : gaps < 3 ? 1 : gaps < 8 ? 2 : gaps < 30 ? 3 : 4;
}

void outlook_walk(struct outlook_walk *w, const struct outlook *o,
		  const struct outlook_prior *prior)
{
	unsigned int distinct, after;
	float escape;

	w->o = o;
	w->prior = prior;
	w->minute = 1;
	w->age = 0;
	w->dull = 0;
	w->context = context_of(o->active - 1);
	after = count_after(w, &distinct);
	w->scale = 1 / (o->gaps + OWN_WEIGHT);
	escape = (OWN_WEIGHT + DISCOUNT * o->distinct) * w->scale;
	w->after_scale = (1 - UNFORESEEN) / (after + ORDER_WEIGHT);
	w->after_escape = (ORDER_WEIGHT + DISCOUNT * distinct) * w->after_scale;
	w->escape = w->after_escape * escape + UNFORESEEN;
	w->own_longer = 1 - w->escape;
	weigh_lags(w);
	for (int i = 0; i < OUTLOOK_BACK; i++)
		w->ahead[OUTLOOK_BACK - 1 - i] = reversed(o->back[i]);
	w->ahead[OUTLOOK_BACK] = w->ahead[OUTLOOK_BACK + 1] = 0;
}

static inline float own_probability(const struct outlook_walk *w, unsigned int gap)
{
	float p = 0;

	if (w->o->count[gap])
		p += (w->o->count[gap] - DISCOUNT) * w->scale * w->after_escape;
	if (bit(w->follows, gap))
		p += (w->after[gap] - DISCOUNT) * w->after_scale;
	return p;
}

/* 64 bits from bit `from` on; what is not kept is 0. */
static uint64_t bits_from(const uint64_t words[OUTLOOK_BACK + 2], unsigned int from)
{
	unsigned int word = from / 64, shift = from % 64;
	uint64_t low, high;

	if (word >= OUTLOOK_BACK)
		return 0;
	low = words[word];
	high = words[word + 1];
	return shift ? low >> shift | high << (64 - shift) : low;
}

static void look_ahead(struct outlook_walk *w)
{
	w->told = 0;
	for (int i = 0; i < OUTLOOK_LAGS; i++) {
		w->once[i] = bits_from(w->ahead, BACK_BITS - 1 - lag_minutes[i] + w->minute);
		w->twice[i] = bits_from(w->ahead, BACK_BITS - 1 - 2 * lag_minutes[i] + w->minute);
		w->told |= w->once[i] | w->twice[i];
	}
}

static inline bool next_features(struct outlook_walk *w, float f[OUTLOOK_FEATURES])
{
	const struct outlook *o = w->o;
	const struct outlook_prior *prior = w->prior;
	unsigned int b = w->minute, bit_of = (b - 1) % 64;
	float own, p, hazard;

	if (b >= BINS)
		return false;
	if (bit_of == 0)
		look_ahead(w);
	w->minute++;
	own = own_probability(w, b);
	w->own_longer = own < w->own_longer ? w->own_longer - own : 0;
	p = own + w->escape * prior->p[b];
	hazard = prior->longer[b] > 0 ? prior->p[b] / prior->longer[b] : 0;
	w->age += b > age_last[w->age];
	f[0] = 1;
	f[1] = stretch(p, w->own_longer + w->escape * prior->longer[b + 1]);
	f[2] = prior->stretched[b];
	f[3] = stretch(o->arrived + RATE_EVENTS,
		       o->watched + b + RATE_MINUTES - o->arrived - RATE_EVENTS);
	f[4] = tally_stretch(&o->ages[w->age], hazard > AGE_LEAST ? hazard : AGE_LEAST, AGE_WEIGHT);
#pragma GCC unroll 8
	for (int i = 0; i < OUTLOOK_LAGS; i++)
		f[5 + i] =
		    w->lags[i][(w->once[i] >> bit_of & 1) | (w->twice[i] >> bit_of & 1) << 1];
	return true;
}

bool outlook_next(struct outlook_walk *w, float f[OUTLOOK_FEATURES])
{
	return next_features(w, f);
}

/* Neither the function's gaps nor a lag speak of it. Whether one does is known 64 minutes ahead. */
static inline bool is_dull(const struct outlook_walk *w, unsigned int b)
{
	return b < BINS && (b - 1) % 64 && !(w->told >> (b - 1) % 64 & 1) && !w->o->count[b];
}

float outlook_hazard(struct outlook_walk *w, const struct outlook_weights *weights)
{
	const float *k = weights->w[w->context];
	float f[OUTLOOK_FEATURES], sum[4] = {0}, hazard;
	unsigned int b = w->minute;
	bool dull = is_dull(w, b);

	if (dull && w->dull && b < w->dull + DULL_MINUTES &&
	    fabsf(w->prior->stretched[b] - w->prior->stretched[w->dull]) < DULL_STRETCH) {
		w->minute++;
		w->age += b > age_last[w->age];
		return w->dull_hazard;
	}
	if (!next_features(w, f))
		return -1;
#pragma GCC unroll 16
	for (int i = 0; i < OUTLOOK_FEATURES; i++) /* four sums: none waits for the one before */
		sum[i % 4] += k[i] * f[i];
	hazard = 1 / (1 + expf(-(sum[0] + sum[1] + sum[2] + sum[3])));
	hazard = hazard < LIKELIEST ? hazard : LIKELIEST;
	if (dull) {
		w->dull = b;
		w->dull_hazard = hazard;
	}
	return hazard;
}
