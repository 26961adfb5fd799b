/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inside the naming rules: ready-made sets (shapes of cgroup paths) and labels
 * (what a container runtime's state folder says about a container id).
 */
#ifndef HEARTH_NAMING_SETS_H
#define HEARTH_NAMING_SETS_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/naming.h"

#define NAMING_DEPTH_MAX 48 /* components of a path; deeper ones match no set */
#define NAMING_ID_LEN    64 /* hex digits of a container id */
#define NAMING_SHORT_ID  12 /* as the runtimes print it */

struct naming_path {
	const char *part[NAMING_DEPTH_MAX];
	size_t n; /* > 0 */
};

struct naming_set {
	const char *name;
	/* fsroot is NULL if look-ups are off. Fills function and instance. */
	bool (*match)(const struct naming_path *p, const char *fsroot, struct naming_result *out);
};

const struct naming_set *naming_set_find(const char *name);

/*
 * Copy a name that others chose: control bytes, spaces and broken UTF-8 become
 * \xHH, and what is too long ends in ~ and a hash, so that it stays unique.
 */
void naming_text(char out[NAMING_TEXT], const char *name);

enum naming_verdict {
	NAMING_UNKNOWN, /* nothing (usable) is known of this id */
	NAMING_NAMED,   /* out is filled */
	NAMING_REFUSED, /* known, and no function: a pause container, a cluster node */
};

/* id has NAMING_ID_LEN lower-case hex digits. Functions are named as in the guide. */
enum naming_verdict naming_docker_labels(const char *fsroot, const char *id,
					 struct naming_result *out);
enum naming_verdict naming_podman_labels(const char *fsroot, const char *id,
					 struct naming_result *out);
enum naming_verdict naming_kubernetes_labels(const char *fsroot, const char *id,
					     struct naming_result *out);

#endif
