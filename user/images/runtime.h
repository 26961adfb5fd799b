/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an image may run. Python forks its instances. Node.js has threads and cannot: its
 * image is nothing but spares, each a process of its own that one instance takes over.
 */
#ifndef HEARTH_IMAGES_RUNTIME_H
#define HEARTH_IMAGES_RUNTIME_H

#include <stdbool.h>

#include "images/settings.h"

struct runtime {
	const char *name;
	const char *interpreter;   /* unless the image names another */
	const char *path_variable; /* where it looks for modules */
	bool forks;
};

/* NULL: there is no such runtime. The first is the default. */
const struct runtime *runtime_find(const char *name);
#define RUNTIME_ACCEPTED "python, node"

/*
 * Lists for spawn(), one allocation each; NULL without memory. A spare loads the image's
 * modules and waits on SPAWN_FD; heap_bytes: most that its modules and handler may take, 0:
 * the cgroup's limit counts. Cold: a fresh interpreter that does what an instance does.
 */
char **runtime_spare_argv(const struct settings *all, const struct image_settings *image,
			  uint64_t heap_bytes);
char **runtime_cold_argv(const struct settings *all, const struct image_settings *image,
			 char *const *argv);

/* The request's environment (NULL: the image's), in which the image's modules are found, after its
 * own. */
char **runtime_env(const struct image_settings *image, char *const *env);

#endif
