/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth-images: command line, children, and the end. However it ends, its images
 * end with it - none stays behind frozen - and its instances run on.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "images/api.h"
#include "images/image.h"
#include "images/instance.h"
#include "images/logs.h"
#include "images/place.h"
#include "images/roster.h"
#include "images/saved.h"
#include "images/spare.h"
#include "lib/cgroup.h"
#include "lib/log.h"
#include "lib/util.h"

#define CONFIG_DEFAULT "/etc/hearth/images.conf"

static const char USAGE[] =
    "Usage: hearth-images [OPTION...]\n"
    "Keep images: processes that have loaded what functions depend on, and fork them.\n"
    "\n"
    "  -c, --config FILE    configuration (default " CONFIG_DEFAULT ")\n"
    "      --check-config   read the configuration, say what is wrong, exit\n"
    "      --help, --version\n";

enum { OPT_CHECK = 256, OPT_HELP, OPT_VERSION };

static const struct option OPTIONS[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {},
};

struct image *manager_find(struct manager *m, const char *name)
{
	struct image *image;

	DL_FOREACH (m->images, image) {
		if (!image->retired && !strcmp(image->settings->name, name))
			break;
	}
	return image;
}

/* ---- children */

static void tell(struct manager *m, pid_t pid, int status)
{
	struct image *image;

	DL_SEARCH_SCALAR(m->images, image, pid, pid);
	if (image)
		image_exited(image, status);
	else if (!spare_exited(m, pid, status))
		instance_exited(m, pid, status);
}

static void reap_known(struct manager *m)
{
	struct image *image, *next;
	int status;

	DL_FOREACH_SAFE(m->images, image, next)
	{
		if (image->pid && waitpid(image->pid, &status, WNOHANG) > 0)
			image_exited(image, status);
	}
	spare_reap_all(m);
	instance_reap_all(m);
}

/*
 * While one is being started, a dead child that nobody knows may be that one: it is
 * left for when it is known. Else it is nobody's: an image forked it, but its client
 * had given up.
 */
void manager_reap(struct manager *m)
{
	int status;
	pid_t pid;

	if (m->in_flight)
		reap_known(m);
	else
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			tell(m, pid, status);
}

static void on_child(uv_signal_t *handle, int signum)
{
	(void)signum;
	manager_reap(handle->data);
}

/* ---- begin and end */

static void on_end(uv_signal_t *handle, int signum)
{
	struct manager *m = handle->data;

	(void)signum;
	m->ending = true;
	uv_stop(&m->loop);
}

static void on_reload(uv_signal_t *handle, int signum)
{
	(void)signum;
	roster_reload(handle->data);
}

static bool images_live(const struct manager *m)
{
	struct image *image;

	DL_FOREACH (m->images, image) {
		if (image->pid || image->job || image->spares)
			return true;
	}
	return m->in_flight || m->usage_job || saved_pending(m);
}

/* Images end, instances go on; each turn of the loop ends with news of a child or a worker. */
static void end_images(struct manager *m)
{
	struct image *image;

	DL_FOREACH (m->images, image) {
		image_kill(image);
	}
	manager_reap(m);
	while (images_live(m))
		uv_run(&m->loop, UV_RUN_ONCE);
}

static int on_signal(struct manager *m, uv_signal_t *handle, uv_signal_cb callback, int signum)
{
	int err = uv_signal_init(&m->loop, handle);

	handle->data = m;
	return err ? err : uv_signal_start(handle, callback, signum);
}

static int begin(struct manager *m)
{
	char path[256];
	int err = cgroup_root_open("/proc", &m->root_fd, path, sizeof(path));

	if (err) {
		log_error("no cgroup2 mount: %s", strerror(-err));
		return err;
	}
	if (mkdir(m->settings->run_dir, 0700) < 0 && errno != EEXIST) {
		log_error("%s: %s", m->settings->run_dir, strerror(errno));
		return -errno;
	}
	err = uv_loop_init(&m->loop);
	if (!err)
		err = api_open(m);
	if (err) {
		log_error("%s: %s", m->settings->socket,
			  err == -EADDRINUSE ? "another hearth-images listens there"
					     : strerror(-err));
		return err;
	}
	place_sweep(m); /* only now: nobody else is at work here */
	err = logs_begin(m);
	if (!err)
		err = roster_begin(m);
	if (!err)
		err = saved_begin(m);
	if (!err)
		err = on_signal(m, &m->child_signal, on_child, SIGCHLD);
	if (!err)
		err = on_signal(m, &m->reload_signal, on_reload, SIGHUP);
	if (!err)
		err = on_signal(m, &m->term_signal, on_end, SIGTERM);
	return err ? err : on_signal(m, &m->int_signal, on_end, SIGINT);
}

static int run(struct settings *settings)
{
	static struct manager m;
	struct image *image, *next;
	struct rlimit files;
	size_t n;
	int err;

	getrlimit(RLIMIT_NOFILE, &m.files);
	files = (struct rlimit){m.files.rlim_max, m.files.rlim_max};
	setrlimit(RLIMIT_NOFILE, &files);
	setenv("UV_THREADPOOL_SIZE", TURNS_WORKERS, 0);
	m.settings = settings;
	err = begin(&m);
	if (err)
		return 1;
	DL_COUNT(m.images, image, n);
	log_info("%zu images are declared in %s, %zu through the API", settings->n_images,
		 settings->file, n - settings->n_images);
	while (!m.ending)
		uv_run(&m.loop, UV_RUN_DEFAULT);
	api_close(&m);
	logs_end(&m);
	end_images(&m);
	DL_FOREACH_SAFE(m.images, image, next)
	{
		image_free(image);
	}
	uv_run(&m.loop, UV_RUN_NOWAIT); /* frees them */
	saved_end(&m);
	return 0;
}

static int usage_error(void)
{
	fprintf(stderr, "Try 'hearth-images --help'.\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *config = CONFIG_DEFAULT;
	struct settings *settings;
	bool check = false;
	char err[512];
	int c, rc;

	while ((c = getopt_long(argc, argv, "c:", OPTIONS, NULL)) != -1) {
		switch (c) {
		case 'c':
			config = optarg;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_HELP:
			fputs(USAGE, stdout);
			return 0;
		case OPT_VERSION:
			puts("hearth-images " HEARTH_VERSION);
			return 0;
		default:
			return usage_error();
		}
	}
	if (optind < argc) {
		fprintf(stderr, "hearth-images: unexpected argument '%s'\n", argv[optind]);
		return usage_error();
	}
	if (settings_load(config, &settings, err, sizeof(err))) {
		fprintf(stderr, "hearth-images: %s\n", err);
		return 1;
	}
	if (check)
		printf("%s: ok, %zu images\n", config, settings->n_images);
	rc = check ? 0 : run(settings);
	settings_free(settings);
	fflush(NULL);
	_exit(rc); /* a worker may still close what a caller has sent (closing.h): not waited for */
}
