/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Wiring: what is opened in which order, and closed in the reverse. Order of the
 * start: guard table (thaws what a dead predecessor left) - kernel - act - guard
 * - wake thread - registry - API.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/engine.h"
#include "agent/notify.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define HOOKS_AT_ONCE 8 /* commands of functions; the others wait in line */

const char *agent_mode_name(enum run_mode mode)
{
	return mode == MODE_MANAGE ? "manage" : "observe";
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

int agent_collect_state(struct agent *a, struct state *s)
{
	int err = registry_save(a->registry, s);

	if (!err)
		state_trim(s, a->config->max_functions);
	return err;
}

/* ---- config */

int agent_load_config(struct agent *a, struct config **out)
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
	err = attach_open(a, &fd);
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
	    .notify = loop_wake_notify,
	    .thawed = loop_wake_thawed,
	    .arg = a,
	};

	uv_async_init(&a->loop, &a->wake_async, loop_wakes);
	a->wake_async.data = a;
	return wake_start(&o, &a->wake);
}

/* Before the wake thread, which cancels jobs. */
static int open_jobs(struct agent *a)
{
	struct worker_options wo = {.loop = &a->loop,
				    .slots = a->config->max_instances,
				    .threads = WORKER_MAX_THREADS,
				    .done = paging_done,
				    .arg = a};
	struct hooks_options ho = {
	    .loop = &a->loop, .max_running = HOOKS_AT_ONCE, .done = evict_hook_done, .arg = a};
	int err = worker_new(&wo, &a->worker);

	return err ? err : hooks_new(&ho, &a->hooks);
}

static int open_registry(struct agent *a)
{
	struct registry_options o = {
	    .kernel = a->kernel,
	    .act = a->act,
	    .cgroot_fd = a->cgroot_fd,
	    .saved = &a->saved,
	    .wall_offset_ns = a->wall_offset_ns,
	    .events = {engine_appeared, engine_vanishing, engine_populated, engine_freed, a},
	};
	int err;

	a->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (a->inotify_fd < 0)
		return -errno;
	err = registry_new(&o, a->config, &a->registry);
	if (err)
		return err;
	kernel_events_subscribe(a->kernel, loop_event, a);
	return registry_sync(a->registry, false);
}

static const struct api_ops OPS = {
    .functions = view_functions,
    .status = view_status,
    .images = view_images,
    .change = ops_change,
};

/* Nobody is worse off without metrics: whoever else holds the port keeps it. */
void agent_serve_metrics(struct agent *a)
{
	const struct config_endpoint *at = &a->config->metrics;
	char err[512];

	if (a->metrics && !memcmp(&a->metrics_at, at, sizeof(*at)))
		return;
	metrics_close(a->metrics);
	a->metrics = NULL;
	a->metrics_at = *at;
	if (at->port && metrics_open(&a->loop, at, &OPS, a, &a->metrics, err, sizeof(err)))
		log_warn("%s; there are no metrics", err);
}

static int open_api(struct agent *a)
{
	struct api_params p = {
	    .socket = a->options.socket ? a->options.socket : a->config->socket,
	    .group = a->config->socket_group,
	    .ops = &OPS,
	    .ctx = a,
	    .journal = a->journal,
	    .spans = a->spans,
	};
	char err[512];
	int rc = images_view_new(&a->loop, a->config->images_socket, &a->images);

	if (rc)
		return rc;
	rc = api_open(&a->loop, &p, &a->api, err, sizeof(err));
	if (rc)
		log_error("%s", err);
	else
		agent_serve_metrics(a);
	return rc;
}

static int agent_open(struct agent *a)
{
	int err = agent_load_config(a, &a->config);

	if (err)
		return err;
	a->journal = journal_new(a->config->journal_size);
	a->spans = spans_new(SPANS_KEPT, a->wall_offset_ns);
	if (!a->journal || !a->spans)
		return -ENOMEM;
	if (mkdir(a->config->run_dir, 0755) && errno != EEXIST)
		log_warn("run_dir %s: %s", a->config->run_dir, strerror(errno));
	err = open_state(a);
	if (!err)
		err = open_host(a);
	if (!err)
		err = open_jobs(a);
	if (!err)
		err = open_wake(a);
	if (err)
		return err;
	loop_guard(a);
	err = open_registry(a);
	if (!err)
		err = open_api(a);
	if (err)
		return err;
	node_configure(a);
	loop_start(a);
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
		if (!agent_collect_state(a, &s))
			on_saved(state_writer_save_now(a->writer, &s), a);
		state_done(&s);
	}
	if (a->api)
		api_close(a->api);
	metrics_close(a->metrics);
	images_view_free(a->images);
	wake_stop(a->wake);
	worker_free(a->worker);
	hooks_free(a->hooks);
	node_close(a);
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
	spans_free(a->spans);
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
