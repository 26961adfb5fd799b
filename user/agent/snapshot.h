/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the agent shows of itself, as plain data: one source for `top`, `ls`,
 * `status`, the JSON of the API (docs/api.md), metrics and the web page. The
 * engine fills one struct at a time and hands it to a visitor; every pointer
 * is borrowed and lives until the visitor returns.
 *
 * Times are seconds (double). "_at_s" and last_*_s are Unix time. NAN means
 * "none yet" or "unknown" and becomes null in JSON, as does INFINITY.
 */
#ifndef HEARTH_SNAPSHOT_H
#define HEARTH_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/measure.h"
#include "hearth/policy.h"

struct snapshot_instance {
	const char *cgroup;   /* path below the cgroup2 mount, no leading slash */
	const char *function; /* its function's name */
	const char *name;     /* {instance} capture */
	uint64_t id;          /* cgroup id */
	const char *tier; /* running, warm, freezing, frozen, reclaimed, gone, thawing, foreign */
	const char *hold; /* why it may not be frozen now; NULL: nothing holds it */
	const char *sources; /* "request+exec": where its invocations are seen */
	bool proven;         /* one completed invocation was seen */
	bool fresh;          /* made while hearthd watched */
	unsigned int inflight;
	unsigned int probes;    /* health checks in flight */
	unsigned int outsiders; /* process trees that entered later */
	uint64_t invocations;
	uint64_t stragglers; /* processes that outlived their invocation */
	uint64_t freezes;
	uint64_t wakes;
	double last_begin_s;
	double last_end_s;
	double idle_s;       /* since the last end; NAN while in flight */
	double frozen_s;     /* total time frozen by hearthd */
	double memory_bytes; /* memory.current; NAN: controller off */
};

/* The next thing the plan will do, and why. */
struct snapshot_next {
	const char *action; /* freeze, thaw, would-freeze, hold, none */
	double in_s;        /* from now, never below 0; NAN: not planned */
	const char *reason;
};

/* What one policy would have cost, had it acted; times are the function's as one unit. */
struct snapshot_shadow {
	const char *policy;       /* spec, canonical */
	bool acting;              /* the one in force, charged like the others */
	uint64_t cold_starts;     /* no instance was there */
	uint64_t lukewarm_starts; /* one was, outside the windows */
	uint64_t warm_starts;
	uint64_t loads;    /* ahead of an arrival */
	double waste_s;    /* idle, but loaded */
	double waste_gb_s; /* times its memory as it was then; NAN: unknown */
	double cost_s;     /* waste_s and the starts that are not warm at their price */
	double cost_gb_s;  /* both times its memory as it was then */
};

struct snapshot_function {
	const char *name;
	const char *policy;          /* the spec in force, canonical */
	const char *policy_from;     /* config, api */
	const char *mode;            /* observe, manage, exclude, pin */
	const char *why;             /* one sentence: why its instances are in their tiers */
	const char *decision_reason; /* the policy's own words for its windows */
	uint64_t invocations;        /* begins per socket request or exec */
	uint64_t most_invocations;   /* never goes back: a server's begin is not taken out again */
	uint64_t busy_spans;         /* idle-to-busy edges */
	unsigned int inflight;
	uint64_t cold_starts;
	uint64_t lukewarm_starts;
	uint64_t freezes;
	uint64_t wakes;
	/* of this run of hearthd */
	uint64_t reclaims;
	double returned_bytes;
	uint64_t evictions;
	uint64_t prewarms_hit, prewarms_early, prewarms_wasted; /* as in snapshot_status */
	bool pinned;
	double first_seen_s;
	double last_seen_s;
	double idle_s;   /* NAN while in flight and before the first end */
	double it_p50_s; /* idle times learned; NAN while it_count is 0 */
	double it_p99_s;
	uint64_t it_count;   /* in range and beyond */
	double frozen_s;     /* instance-seconds frozen */
	double frozen_share; /* frozen_s / instance-seconds since first seen, 0..1 */
	double wake_p50_us;  /* kernel's event to thawed; NAN: no wake yet */
	double wake_p99_us;
	double memory_bytes; /* sum over instances; NAN: unknown */
	unsigned int n_windows;
	const struct hearth_window *windows;
	struct snapshot_next next;
	struct hearth_hist hist;             /* bins == NULL: nothing to show */
	const struct idle_shown *idle_shown; /* hist for /metrics; NULL: nothing to show */
	uint64_t unbinned;                   /* idle times lost to a change of geometry */
	const struct snapshot_instance *instances;
	size_t n_instances;
	const struct snapshot_shadow *shadows; /* the acting policy first */
	size_t n_shadows;                      /* 0: no shadow policy is configured */
	double shadow_since_s;                 /* when their counters began */
	double cold_cost_s;                    /* what a cold start is worth */
	const struct measures *measures;       /* of its tiers */
};

