/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The main loop: its event sources, and what is done at fixed times. Each is a
 * few lines that call the file that knows; nothing here decides.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define TICK_MS         100   /* how long a per-invocation record waits for the engine ... */
#define QUIET_TICK_MS   250   /* ... after a tick that had nothing to do */
#define MEMORY_MS       1000  /* between two looks at the budget */
#define RECOUNT_MS      10000 /* between two looks for counters that a lost end left high */
#define RESYNC_MS       60000 /* between two walks over the tree, in case an event was lost */
#define ENTRIES_AT_ONCE 4
#define LATE_LOOKS      100 /* ticks until a cgroup that cannot be opened was never finished */
#define GUARD_RETRY_NS  NSEC_PER_SEC       /* between two starts of a guard */
#define QUIET_NS        (5 * NSEC_PER_SEC) /* in flight but silent for so long: recount */

static void journal_plain(struct agent *a, enum journal_action action, enum journal_actor actor,
			  const char *reason)
{
	const struct journal_note n = {.action = action, .actor = actor, .reason = reason};

	journal_append(a->journal, &n);
}

/* ---- guard */

void loop_guard(struct agent *a)
{
	struct guard_options o = {.run_dir = a->config->run_dir,
				  .priority = a->config->wake_priority};
	uint64_t epoch = guard_table_epoch(a->guard);
	int err;

	if (epoch != a->guard_epoch) {
		a->guard_epoch = epoch;
		log_warn("the guard thawed everything; planning anew");
		engine_thaw_all(a, "thawed by the guard", true);
	}
	if (a->guard_pid && guard_alive(a->guard, a->guard_pid, a->guard_pidfd) != GUARD_DEAD)
		return;
	if (a->guard_pid) {
		log_warn("the guard died; starting another (nothing is frozen meanwhile)");
		close(a->guard_pidfd);
		a->guard_pid = 0;
	}
	if (now_ns() < a->guard_retry_ns)
		return;
	a->guard_retry_ns = now_ns() + GUARD_RETRY_NS;
	err = guard_spawn(&o, &a->guard_pid, &a->guard_pidfd);
	if (err)
		log_error("cannot start the guard: %s; nothing will be frozen", strerror(-err));
}

/* ---- event sources */

/* The kernel tells of a cgroup before others can open it; its maker may be preempted meanwhile. */
static void look_later(struct agent *a, uint64_t cgid)
{
	if (a->n_late < ARRAY_SIZE(a->late)) {
		a->late[a->n_late].cgid = cgid;
		a->late[a->n_late++].looks = 0;
	} else {
		a->sync_due = true;
	}
}

static void look_no_more(struct agent *a, uint64_t cgid)
{
	for (unsigned int i = 0; i < a->n_late; i++)
		if (a->late[i].cgid == cgid)
			a->late[i].looks = LATE_LOOKS;
}

static void look_at_late(struct agent *a)
{
	unsigned int i, kept = 0;

	for (i = 0; i < a->n_late; i++)
		if (a->late[i].looks++ < LATE_LOOKS &&
		    registry_appear(a->registry, a->late[i].cgid))
			a->late[kept++] = a->late[i];
	a->n_late = kept;
}

/* At once for the first few that enter, so that nothing is missed; together for a crowd. */
static void look_at_sockets(struct agent *a, struct instance *inst)
{
	if (inst->entries++ < ENTRIES_AT_ONCE)
		registry_adopt(a->registry, inst);
	else
		inst->adopt_due = true;
}

int loop_event(const struct hearth_event *ev, void *arg)
{
	struct agent *a = arg;
	struct instance *inst;

	switch (ev->type) {
	case HEARTH_EV_MKDIR:
		if (registry_appear(a->registry, ev->cgid))
			look_later(a, ev->cgid);
		break;
	case HEARTH_EV_RMDIR:
		look_no_more(a, ev->cgid);
		registry_vanish(a->registry, ev->cgid);
		if (ev->cgid == a->maps->node->attach_id)
			attach_again(a);
		break;
	case HEARTH_EV_MISSED:
		registry_missed(a->registry, container_of(ev, struct hearth_missed, event));
		break;
	case HEARTH_EV_ENTER:
		inst = registry_instance(a->registry, ev->cgid);
		if (inst)
			look_at_sockets(a, inst);
		break;
	case HEARTH_EV_POPULATED:
		inst = registry_instance(a->registry, ev->cgid);
		if (inst)
			engine_populated(inst, ev->value, a);
		break;
	default:
		engine_function_event(a, ev);
	}
	return 0;
}

