/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a policy is, inside the library: its parameters and its functions, one
 * struct policy_def per name, listed in the table of policy.c. A parsed spec is a
 * pointer to its def and one double per parameter, in the order of the def.
 */
#ifndef HEARTH_POLICY_DEF_H
#define HEARTH_POLICY_DEF_H

#include <stdbool.h>
#include <stddef.h>

#include <hearth/policy.h>

#define SPEC_MAX          320                /* longest spec, in bytes with the NUL */
#define POLICY_PARAMS     12                 /* most parameters a policy can have */
#define POLICY_MAX_S      (30 * 24 * 3600.0) /* longest duration: whole nanoseconds in a double */
#define POLICY_MIN_COST_S 0.001              /* a cold start worth nothing has no best policy */

enum param_type {
	PARAM_END, /* ends the list */
	PARAM_DURATION,
	PARAM_NUMBER, /* up to two decimals */
	PARAM_INTEGER,
	PARAM_CHOICE,    /* value = index into `choices` */
	PARAM_COLD_COST, /* a duration; when not named, the caller's cold cost */
	PARAM_SECONDS,   /* a duration whose bare number is seconds */
	PARAM_FLAG,      /* a key without value: 1 when named */
};

enum param_flag {
	PARAM_ARG = 1,      /* the argument after ':', not a key */
	PARAM_REQUIRED = 2, /* no default */
	PARAM_BOTH = 4,     /* a key that may also stand after ':' */
};

struct policy_param {
	const char *key;
	enum param_type type;
	unsigned int flags;
	double fallback; /* seconds for durations */
	double min;
	double max;
	const char *const *choices; /* NULL-terminated */
};

struct policy_def {
	const struct policy_param *params; /* PARAM_END-terminated; NULL: none */
	size_t state_size;
	size_t aux_size;    /* of what prepare computes once per spec */
	unsigned int needs; /* enum hearth_policy_need */

	/* Rules between parameters. 0 or -EINVAL with a message. NULL: none. */
	int (*check)(const struct hearth_policy *p, char *err, size_t err_size);
	/* Fill p->aux after the check. NULL: nothing to compute. */
	void (*prepare)(const struct hearth_policy *p);
	/* Start from another population. NULL: has none. */
	void (*set_prior)(const struct hearth_policy *p, const struct hearth_prior_cell cells[],
			  size_t n);
	/* NULL: the default geometry. */
	void (*geometry)(const struct hearth_policy *p, double *bin_s, uint32_t *nbins);
	/* Told the next idle time beforehand, if `needs` says so. */
	void (*foresee)(const struct hearth_policy *p, void *state, double next_idle_s);
	/* Given arrivals to fit on beforehand, likewise. */
	void (*train)(const struct hearth_policy *p, void *state, const double *t, size_t n,
		      double start_s, double end_s, double *scratch);
	/* NULL: learns nothing but what the histogram holds. */
	void (*observe)(const struct hearth_policy *p, void *state, const struct hearth_arrival *a);
	/* NULL: does not matter when the idle time began. */
	void (*idle)(const struct hearth_policy *p, void *state, double t_s);
	void (*decide)(const struct hearth_policy *p, void *state, const struct hearth_hist *hist,
		       struct hearth_decision *out);
};

struct hearth_policy {
	const struct policy_def *def;
	double v[POLICY_PARAMS];
	void *aux;
	char spec[SPEC_MAX]; /* canonical */
	double aux_room[];
};

extern const struct policy_def policy_none, policy_always, policy_fixed;
extern const struct policy_def policy_skirental, policy_offline;
extern const struct policy_def policy_hybrid;
extern const struct policy_def policy_hazard, policy_predictive;
extern const struct policy_def policy_poisson, policy_hawkes, policy_hawkes_ttl;
extern const struct policy_def policy_hawkes_approx, policy_hawkes_insample;

/* A histogram the kernel can hold: 0, or -EINVAL with a message that starts with name. */
int policy_check_bins(const char *name, double range_s, double bin_s, char *err, size_t err_size);

/* One window, none if it is empty. */
static inline void decide_window(struct hearth_decision *out, double open_s, double close_s,
				 const char *reason)
{
	out->n = close_s > open_s;
	out->w[0] = (struct hearth_window){open_s, close_s};
	out->reason = reason;
}

#endif
