/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Functions and instances: who they are, which slots they hold. Cgroups are
 * known by id; a path is only for naming and for people. Invariant: an instance
 * in the registry has a live slot in the kernel maps and in act, and its
 * cgroup's id (and those of its nested cgroups) map to it.
 */
#ifndef HEARTH_REGISTRY_H
#define HEARTH_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>
#include <uv.h>

#include "agent/act.h"
#include "agent/config.h"
#include "agent/history.h"
#include "agent/kernel.h"
#include "agent/idle_shown.h"
#include "agent/measure.h"
#include "agent/naming.h"
#include "agent/paging.h"
#include "agent/shadow.h"
#include "agent/spans.h"
#include "agent/state.h"
#include "hearth/ladder.h"
#include "hearth/policy.h"
#include "hearth/rank.h"
#include "hearth/population.h"

struct instance;

#define WAKE_SAMPLES 128 /* latest wake latencies kept per function, for quantiles */

struct function {
	UT_hash_handle hh;
	char name[128];
	uint32_t index; /* slot in the function maps */
	struct fn_settings settings;
	struct hearth_policy *policy;
	char *api_policy; /* spec set at run time; NULL: the configured one */
	void *policy_state;
	struct shadow *shadow; /* policies beside it; NULL: none */
	struct hearth_decision decision;
	uint64_t decided_span; /* busy_spans the decision belongs to; ~0: none */
	struct hearth_rung_step steps[HEARTH_LADDER_STEPS];         /* of the decision */
	struct hearth_rung_step surplus_steps[HEARTH_LADDER_STEPS]; /* without windows */
	int n_steps, n_surplus_steps;
	struct measures measures;
	struct paging_counts paged;
	uint64_t evictions;
	uint32_t busy_slot;     /* whose begin made it busy */
	uint64_t prewarm_at_ns; /* of its gone instances one should be back by then; 0: none */
	unsigned int needed;    /* instances the recent peak needed at once */
	bool pinned;
	struct instance *instances; /* utlist, unordered */
	unsigned int n_instances;
	uint64_t freezes, wakes;
	uint64_t first_seen_ns; /* Unix time */
	double frozen_s;        /* of instances that are gone, and of closed frozen times */
	double instance_s;      /* of instances that are gone */
	uint64_t last_arrival_ns;
	uint64_t most_invocations; /* that were ever shown */
	struct idle_shown idle_shown;
	struct hearth_gaps gaps; /* what it teaches the prior */
	struct span_track span;
	float wake_us[WAKE_SAMPLES];
	uint32_t n_wake_us;
};

struct instance {
	UT_hash_handle hh; /* by cgid */
	UT_hash_handle by_watch;
	struct instance *prev, *next;
	struct function *fn;
	uint64_t cgid;
	uint32_t slot;
	uint32_t gen;
	int fd;              /* the cgroup's directory; act keeps and closes it */
	int watch;           /* inotify on cgroup.freeze */
	int rule_source;     /* enum source_choice its rule asks for, -1: none */
	unsigned int nested; /* other instances inside this cgroup */
	struct instance *outer;
	char *path;
	char name[128];
	bool populated;
	bool stopped;         /* its tasks are in the freezer, by whomever */
	bool adopt_due;       /* look at its processes' sockets at the next tick */
	unsigned int entries; /* processes that entered since the last tick */
	uint64_t registered_ns;
	uint64_t started_ns;   /* first process of this run */
	uint64_t base_ends;    /* ends before this run: proven once ends is larger */
	uint64_t cpu_usec;     /* last look at its CPU use, ... */
	uint64_t cpu_wait_us;  /* ... for how long its tasks had waited for a CPU, ... */
	uint64_t cpu_at_ns;    /* ... and when; 0: not since it was last active */
	uint64_t frozen_at_ns; /* 0: not frozen by us */
	double frozen_s;
	uint64_t freezes, wakes;
	uint64_t thawed_ns;         /* last thaw, by us or others: debounce counts from it */
	uint64_t noted_begins;      /* begins + 1 when would-freeze was journalled; 0: not */
	bool manual;                /* frozen by hand: stays until its next request */
	bool evict_due;             /* by hand: its on_evict runs */
	bool evicted;               /* killed by us, and not started since */
	enum hearth_rung squeezed;  /* at least this far down, for the node's memory ... */
	uint64_t squeezed_ns;       /* ... since then, if no request came after it, ... */
	uint64_t squeezed_until_ns; /* ... until its plan's next step */
	uint64_t hooked_ns;         /* its pre_freeze or on_evict ended well */
	uint64_t hook_failed_ns;    /* ... or not: not again for a while */
	uint64_t kill_failed_ns;    /* neither */
	struct paging paging;
	struct hearth_rank_item rank;
	unsigned int refusals; /* freezes in a row that a scan of its sockets forbade */
	unsigned int failures; /* freezes in a row that did not come about */
	char hold[160];        /* why it may not be frozen now; "": nothing */
	uint64_t next_at_ns;   /* 0: nothing planned */
	const char *next_action;
	char next_reason[128];
	uv_timer_t timer;
};

