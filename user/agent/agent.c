/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Wiring: what is opened in which order, the main loop's event sources, reload
 * and exit. Order of the start: guard table (thaws what a dead predecessor left)
 * - kernel - act - guard - wake thread - registry - API.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/notify.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define TICK_MS         100   /* how long a per-invocation record waits for the engine */
#define RECOUNT_MS      10000 /* between two looks for counters that a lost end left high */
#define RESYNC_MS       60000 /* between two walks over the tree, in case an event was lost */
#define ENTRIES_AT_ONCE 4
#define GUARD_RETRY_NS  NSEC_PER_SEC       /* between two starts of a guard */
#define QUIET_NS        (5 * NSEC_PER_SEC) /* in flight but silent for so long: recount */

const char *agent_mode_name(enum run_mode mode)
{
	return mode == MODE_MANAGE ? "manage" : "observe";
}

static void journal_plain(struct agent *a, enum journal_action action, enum journal_actor actor,
			  const char *reason)
{
	const struct journal_note n = {.action = action, .actor = actor, .reason = reason};

	journal_append(a->journal, &n);
}

/* ---- where to attach */

/* a is b or below it. */
static bool is_below(const char *a, const char *b)
{
	size_t n = strlen(b);

	return !n || (!strncmp(a, b, n) && (a[n] == '\0' || a[n] == '/'));
}

/*
 * The rules' common ancestor, or what exists of the way to it. The config may
 * ask for a wider cgroup, never for one that leaves out what a rule can name.
 */
static int open_attach(struct agent *a, int *fd)
{
	const char *wanted = a->config->attach + strspn(a->config->attach, "/");
	char *slash;

	naming_common_ancestor(a->config->naming, a->attach, sizeof(a->attach));
	if (a->config->attach[0] && !is_below(a->attach, wanted))
		log_warn("attach = %s leaves out what the rules name; hooks go to /%s",
			 a->config->attach, a->attach);
	else if (a->config->attach[0])
		snprintf(a->attach, sizeof(a->attach), "%s", wanted);
	for (;;) {
		*fd = cgroup_open(a->cgroot_fd, a->attach);
		if (*fd >= 0 || !a->attach[0])
			return *fd < 0 ? *fd : 0;
		slash = strrchr(a->attach, '/');
		*(slash ? slash : a->attach) = '\0';
	}
}

/* After a reload, or when the cgroup the hooks sat on was removed. */
static void reattach(struct agent *a)
{
	char was[PATH_MAX];
	int fd, err;

	snprintf(was, sizeof(was), "%s", a->attach);
	err = open_attach(a, &fd);
	if (err)
		return;
	if (strcmp(was, a->attach) || !kernel_attached(a->kernel)) {
		/* Bytes that pass while hooks move would wake nobody. */
		engine_thaw_all(a, "the hooks move to another cgroup", false);
		err = kernel_reattach(a->kernel, fd, a->attach);
		if (err)
			log_error("cannot attach to /%s: %s", a->attach, strerror(-err));
		else
			log_info("socket hooks moved to /%s", a->attach);
	}
	close(fd);
}

/* ---- guard */

static void guard_watchdog(struct agent *a)
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

/* The kernel tells of a cgroup before others can open it. */
static void look_later(struct agent *a, uint64_t cgid)
{
	if (a->n_late < ARRAY_SIZE(a->late))
		a->late[a->n_late++] = cgid;
	else
		a->sync_due = true;
}

/* At once for the first few that enter, so that nothing is missed; together for a crowd. */
static void look_at_sockets(struct agent *a, struct instance *inst)
{
	if (inst->entries++ < ENTRIES_AT_ONCE)
		registry_adopt(a->registry, inst);
	else
		inst->adopt_due = true;
}

