/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy library: pure decisions about keep-alive. No I/O, clock, globals,
 * logs or allocation after parsing; a test runs nm on the archive to hold that.
 * The agent (live) and the simulator (traces) call exactly these functions.
 *
 * Units: seconds (double). Times inside a decision count from the function's
 * last end. Per-function memory is the caller's: the histogram (shared with
 * the kernel in the agent) and `state`, an opaque block of
 * hearth_policy_state_size() bytes, zeroed by the caller for a new function.
 */
#ifndef HEARTH_POLICY_H
#define HEARTH_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An idle-time histogram, read-only. In-range bins; bin i covers [i, i+1) * bin_s. */
struct hearth_hist {
	const uint32_t *bins;
	uint32_t nbins;
	uint64_t s1;  /* sum of bins */
	uint64_t s2;  /* sum of squared bins */
	uint64_t oob; /* idle times beyond the last bin */
	double bin_s;
};

/* Loaded in [open_s, close_s) of the idle time; close_s may be INFINITY. */
struct hearth_window {
	double open_s;
	double close_s;
};

#define HEARTH_WINDOWS 8 /* most windows one decision can have */

struct hearth_decision {
	unsigned int n; /* windows, ascending, disjoint; 0 = unload at once */
	struct hearth_window w[HEARTH_WINDOWS];
	const char *reason; /* static text, e.g. "not representative: standard keep-alive" */
};

/* What a policy may know besides the histogram; one per closed idle time. */
struct hearth_arrival {
	double t_s;    /* time of the arrival; from any fixed origin, best a full minute of the wall
			  clock */
	double idle_s; /* idle time that it closed; < 0 for the first arrival */
	double iat_s;  /* time since the previous arrival; < 0 for the first */
};

struct hearth_policy; /* a parsed spec: immutable, shared by all functions */

/*
 * Parse `name[:arg][,key=value...]`. Bare numbers in durations are minutes.
 * cold_cost_s: c_cs / c_p in seconds, used by policies that weigh costs unless
 * the spec names its own. 0, or -EINVAL with a one-line message in err that
 * says what is wrong and what is accepted; -ENOMEM.
 */
int hearth_policy_parse(const char *spec, double cold_cost_s, struct hearth_policy **out, char *err,
			size_t err_size);
void hearth_policy_free(struct hearth_policy *p);

/*
 * Another population for `predictive` to start from, in place of the one that
 * prior=both names; other specs stay as they are. Cells rise from minute 0, each
 * holds up to the next, the last up to HEARTH_PRIOR_MINUTES; what their p lack to
 * 1 is longer. Copied; decisions from then on go by it.
 */
#define HEARTH_PRIOR_MINUTES 1440
struct hearth_prior_cell {
	uint16_t minute; /* clock minutes from one arrival to the next */
	float p;
};
void hearth_policy_set_prior(struct hearth_policy *p, const struct hearth_prior_cell cells[],
			     size_t n);

/* The one that prior=both names; static. */
const struct hearth_prior_cell *hearth_policy_prior(size_t *n);

/* The spec in canonical form, keys at their default left out; lives as long as p. */
const char *hearth_policy_spec(const struct hearth_policy *p);

/* Geometry this policy wants for the idle-time histogram, or the default one. */
void hearth_policy_geometry(const struct hearth_policy *p, double *bin_s, uint32_t *nbins);

/* What a policy must be told that nobody knows live. The agent refuses specs with any. */
enum hearth_policy_need {
	HEARTH_NEEDS_NEXT = 1,     /* call hearth_policy_foresee before every decide */
	HEARTH_NEEDS_TRAINING = 2, /* call hearth_policy_train before the first arrival */
};
unsigned int hearth_policy_needs(const struct hearth_policy *p);
/* The idle time that decide is going to be judged by; INFINITY after the last arrival. */
void hearth_policy_foresee(const struct hearth_policy *p, void *state, double next_idle_s);

/*
 * Arrivals of [start_s, end_s], ascending, to fit on instead of what is observed.
 * scratch holds 2 n doubles.
 */
void hearth_policy_train(const struct hearth_policy *p, void *state, const double *t, size_t n,
			 double start_s, double end_s, double *scratch);

/* Does it look at the histogram at all? If not, any geometry will do. */
bool hearth_policy_uses_hist(const struct hearth_policy *p);

size_t hearth_policy_state_size(const struct hearth_policy *p);

/* Learn one arrival. O(1) amortised. */
void hearth_policy_observe(const struct hearth_policy *p, void *state,
			   const struct hearth_arrival *a);

/*
 * Optional: the busy span that the last arrival began ended at t_s (same origin).
 * Without it, the idle time is taken to begin with the arrival.
 */
void hearth_policy_idle(const struct hearth_policy *p, void *state, double t_s);

/* Decide the windows of the idle time that starts now (at a->t of the last arrival or later). */
void hearth_policy_decide(const struct hearth_policy *p, void *state,
			  const struct hearth_hist *hist, struct hearth_decision *out);

/* Name, argument and one-line description of every policy, for help and docs. */
struct hearth_policy_info {
	const char *name;
	const char *usage;
	const char *summary;
};
const struct hearth_policy_info *hearth_policy_list(size_t *n);

/* A histogram with storage of its own: the simulator's and the tests'. */
struct hearth_hist_buf {
	uint32_t *bins; /* nbins counters, the caller's */
	struct hearth_hist view;
};
void hearth_hist_add(struct hearth_hist_buf *h, double idle_s);
/* Counts move to the bin of their middle; from may have other bins, or none. */
void hearth_hist_merge(struct hearth_hist_buf *h, const struct hearth_hist *from);

/*
 * Smallest bin with 100 * cumulative >= max(100, q * s1), in integers, q in
 * percent; -1 if the histogram is empty. Its lower edge is the head, its upper
 * edge the tail (policies.md, simulator semantics).
 */
int hearth_hist_percentile(const struct hearth_hist *h, unsigned int q);

#endif