struct registry;

struct registry_events {
	void (*appeared)(struct instance *inst, void *arg);
	void (*vanishing)(struct instance *inst, void *arg); /* still whole */
	void (*populated)(struct instance *inst, bool populated, void *arg);
	void (*freed)(struct instance *inst, void *arg); /* the receiver frees it */
	void *arg;
};

struct registry_options {
	struct kernel *kernel;
	struct act *act;
	int cgroot_fd;
	struct state *saved;     /* what earlier runs learned; entries are taken out */
	uint64_t wall_offset_ns; /* Unix time minus monotonic time */
	struct registry_events events;
};

int registry_new(const struct registry_options *o, const struct config *config,
		 struct registry **out);
void registry_free(struct registry *r);

/* Another config: settings, policies and names follow. What stays keeps its history. */
void registry_configure(struct registry *r, const struct config *config);

/*
 * Bring the registry in line with the tree. fresh: what is new was made while we
 * watched (an event was lost); false at start and after a reload.
 */
int registry_sync(struct registry *r, bool fresh);

/*
 * A cgroup was made. -ENOENT: it is gone, or not reachable yet, for the kernel
 * tells before it opens the cgroup to others: a sync finds it.
 */
int registry_appear(struct registry *r, uint64_t cgid);
void registry_vanish(struct registry *r, uint64_t cgid);

/* Count what ran in a cgroup that is gone, if a rule would have made it an instance by image. */
void registry_missed(struct registry *r, const struct hearth_missed *missed);

/* Attribute the sockets its processes hold now: some may have been made elsewhere. */
void registry_adopt(struct registry *r, struct instance *inst);

struct instance *registry_instance(struct registry *r, uint64_t cgid);
struct instance *registry_slot(struct registry *r, uint32_t slot);
struct function *registry_function(struct registry *r, const char *name);
struct function *registry_function_index(struct registry *r, uint32_t index);
struct function *registry_functions(struct registry *r); /* uthash, sorted by name */
struct instance *registry_instances(struct registry *r); /* uthash */
unsigned int registry_n_instances(const struct registry *r);

/* What functions had counted that were forgotten at the cap: totals do not go back. */
struct registry_counts {
	uint64_t invocations, busy_spans, cold_starts, lukewarm_starts;
};
const struct registry_counts *registry_forgotten(const struct registry *r);

/* Change a function's policy at run time; NULL: the configured one. 0 or -EINVAL with err. */
int registry_set_policy(struct registry *r, struct function *fn, const char *spec, char *err,
			size_t err_size);

/* Give what the functions taught since to the predictive policies, if the config says so. */
void registry_learn_prior(struct registry *r);

/* Copy what is learned into s, for the state file. */
int registry_save(struct registry *r, struct state *s);

/* Instance-seconds lived and frozen, including those of now. */
void registry_times(const struct function *fn, uint64_t now, double *frozen_s, double *instance_s);

#endif