static void on_tick(uv_timer_t *timer);

static void set_tick(struct agent *a, uint64_t ms)
{
	if (uv_timer_get_repeat(&a->tick) != ms)
		uv_timer_start(&a->tick, on_tick, ms, ms);
}

static void on_events_readable(uv_poll_t *poll, int status, int events)
{
	struct agent *a = poll->data;

	(void)events;
	if (!status)
		kernel_events_consume(a->kernel);
	set_tick(a, TICK_MS);
}

static void on_inotify(uv_poll_t *poll, int status, int events)
{
	(void)events;
	if (!status)
		engine_inotify(poll->data);
}

void loop_wakes(uv_async_t *async)
{
	struct agent *a = async->data;
	struct wake_note n;

	while (wake_next_note(a->wake, &n))
		engine_woken(a, &n);
}

/* Runs on the wake thread. */
void loop_wake_notify(void *arg)
{
	struct agent *a = arg;

	uv_async_send(&a->wake_async);
}

/* A request wins over whatever is being done to its memory. */
void loop_wake_thawed(uint32_t slot, void *arg)
{
	struct agent *a = arg;

	worker_cancel(a->worker, slot);
}

static void on_memory(uv_timer_t *timer)
{
	node_tick(timer->data);
	evict_tick(timer->data);
}

/* Events that found the ring full were lost, state in the maps was not: look at it all. */
static void check_drops(struct agent *a)
{
	uint64_t drops[HEARTH_DROP_REASONS];

	kernel_drops(a->kernel, drops);
	if (drops[HEARTH_DROP_EVENTS_FULL] == a->lost_events)
		return;
	log_warn("%lu kernel events were lost (ring full); looking at the whole tree",
		 (unsigned long)(drops[HEARTH_DROP_EVENTS_FULL] - a->lost_events));
	a->lost_events = drops[HEARTH_DROP_EVENTS_FULL];
	a->sync_due = true;
	spans_count(registry_functions(a->registry), a->maps->functions);
	kernel_events_consume(a->kernel);
	spans_settle(a->spans, registry_functions(a->registry));
	engine_replan_all(a);
}

static void on_tick(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	struct instance *inst, *tmp, *all;
	bool quiet;

	look_at_late(a);
	quiet = kernel_events_consume(a->kernel) == 0 && !a->n_late && !a->sync_due;
	all = registry_instances(a->registry);
	HASH_ITER (hh, all, inst, tmp) {
		if (inst->adopt_due) {
			quiet = false;
			registry_adopt(a->registry, inst);
		}
		inst->adopt_due = false;
		inst->entries = 0;
	}
	if (a->sync_due) {
		a->sync_due = false;
		registry_sync(a->registry, true);
	}
	loop_guard(a);
	act_tidy(a->act);
	set_tick(a, quiet ? QUIET_TICK_MS : TICK_MS);
}

static bool needs_recount(const struct agent *a, const struct instance *inst, uint64_t now)
{
	const struct hearth_instance *s = &a->maps->instances[inst->slot];
	uint64_t last = MAX(MAX(s->last_begin_ns, s->last_end_ns), s->last_loose_ns);

	return (s->inflight != 0 || s->probes != 0 || s->outsiders != 0) && now > last + QUIET_NS;
}

/* Busy, and no instance of it is: the counter would keep it from learning. */
static bool leaks_busy(const struct agent *a, const struct function *fn)
{
	const struct instance *inst;

	if (!a->maps->functions[fn->index].busy)
		return false;
	for (inst = fn->instances; inst; inst = inst->next)
		if (a->maps->instances[inst->slot].inflight > 0)
			return false;
	return true;
}

