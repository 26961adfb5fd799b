/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Naming rules: cgroup path (below the cgroup2 mount, no leading slash) ->
 * function and instance name. Rules are tried in order; the first match wins.
 * A cgroup that no rule names is never touched.
 */
#ifndef HEARTH_NAMING_H
#define HEARTH_NAMING_H

#include <stdbool.h>
#include <stddef.h>

struct naming;

#define NAMING_TEXT 128

struct naming_result {
	char function[NAMING_TEXT]; /* printable, valid UTF-8; may contain '/' */
	char instance[NAMING_TEXT];
	const char *rule; /* name of the rule, lives as long as the naming */
	int source;       /* enum source_choice the rule asks for, -1: none */
};

struct naming *naming_new(void);
void naming_free(struct naming *n);

/*
 * Add [rule NAME]: a glob with {function} and {instance} captures, each
 * matching within one path component; `*` and `?` match within a component,
 * `**` any number of them; everything else, also a backslash, is itself.
 * Without {function} the function is named after the rule, without {instance}
 * the instance after the last component. 0 or -EINVAL with a message; -ENOMEM.
 */
int naming_add_glob(struct naming *n, const char *rule, const char *pattern, int source, char *err,
		    size_t err_size);
/*
 * The same with a POSIX extended regex for the whole path, whose named captures
 * are (?<function>..) and (?<instance>..).
 */
int naming_add_regex(struct naming *n, const char *rule, const char *regex, int source, char *err,
		     size_t err_size);
/* Add a ready-made set: systemd, docker, podman, kubernetes (see naming_sets.c). */
int naming_add_set(struct naming *n, const char *rule, const char *set, int source, char *err,
		   size_t err_size);

/*
 * Where container names come from (runtime state folders below fsroot, "/" by
 * default); "" turns look-ups off, containers are named by id then. -ENOMEM.
 */
int naming_set_root(struct naming *n, const char *fsroot);

/* True if a rule asks for this source. */
bool naming_has_source(const struct naming *n, int source);

size_t naming_count(const struct naming *n);

/*
 * True if a rule names exactly this cgroup. Cgroups nested in a match are not
 * matches: they belong to their nearest matching ancestor.
 */
bool naming_match(const struct naming *n, const char *path, struct naming_result *out);

/*
 * Deepest folder that contains everything the rules can match, "" for the
 * root: literal prefix common to all patterns. Where to attach.
 */
void naming_common_ancestor(const struct naming *n, char *out, size_t out_size);

#endif
