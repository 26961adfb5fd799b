/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The inside of struct registry, for the registry*.c files alone. */
#ifndef HEARTH_REGISTRY_INTERNAL_H
#define HEARTH_REGISTRY_INTERNAL_H

#include "agent/registry.h"
#include "trace/prior.h"

struct registry {
	struct registry_options o;
	const struct kernel_maps *maps;
	const struct config *config;
	struct prior prior; /* of predictive policies that are made from now on */
	struct function *functions;
	struct function **by_index;
	struct instance *instances;
	struct instance **by_slot;
	struct registry_counts forgotten;
	uint32_t cursor; /* where the search for a free slot goes on */
	bool full_told;
};

/* The function called name, made if need be; NULL (told) at the cap or without memory. */
struct function *registry_function_get(struct registry *r, const char *name);
void registry_function_configure(struct registry *r, struct function *fn);
void registry_functions_adopt(struct registry *r);
void registry_function_done(struct function *fn);

/* Bring the prior in line with the configuration and what is learned; policies stay. */
void registry_prior_make(struct registry *r);

/* A cgroup becomes an instance (its fd is duplicated), and stops being one. */
void registry_add(struct registry *r, int fd, uint64_t cgid, const char *path,
		  const struct naming_result *name, bool fresh);
void registry_remove(struct registry *r, struct instance *inst);
/* The instance that the parent of this cgroup belongs to, or NULL. */
struct instance *registry_outer(struct registry *r, int fd);
/*
 * Where an image manager fills the cgroup, the processes in it are invocations: those the kernel
 * counted before it was an instance, and those that were there before the kernel side was.
 */
void registry_adopt_images(struct registry *r, struct instance *inst);
/* Retire a slot that the kernel no longer watches; it does so itself at rmdir. */
void registry_release(struct registry *r, uint32_t slot);

#endif
