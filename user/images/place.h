/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The manager's cgroups: made on demand, removed once empty, delegated to their owners. */
#ifndef HEARTH_IMAGES_PLACE_H
#define HEARTH_IMAGES_PLACE_H

#include "images/manager.h"

/* The path of UID/TAIL below the cgroup2 root; free() it. NULL without memory. */
char *place_path(const struct manager *m, uid_t uid, const char *tail);

/* A directory fd of such a path, made if need be, for this owner; or -errno. */
int place_make(struct manager *m, const struct image_settings *owner, const char *path);

/*
 * A new one below a cgroup of place_make(). It has no memory controller of its own:
 * what is charged there is the account of the one above, whose cap holds it.
 */
int place_leaf(struct manager *m, const struct image_settings *owner, const char *path);

/*
 * What was killed is put aside for an empty one of the same path: a kernel may kill each process
 * that is born in a cgroup after a kill of it (6.18 does). It waits; -EBUSY: it did not end.
 */
int place_renew(struct manager *m, const struct image_settings *owner, const char *path, int *fd);

/* Remove it and those above it that are empty, up to the manager's own. A populated one stays. */
void place_remove(struct manager *m, const char *path);

/* The limit of processes may have changed: that of all owners. */
void place_bound(struct manager *m);

/* What a manager before this one left: its images are ended, empty cgroups removed. */
void place_sweep(struct manager *m);

#endif