struct snapshot_hook {
	const char *name;
	bool attached;
	const char *why_not; /* NULL if attached */
	uint64_t run_count;
	uint64_t run_time_ns; /* 0 unless bpf_stats is on */
};

struct snapshot_drop {
	const char *reason;
	uint64_t count;
};

struct snapshot_map {
	const char *name;
	uint64_t used;
	uint64_t max;
};

/* A feature that is off, or a state the operator should know of. */
struct snapshot_notice {
	const char *name;
	const char *reason;
};

struct snapshot_status {
	const char *version;
	const char *mode; /* observe, manage */
	pid_t pid;
	double started_at_s;
	double uptime_s;
	double cpu_s; /* user + system of hearthd, all threads */
	double memory_bytes;
	const char *config;
	const char *pin_dir;
	const char *state_file;
	double state_saved_at_s; /* NAN: not yet */
	const char *cgroup_root;
	const char *attach; /* cgroup that the hooks are attached to, below the root; "" = root */
	bool adopted;       /* pinned maps of an earlier run went on counting */
	struct {
		uint64_t functions, instances, frozen, inflight;
		uint64_t invocations, most_invocations, busy_spans, cold_starts, lukewarm_starts;
		uint64_t freezes, wakes, freeze_failures, foreign_freezes;
	} totals;
	struct {
		pid_t pid; /* 0: none */
		bool alive;
		uint64_t thaw_epoch; /* times the guard had to thaw */
	} guard;
	struct {
		bool fifo;
		int priority;
		double p50_us, p99_us; /* kernel's event to thawed */
		uint64_t count;
		const char *why_not_fifo; /* NULL if fifo */
	} wake;
	struct {
		double idle_bytes;     /* RAM that idle instances keep, zram and zswap included */
		double budget_bytes;   /* NAN: no limit */
		double returned_bytes; /* by all reclaims of this run */
		double swapped_bytes;  /* of instances, uncompressed */
		double swap_budget_bytes; /* 0: there is no swap, or swap = no */
		uint64_t reclaimed;       /* instances whose memory is given back now */
		uint64_t evictions;       /* instances killed by us */
		uint64_t prewarms_hit;    /* a request came in the window they were made for */
		uint64_t prewarms_early;  /* ... before they were done */
		uint64_t prewarms_wasted; /* none came */
		uint64_t pressure_events;
		double pressure_some, pressure_full; /* share of the last 10 s; NAN: unknown */
		const char *why_no_pressure;         /* NULL: listening */
	} memory;
	const struct snapshot_hook *hooks;
	size_t n_hooks;
	const struct snapshot_drop *drops;
	size_t n_drops;
	const struct snapshot_map *maps;
	size_t n_maps;
	const struct snapshot_notice *notices;
	size_t n_notices;
};

/* A dependency image, as the image manager last told of it (docs/images.md). NAN: not told. */
struct snapshot_image {
	const char *name;
	const char *state; /* none, building, resident, frozen */
	const char *policy;
	const char *cgroup;
	const char *error; /* of its last build; "": none */
	double owner;      /* uid */
	double users;      /* functions that have used it */
	double running;    /* instances, cold ones too */
	double children;   /* those forked from it */
	double spares;     /* forked ahead of their use */
	double uses, hits, forks, cold;
	double build_s, fork_s; /* the last */
	double resident_bytes, swap_bytes;
	double bytes_saved;   /* by its living children */
	double seconds_saved; /* over all hits */
	double value;         /* seconds saved per second and gigabyte */
};

struct snapshot_images {
	const char *socket;  /* of the image manager */
	const char *why_not; /* "no image manager here" and the like; NULL: it answered */
	double as_of_s;      /* Unix time of its last answer; NAN: none yet */
	const struct snapshot_image *images;
	size_t n_images;
};

#endif