static void on_recount(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	struct function *fn, *next, *fns = registry_functions(a->registry);
	struct instance *inst, *tmp, *all = registry_instances(a->registry);
	uint64_t now = now_ns();
	bool needed = false;
	int n;

	check_drops(a);
	engine_check_locks(a);
	engine_look_at_memory(a);
	HASH_ITER (hh, all, inst, tmp)
		needed = needed || needs_recount(a, inst, now);
	HASH_ITER (hh, fns, fn, next)
		needed = needed || leaks_busy(a, fn);
	if (!needed)
		return;
	n = kernel_recount(a->kernel);
	if (n < 0)
		log_warn("recount: %s", strerror(-n));
	else if (n)
		log_info("recount: %d in-flight counters repaired", n);
}

static void on_resync(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	if (!kernel_attached(a->kernel))
		attach_again(a);
	a->sync_due = true;
}

static void on_save(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	struct state s = {};
	int err;

	registry_learn_prior(a->registry);
	err = agent_collect_state(a, &s);
	if (!err)
		err = state_writer_save(a->writer, &s);
	if (err && err != -EBUSY)
		log_error("%s: %s", a->state_path, strerror(-err));
	state_done(&s);
}

/* From now on, also if it was due otherwise. */
static void start_save(struct agent *a)
{
	uint64_t ms = a->config->state_interval_ns / NSEC_PER_MSEC;

	if (uv_timer_get_repeat(&a->save) != ms)
		uv_timer_start(&a->save, on_save, ms, ms);
}

/* The new config takes over as a whole, or not at all; what takes a restart stays. */
static void on_reload(uv_signal_t *sig, int signum)
{
	struct agent *a = sig->data;
	struct config *next, *old = a->config;
	char kept[256];

	(void)signum;
	if (agent_load_config(a, &next)) {
		log_error("reload failed: the running configuration stays");
		journal_plain(a, JOURNAL_CONFIG, JOURNAL_BY_ENGINE,
			      "reload failed: the running one stays");
		return;
	}
	config_keep_running(next, old, kept, sizeof(kept));
	if (*kept)
		log_warn("%s: [agent] %s: these take a restart; the rest counts from now on",
			 next->path, kept);
	a->config = next;
	attach_again(a);
	registry_configure(a->registry, next);
	node_configure(a);
	images_view_configure(a->images, next->images_socket);
	agent_serve_metrics(a);
	start_save(a);
	engine_replan_all(a);
	config_free(old);
	log_info("configuration reloaded, mode %s", agent_mode_name(next->mode));
	journal_plain(a, JOURNAL_CONFIG, JOURNAL_BY_ENGINE, "reloaded");
}

static void on_stop(uv_signal_t *sig, int signum)
{
	struct agent *a = sig->data;

	(void)signum;
	uv_stop(&a->loop);
}

static void start_timer(struct agent *a, uv_timer_t *timer, uv_timer_cb fn, uint64_t ms)
{
	uv_timer_init(&a->loop, timer);
	timer->data = a;
	uv_timer_start(timer, fn, ms, ms);
}

static void start_poll(struct agent *a, uv_poll_t *poll, int fd, uv_poll_cb fn)
{
	uv_poll_init(&a->loop, poll, fd);
	poll->data = a;
	uv_poll_start(poll, UV_READABLE, fn);
}

static void start_signal(struct agent *a, uv_signal_t *sig, uv_signal_cb fn, int signum)
{
	uv_signal_init(&a->loop, sig);
	sig->data = a;
	uv_signal_start(sig, fn, signum);
}

void loop_start(struct agent *a)
{
	uint64_t recount[HEARTH_DROP_REASONS];

	kernel_drops(a->kernel, recount);
	a->lost_events = recount[HEARTH_DROP_EVENTS_FULL];
	start_poll(a, &a->events_poll, kernel_events_fd(a->kernel), on_events_readable);
	start_poll(a, &a->inotify_poll, a->inotify_fd, on_inotify);
	start_timer(a, &a->tick, on_tick, TICK_MS);
	start_timer(a, &a->memory, on_memory, MEMORY_MS);
	start_timer(a, &a->recount, on_recount, RECOUNT_MS);
	start_timer(a, &a->resync, on_resync, RESYNC_MS);
	uv_timer_init(&a->loop, &a->save);
	a->save.data = a;
	start_save(a);
	start_signal(a, &a->sigint, on_stop, SIGINT);
	start_signal(a, &a->sigterm, on_stop, SIGTERM);
	start_signal(a, &a->sighup, on_reload, SIGHUP);
}
