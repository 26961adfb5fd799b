/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The running agent: everything main.c puts together, and the functions of the
 * files that work on it. All of it belongs to the main thread; the wake thread
 * sees act, guard table and kernel maps only.
 */
#ifndef HEARTH_AGENT_H
#define HEARTH_AGENT_H

#include <limits.h>
#include <uv.h>

#include "agent/act.h"
#include "agent/api.h"
#include "agent/config.h"
#include "agent/guard.h"
#include "agent/hooks.h"
#include "agent/images_view.h"
#include "agent/journal.h"
#include "agent/kernel.h"
#include "agent/metrics.h"
#include "agent/node.h"
#include "agent/registry.h"
#include "agent/spans.h"
#include "agent/state.h"
#include "agent/wake.h"
#include "agent/worker.h"
#include "lib/swap.h"

struct agent_options {
	const char *config_path;
	const char *socket; /* overrides the config's; NULL: as configured */
	int mode;           /* enum run_mode, -1: as configured */
};

struct agent {
	struct agent_options options;
	struct config *config;
	uv_loop_t loop;
	int cgroot_fd;
	char cgroot[PATH_MAX];
	char attach[PATH_MAX]; /* below cgroot */
	struct kernel *kernel;
	const struct kernel_maps *maps;
	struct guard_table *guard;
	pid_t guard_pid; /* 0: none */
	int guard_pidfd;
	uint64_t guard_epoch;    /* last one handled */
	uint64_t guard_retry_ns; /* not before then, after a failed start */
	struct act *act;
	struct wake *wake;
	struct worker *worker;
	struct hooks *hooks;
	struct node node;
	struct swap_use swap; /* of the host, as of swap_at_ns */
	uint64_t swap_at_ns;
	struct registry *registry;
	struct journal *journal;
	struct spans *spans;
	struct api *api;
	struct images_view *images;
	struct metrics *metrics; /* NULL: off */
	struct config_endpoint metrics_at;
	struct state saved; /* of earlier runs, functions not seen yet */
	char state_path[PATH_MAX];
	struct state_writer *writer;
	uint64_t state_saved_ns; /* Unix time */
	uint64_t wall_offset_ns; /* Unix time minus monotonic time, as of the start */
	uint64_t started_ns;     /* Unix time */
	int inotify_fd;
	struct instance *watched; /* uthash by_watch: whose cgroup.freeze an event is about */
	uv_poll_t events_poll, inotify_poll;
	uv_async_t wake_async;
	uv_timer_t tick, memory, recount, save, resync;
	uv_signal_t sigint, sigterm, sighup;
	uint64_t lost_events; /* drops already answered with a resync */
	uint64_t freeze_failures, foreign_freezes, freezes, wakes;
	bool sync_due; /* the next tick walks the tree */
	struct {
		uint64_t cgid;
		unsigned int looks;
	} late[64]; /* cgroups told of before they could be opened: the next ticks look */
	unsigned int n_late;
};

/* ---- agent.c: what is opened and closed in which order */
int agent_run(const struct agent_options *o);
const char *agent_mode_name(enum run_mode mode);
int agent_load_config(struct agent *a, struct config **out);
int agent_collect_state(struct agent *a, struct state *s);
/* Where the configuration says, at start and after a reload. */
void agent_serve_metrics(struct agent *a);

/* ---- attach.c: the cgroup of the socket hooks */
int attach_open(struct agent *a, int *fd);
/* After a reload, or when the cgroup the hooks sat on was removed. */
void attach_again(struct agent *a);

/* ---- loop.c: event sources and what is done at fixed times */
void loop_start(struct agent *a);
int loop_event(const struct hearth_event *ev, void *agent);
void loop_wakes(uv_async_t *async);
void loop_wake_notify(void *agent); /* on the wake thread, as the next one */
void loop_wake_thawed(uint32_t slot, void *agent);
void loop_guard(struct agent *a); /* is it alive? else another one */

/* ---- engine*.c: events -> policy -> plan -> act */
void engine_appeared(struct instance *inst, void *agent);
void engine_vanishing(struct instance *inst, void *agent);
void engine_freed(struct instance *inst, void *agent);
void engine_function_event(struct agent *a, const struct hearth_event *ev);
void engine_woken(struct agent *a, const struct wake_note *note);
void engine_inotify(struct agent *a);
void engine_populated(struct instance *inst, bool populated, void *agent);
void engine_replan(struct instance *inst);
void engine_check_locks(struct agent *a);
/* Of functions with shadow policies, which are charged for it. */
void engine_look_at_memory(struct agent *a);
void engine_replan_all(struct agent *a);
/* Frozen elsewhere than by our own hand undone: a guard thawed, mode changed, exit. */
void engine_thaw_all(struct agent *a, const char *reason, bool resync);
/* By hand. 0 or -errno with one sentence. */
int engine_freeze_now(struct agent *a, struct instance *inst, char *why, size_t size);
int engine_thaw_now(struct agent *a, struct instance *inst, const char *reason);
int engine_reclaim_now(struct agent *a, struct instance *inst, char *why, size_t size);
int engine_evict_now(struct agent *a, struct instance *inst, char *why, size_t size);
int engine_prewarm_now(struct agent *a, struct instance *inst, char *why, size_t size);

/* Wall-clock seconds: policies may know times of day, and minutes are minutes to them. */
double engine_policy_time(const struct agent *a, uint64_t mono_ns);

/* ---- evict.c: commands and kills */
/* Ask for an instance of a function that has none: -ENOTSUP without a command for that. */
int evict_prewarm(struct agent *a, struct function *fn);
void evict_tick(struct agent *a);
int evict_now(struct agent *a, struct instance *inst);

/* ---- cost.c: what the tiers of a function cost, as measured */
void cost_ladder(const struct function *fn, struct hearth_ladder *out);

/* ---- plan.c: which tier when, by its policy and those costs */
struct plan {
	enum hearth_rung rung; /* what is wanted now */
	enum hearth_rung next; /* and from until_ns on; UINT64_MAX: never another */
	uint64_t until_ns;
	bool up;            /* rung is above that of the step before: made ready ahead */
	const char *reason; /* static */
};
/* The windows of the idle time that the function is in. */
const struct hearth_decision *plan_decision(struct agent *a, struct function *fn);
struct plan plan_instance(struct agent *a, struct instance *inst, uint64_t idle_since_ns,
			  uint64_t now);
/* Position among its function's living instances, most recently used first. */
unsigned int plan_rank(const struct agent *a, const struct instance *inst);

/* ---- hold.c: what forbids a freeze, whatever the policy says */
struct hold {
	uint64_t until_ns; /* look again then */
	char text[160];    /* "": nothing forbids it */
};
struct hold hold_of(struct agent *a, struct instance *inst, uint64_t now, bool by_hand);

/* ---- view.c: what the API shows; ops.c: what it changes */
int ops_change(void *ctx, enum api_change change, const char *name, const char *spec,
	       const struct api_peer *peer, struct api_answer *answer);
int view_functions(void *ctx, const char *name, api_function_fn visit, void *arg);
void view_status(void *ctx, api_status_fn visit, void *arg);
void view_images(void *ctx, api_images_fn visit, void *arg);

#endif
