/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which cgroup the socket hooks sit on: the rules' common ancestor, or a wider one. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

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
int attach_open(struct agent *a, int *fd)
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
void attach_again(struct agent *a)
{
	char was[PATH_MAX];
	int fd, err;

	snprintf(was, sizeof(was), "%s", a->attach);
	err = attach_open(a, &fd);
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
