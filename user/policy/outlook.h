/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `predictive` keeps of a function, and what it says about each minute to
 * come: features for a hazard, minute by minute from the last arrival on.
 * Learning and features know clock minutes alone; what to weigh them with is
 * the caller's. State is bounded and old habits fade.
 */
#ifndef HEARTH_POLICY_OUTLOOK_H
#define HEARTH_POLICY_OUTLOOK_H

#include <hearth/policy.h>

#define OUTLOOK_RUNS     256
#define OUTLOOK_BINS     HEARTH_PRIOR_MINUTES /* gap; this many stands for longer */
#define OUTLOOK_BLOCK    32                   /* gaps per word of bits */
#define OUTLOOK_BLOCKS   (OUTLOOK_BINS / OUTLOOK_BLOCK)
#define OUTLOOK_LAGS     8
#define OUTLOOK_BACK     4 /* words of the minutes behind the last one */
#define OUTLOOK_AGES     20
#define OUTLOOK_MORE     6
#define OUTLOOK_FEATURES (5 + OUTLOOK_LAGS)
#define OUTLOOK_CONTEXTS 5 /* by how much is known of the function */

struct outlook_weights {
	float w[OUTLOOK_CONTEXTS][OUTLOOK_FEATURES];
};

/* The population, from a prior; of gaps of at least a minute. */
struct outlook_prior {
	uint32_t mark;                  /* differs between tables that differ */
	float same;                     /* probability of another arrival in the same minute */
	float p[OUTLOOK_BINS];          /* of this gap */
	float longer[OUTLOOK_BINS + 1]; /* of this gap or a longer one */
	float stretched[OUTLOOK_BINS];  /* the hazard, as a feature */
};

struct outlook_run {
	uint16_t gap;
	uint16_t times;
};

struct outlook_tally {
	uint16_t tried;
	uint16_t hits;
};

struct outlook {
	double minute; /* the last with an arrival */
	uint32_t runs; /* ever begun; the ring holds the latest */
	uint32_t gaps; /* in the ring */
	uint32_t distinct;
	uint32_t active;             /* minutes with an arrival */
	uint32_t calls;              /* in the last minute */
	uint32_t before;             /* in the one before */
	float watched;               /* minutes from the first to the last, fading */
	float arrived;               /* those with an arrival, but the first; fading alike */
	uint64_t back[OUTLOOK_BACK]; /* bit i: an arrival i minutes before the last */
	struct outlook_tally more[OUTLOOK_MORE]; /* another arrival in the same minute? */
	struct outlook_tally lags[OUTLOOK_LAGS][4];
	struct outlook_tally ages[OUTLOOK_AGES];
	struct outlook_run ring[OUTLOOK_RUNS];
	uint16_t count[OUTLOOK_BINS + 1]; /* of each gap in the ring */
};

void outlook_prior_read(struct outlook_prior *prior, const struct hearth_prior_cell cells[],
			size_t n);

/* An arrival in clock minute `minute`. */
void outlook_arrive(struct outlook *o, double minute);

/* Of another arrival in the same minute. */
double outlook_same_minute(const struct outlook *o, const struct outlook_prior *prior);

/* Walks the minutes after the last one. */
struct outlook_walk {
	const struct outlook *o;
	const struct outlook_prior *prior;
	unsigned int minute; /* after the last: the next to be looked at, from 1 */
	unsigned int context;
	unsigned int age;
	float own_longer, scale, after_scale, after_escape, escape;
	float lags[OUTLOOK_LAGS][4];
	uint64_t told;     /* a bit per minute of 64: some lag speaks of it */
	unsigned int dull; /* the last dull minute that was worked out; 0: none */
	float dull_hazard;
	uint64_t
	    ahead[OUTLOOK_BACK + 2];  /* o->back the other way round: bit i is minute i - BITS */
	uint64_t once[OUTLOOK_LAGS];  /* a bit per minute of 64: an arrival a lag before it */
	uint64_t twice[OUTLOOK_LAGS]; /* and two lags before it */
	uint32_t follows[OUTLOOK_BLOCKS + 1]; /* bit per gap in `after`; others are not filled in */
	uint16_t after[OUTLOOK_BINS + 1];     /* counts of gaps that came after one like the last */
};

void outlook_walk(struct outlook_walk *w, const struct outlook *o,
		  const struct outlook_prior *prior);
/* Features of the next minute; false beyond the last that a prior knows. */
bool outlook_next(struct outlook_walk *w, float features[OUTLOOK_FEATURES]);
/*
 * The hazard that they give with these weights; negative beyond the last. Minutes
 * that nothing sets apart from the one before share its hazard, a few at a time.
 */
float outlook_hazard(struct outlook_walk *w, const struct outlook_weights *weights);

#endif
