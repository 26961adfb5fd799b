/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearthd: command line and what needs no running agent. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "agent/agent.h"
#include "agent/delays.h"
#include "lib/log.h"
#include "lib/util.h"

#define CONFIG_DEFAULT "/etc/hearth/hearth.conf"

static const char USAGE[] =
    "Usage: hearthd [OPTION...]\n"
    "Watch the functions of this host, learn their idle times, freeze and wake them.\n"
    "\n"
    "  -c, --config FILE    configuration (default " CONFIG_DEFAULT ")\n"
    "  -s, --socket PATH    API socket, overrides the configuration\n"
    "  -m, --mode MODE      observe or manage, overrides the configuration\n"
    "      --check-config   read the configuration, say what is wrong, exit\n"
    "      --thaw           thaw what a dead hearthd left frozen, exit\n"
    "      --uninstall      thaw, then remove everything pinned in the kernel, exit\n"
    "      --debug          log more\n"
    "      --help, --version\n";

enum { OPT_CHECK = 256, OPT_THAW, OPT_UNINSTALL, OPT_DEBUG, OPT_HELP, OPT_VERSION };

static const struct option OPTIONS[] = {
    {"config", required_argument, NULL, 'c'},    {"socket", required_argument, NULL, 's'},
    {"mode", required_argument, NULL, 'm'},      {"check-config", no_argument, NULL, OPT_CHECK},
    {"thaw", no_argument, NULL, OPT_THAW},       {"uninstall", no_argument, NULL, OPT_UNINSTALL},
    {"debug", no_argument, NULL, OPT_DEBUG},     {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION}, {},
};

static int usage_error(const char *fmt, const char *arg)
{
	fprintf(stderr, "hearthd: ");
	fprintf(stderr, fmt, arg);
	fprintf(stderr, "\nTry 'hearthd --help'.\n");
	return 2;
}

static int load(const char *path, struct config **out)
{
	char err[512];
	int rc = config_load(path, out, err, sizeof(err));

	if (rc)
		fprintf(stderr, "hearthd: %s\n", err);
	return rc;
}

static int check_config(const char *path)
{
	struct config *c;

	if (load(path, &c))
		return 1;
	printf("%s: ok, mode %s\n", path, agent_mode_name(c->mode));
	config_free(c);
	return 0;
}

static int thaw(const char *path)
{
	struct config *c;
	int err;

	if (load(path, &c))
		return 1;
	err = guard_thaw_leftovers(c->run_dir);
	if (err)
		log_error("%s: %s", c->run_dir, strerror(-err));
	config_free(c);
	return err ? 1 : 0;
}

/* Thaw first: without the hooks nobody would wake what is frozen. */
static int uninstall(const char *path)
{
	struct config *c;
	int err;

	if (load(path, &c))
		return 1;
	err = guard_thaw_leftovers(c->run_dir);
	if (!err)
		err = kernel_uninstall(c->pin_dir);
	if (!err)
		guard_table_remove(c->run_dir);
	if (err == -EBUSY)
		log_error("a hearthd is running on %s: stop it first", c->pin_dir);
	else if (err)
		log_error("%s: %s", c->pin_dir, strerror(-err));
	config_free(c);
	return err ? 1 : 0;
}

/* Two files an instance, and what a scan of its sockets opens. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Where memory is short, the process that can mend it must not wait for its own pages. */
static void lock_memory(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		log_info("memory is not locked: %s", strerror(errno));
}

static int run(const struct agent_options *o)
{
	raise_file_limit();
	lock_memory();
	return delays_init() || agent_run(o) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct agent_options o = {.config_path = CONFIG_DEFAULT, .mode = -1};
	int what = 0, c;

	if (argc > 1 && !strcmp(argv[1], "--guard"))
		return guard_main(argc, argv);
	while ((c = getopt_long(argc, argv, "c:s:m:", OPTIONS, NULL)) != -1) {
		switch (c) {
		case 'c':
			o.config_path = optarg;
			break;
		case 's':
			o.socket = optarg;
			break;
		case 'm':
			if (strcmp(optarg, "observe") && strcmp(optarg, "manage"))
				return usage_error("mode '%s': accepted are observe and manage",
						   optarg);
			o.mode = !strcmp(optarg, "manage") ? MODE_MANAGE : MODE_OBSERVE;
			break;
		case OPT_DEBUG:
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case OPT_HELP:
			fputs(USAGE, stdout);
			return 0;
		case OPT_VERSION:
			puts("hearthd " HEARTH_VERSION);
			return 0;
		case '?':
			return usage_error("%s", "bad option");
		default:
			what = c;
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);
	switch (what) {
	case OPT_CHECK:
		return check_config(o.config_path);
	case OPT_THAW:
		return thaw(o.config_path);
	case OPT_UNINSTALL:
		return uninstall(o.config_path);
	default:
		return run(&o);
	}
}