static int on_event(const struct hearth_event *ev, void *arg)
{
	struct agent *a = arg;
	struct instance *inst;

	switch (ev->type) {
	case HEARTH_EV_MKDIR:
		if (registry_appear(a->registry, ev->cgid))
			look_later(a, ev->cgid);
		break;
	case HEARTH_EV_RMDIR:
		registry_vanish(a->registry, ev->cgid);
		if (ev->cgid == a->maps->node->attach_id)
			reattach(a);
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

static void on_events_readable(uv_poll_t *poll, int status, int events)
{
	struct agent *a = poll->data;

	(void)events;
	if (!status)
		kernel_events_consume(a->kernel);
}

static void on_inotify(uv_poll_t *poll, int status, int events)
{
	(void)events;
	if (!status)
		engine_inotify(poll->data);
}

static void on_wakes(uv_async_t *async)
{
	struct agent *a = async->data;
	struct wake_note n;

	while (wake_next_note(a->wake, &n))
		engine_woken(a, &n);
}

/* Runs on the wake thread. */
static void wake_notify(void *arg)
{
	struct agent *a = arg;

	uv_async_send(&a->wake_async);
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
	engine_replan_all(a);
}

static void on_tick(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	struct instance *inst, *tmp, *all;

	while (a->n_late)
		registry_appear(a->registry, a->late[--a->n_late]);
	kernel_events_consume(a->kernel);
	all = registry_instances(a->registry);
	HASH_ITER (hh, all, inst, tmp) {
		if (inst->adopt_due)
			registry_adopt(a->registry, inst);
		inst->adopt_due = false;
		inst->entries = 0;
	}
	if (a->sync_due) {
		a->sync_due = false;
		registry_sync(a->registry, true);
	}
	guard_watchdog(a);
	act_tidy(a->act);
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
		reattach(a);
	a->sync_due = true;
}

/* ---- what is learned */

static void on_saved(int rc, void *arg)
{
	struct agent *a = arg;

	if (rc)
		log_error("%s: %s; what is learned stays in memory", a->state_path, strerror(-rc));
	else
		a->state_saved_ns = unix_ns();
}

static int collect_state(struct agent *a, struct state *s)
{
	int err = registry_save(a->registry, s);

	if (!err)
		state_trim(s, a->config->max_functions);
	return err;
}

static void on_save(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	struct state s = {};
	int err = collect_state(a, &s);

	if (!err)
		err = state_writer_save(a->writer, &s);
	if (err && err != -EBUSY)
		log_error("%s: %s", a->state_path, strerror(-err));
	state_done(&s);
}

/* ---- config */

static int load_config(struct agent *a, struct config **out)
{
	char err[512];
	int rc = config_load(a->options.config_path, out, err, sizeof(err));

	if (rc) {
		log_error("%s", err);
		return rc;
	}
	if (config_warning(*out))
		log_warn("%s: %s", a->options.config_path, config_warning(*out));
	if (a->options.mode >= 0)
		(*out)->mode = a->options.mode;
	return 0;
}

/* The new config takes over as a whole, or not at all. */
static void on_reload(uv_signal_t *sig, int signum)
{
	struct agent *a = sig->data;
	struct config *next, *old = a->config;

	(void)signum;
	if (load_config(a, &next)) {
		log_error("reload failed: the running configuration stays");
		journal_plain(a, JOURNAL_CONFIG, JOURNAL_BY_ENGINE,
			      "reload failed: the running one stays");
		return;
	}
	a->config = next;
	reattach(a);
	registry_configure(a->registry, next);
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

/* ---- start */

static int open_state(struct agent *a)
{
	char err[512];
	int rc;

	if (mkdir(a->config->state_dir, 0755) && errno != EEXIST) {
		rc = -errno;
		log_error("state_dir %s: %s", a->config->state_dir, strerror(-rc));
		return rc;
	}
	snprintf(a->state_path, sizeof(a->state_path), "%s/%s", a->config->state_dir, STATE_FILE);
	rc = state_load(a->state_path, &a->saved, err, sizeof(err));
	if (rc)
		log_error("%s", err);
	if (rc && rc != -EBADMSG)
		return rc;
	a->writer = state_writer_new(&a->loop, a->state_path, on_saved, a);
	return a->writer ? 0 : -ENOMEM;
}

static int open_host(struct agent *a)
{
	struct kernel_options ko = {
	    .pin_dir = a->config->pin_dir,
	    .max_instances = a->config->max_instances,
	    .max_functions = a->config->max_functions,
	    .want_unix = config_wants_unix(a->config),
	    .stats = a->config->bpf_stats,
	};
	int fd, err;

	err = cgroup_root_open("/proc", &a->cgroot_fd, a->cgroot, sizeof(a->cgroot));
	if (err) {
		log_error(
		    "no cgroup2 mount: hearth needs the unified hierarchy (mount -t cgroup2)");
		return err;
	}
	err = guard_table_create(a->config->run_dir, a->config->max_instances, a->cgroot_fd,
				 &a->guard);
	if (err) {
		log_error("%s: guard table: %s", a->config->run_dir, strerror(-err));
		return err;
	}
	a->guard_epoch = guard_table_epoch(a->guard);
	err = open_attach(a, &fd);
	if (err)
		return err;
	ko.attach_fd = fd;
	ko.attach_path = a->attach;
	err = kernel_open(&ko, &a->kernel);
	close(fd);
	if (err)
		return err;
	a->maps = kernel_maps(a->kernel);
	a->act = act_new(a->maps, a->guard);
	return a->act ? 0 : -ENOMEM;
}

static int open_wake(struct agent *a)
{
	struct wake_options o = {
	    .act = a->act,
	    .guard = a->guard,
	    .maps = a->maps,
	    .map_fd = kernel_wakes_map(a->kernel),
	    .priority = a->config->wake_priority,
	    .notify = wake_notify,
	    .arg = a,
	};

	uv_async_init(&a->loop, &a->wake_async, on_wakes);
	a->wake_async.data = a;
	return wake_start(&o, &a->wake);
}

static int open_registry(struct agent *a)
{
	struct registry_options o = {
	    .kernel = a->kernel,
	    .act = a->act,
	    .cgroot_fd = a->cgroot_fd,
	    .saved = &a->saved,
	    .events = {engine_appeared, engine_vanishing, engine_populated, engine_freed, a},
	};
	int err;

	a->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (a->inotify_fd < 0)
		return -errno;
	err = registry_new(&o, a->config, &a->registry);
	if (err)
		return err;
	kernel_events_subscribe(a->kernel, on_event, a);
	return registry_sync(a->registry, false);
}

static int open_api(struct agent *a)
{
	static const struct api_ops OPS = {view_functions, view_status, ops_change};
	struct api_params p = {
	    .socket = a->options.socket ? a->options.socket : a->config->socket,
	    .group = a->config->socket_group,
	    .ops = &OPS,
	    .ctx = a,
	    .journal = a->journal,
	};
	char err[512];
	int rc = api_open(&a->loop, &p, &a->api, err, sizeof(err));

	if (rc)
		log_error("%s", err);
	return rc;
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

static void start_sources(struct agent *a)
{
	uint64_t recount[HEARTH_DROP_REASONS];

	kernel_drops(a->kernel, recount);
	a->lost_events = recount[HEARTH_DROP_EVENTS_FULL];
	start_poll(a, &a->events_poll, kernel_events_fd(a->kernel), on_events_readable);
	start_poll(a, &a->inotify_poll, a->inotify_fd, on_inotify);
	start_timer(a, &a->tick, on_tick, TICK_MS);
	start_timer(a, &a->recount, on_recount, RECOUNT_MS);
	start_timer(a, &a->resync, on_resync, RESYNC_MS);
	start_timer(a, &a->save, on_save, a->config->state_interval_ns / NSEC_PER_MSEC);
	start_signal(a, &a->sigint, on_stop, SIGINT);
	start_signal(a, &a->sigterm, on_stop, SIGTERM);
	start_signal(a, &a->sighup, on_reload, SIGHUP);
}

static int agent_open(struct agent *a)
{
	int err = load_config(a, &a->config);

	if (err)
		return err;
	a->journal = journal_new(a->config->journal_size);
	if (!a->journal)
		return -ENOMEM;
	if (mkdir(a->config->run_dir, 0755) && errno != EEXIST)
		log_warn("run_dir %s: %s", a->config->run_dir, strerror(errno));
	err = open_state(a);
	if (!err)
		err = open_host(a);
	if (!err)
		err = open_wake(a);
	if (err)
		return err;
	guard_watchdog(a);
	err = open_registry(a);
	if (!err)
		err = open_api(a);
	if (err)
		return err;
	start_sources(a);
	return 0;
}

/* ---- exit */

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Everything of ours is thawed and saved before anything is taken apart. */
static void agent_close(struct agent *a)
{
	struct state s = {};

	if (a->registry) {
		engine_thaw_all(a, "hearthd stops", false);
		if (!collect_state(a, &s))
			on_saved(state_writer_save_now(a->writer, &s), a);
		state_done(&s);
	}
	if (a->api)
		api_close(a->api);
	wake_stop(a->wake);
	uv_walk(&a->loop, close_handle, NULL); /* no timer fires any more */
	uv_run(&a->loop, UV_RUN_DEFAULT);
	state_writer_free(a->writer);
	uv_loop_close(&a->loop);
	registry_free(a->registry);
	act_free(a->act);
	kernel_close(a->kernel);
	guard_table_close(a->guard);
	state_done(&a->saved);
	journal_free(a->journal);
	config_free(a->config);
	if (a->inotify_fd >= 0)
		close(a->inotify_fd);
	if (a->cgroot_fd >= 0)
		close(a->cgroot_fd);
	if (a->guard_pid)
		close(a->guard_pidfd);
}

int agent_run(const struct agent_options *o)
{
	static struct agent a;
	int err;

	a = (struct agent){.options = *o, .cgroot_fd = -1, .inotify_fd = -1, .guard_pidfd = -1};
	a.started_ns = unix_ns();
	a.wall_offset_ns = a.started_ns - now_ns();
	signal(SIGPIPE, SIG_IGN); /* API clients may leave in the middle of an answer */
	err = uv_loop_init(&a.loop);
	if (err)
		return err;
	a.loop.data = &a;
	err = agent_open(&a);
	if (!err) {
		log_info("hearthd %s: mode %s, %u instances of %u functions, hooks on /%s%s",
			 HEARTH_VERSION, agent_mode_name(a.config->mode),
			 registry_n_instances(a.registry),
			 HASH_COUNT(registry_functions(a.registry)), a.attach,
			 kernel_adopted(a.kernel) ? ", counting goes on" : "");
		notify_ready();
		uv_run(&a.loop, UV_RUN_DEFAULT);
		notify_stopping();
	}
	agent_close(&a);
	return err;
}
