/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rules in the order of the file, and how a path goes through them: the first
 * that matches names it. The list only grows; results point into it.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "agent/naming.h"
#include "agent/naming_pattern.h"
#include "agent/naming_sets.h"
#include "lib/util.h"

struct rule {
	char *name;
	int source;
	const struct naming_set *set; /* NULL: the pattern */
	struct naming_pattern pattern;
};

struct naming {
	struct rule *rules;
	size_t n;
	char *fsroot; /* NULL: no look-ups */
};

static void rule_done(struct rule *r)
{
	if (!r->set)
		naming_pattern_done(&r->pattern);
	free(r->name);
}

/* Takes what r owns, also on failure. */
static int add_rule(struct naming *n, struct rule *r, const char *name)
{
	struct rule *more = NULL;

	r->name = strdup(name);
	if (r->name)
		more = reallocarray(n->rules, n->n + 1, sizeof(*n->rules));
	if (!more) {
		rule_done(r);
		return -ENOMEM;
	}
	n->rules = more;
	n->rules[n->n++] = *r;
	return 0;
}

int naming_add_glob(struct naming *n, const char *rule, const char *pattern, int source, char *err,
		    size_t err_size)
{
	struct rule r = {.source = source};
	int rc = naming_pattern_glob(pattern, &r.pattern, err, err_size);

	return rc < 0 ? rc : add_rule(n, &r, rule);
}

int naming_add_regex(struct naming *n, const char *rule, const char *regex, int source, char *err,
		     size_t err_size)
{
	struct rule r = {.source = source};
	int rc = naming_pattern_regex(regex, &r.pattern, err, err_size);

	return rc < 0 ? rc : add_rule(n, &r, rule);
}

int naming_add_set(struct naming *n, const char *rule, const char *set, int source, char *err,
		   size_t err_size)
{
	struct rule r = {.source = source, .set = naming_set_find(set)};

	if (!r.set) {
		snprintf(err, err_size, "\"%s\" is not a ready-made set", set);
		return -EINVAL;
	}
	return add_rule(n, &r, rule);
}

/* Cuts buf into components; false if it is no clean relative path. */
static bool split(char *buf, struct naming_path *p)
{
	p->n = 0;
	for (char *s = buf; s; p->n++) {
		char *slash = strchr(s, '/');

		if (p->n == NAMING_DEPTH_MAX || !*s || slash == s)
			return false;
		p->part[p->n] = s;
		if (slash)
			*slash = '\0';
		s = slash ? slash + 1 : NULL;
	}
	return true;
}

bool naming_match(const struct naming *n, const char *path, struct naming_result *out)
{
	struct naming_result found;
	struct naming_path parts;
	char buf[PATH_MAX];
	bool clean;

	if (!*path || *path == '/' || strlen(path) >= sizeof(buf))
		return false;
	strcpy(buf, path);
	clean = split(buf, &parts);
	for (size_t i = 0; i < n->n; i++) {
		const struct rule *r = &n->rules[i];

		if (r->set ? !clean || !r->set->match(&parts, n->fsroot, &found)
			   : !naming_pattern_match(&r->pattern, path, r->name, &found))
			continue;
		found.rule = r->name;
		found.source = r->source;
		*out = found;
		return true;
	}
	return false;
}

/* Shorten a to the folders that a and b have in common. */
static void keep_common(char *a, const char *b)
{
	size_t i = 0, folder = 0;

	for (; a[i] && a[i] == b[i]; i++) {
		if (a[i] == '/')
			folder = i;
	}
	if ((!a[i] || a[i] == '/') && (!b[i] || b[i] == '/'))
		folder = i;
	a[folder] = '\0';
}

/* Sets can match anywhere: runtimes nest. */
static const char *folder_of(const struct rule *r)
{
	return r->set ? "" : r->pattern.folder;
}

void naming_common_ancestor(const struct naming *n, char *out, size_t out_size)
{
	char common[PATH_MAX] = "";

	for (size_t i = 0; i < n->n; i++) {
		if (i == 0)
			snprintf(common, sizeof(common), "%s", folder_of(&n->rules[i]));
		else
			keep_common(common, folder_of(&n->rules[i]));
	}
	/* A shorter answer is still an ancestor, so cut at a folder if it does not fit. */
	while (strlen(common) >= out_size && *common) {
		char *slash = strrchr(common, '/');

		*(slash ? slash : common) = '\0';
	}
	snprintf(out, out_size, "%s", common);
}

bool naming_has_source(const struct naming *n, int source)
{
	for (size_t i = 0; i < n->n; i++) {
		if (n->rules[i].source == source)
			return true;
	}
	return false;
}

size_t naming_count(const struct naming *n)
{
	return n->n;
}

int naming_set_root(struct naming *n, const char *fsroot)
{
	char *copy = *fsroot ? strdup(fsroot) : NULL;

	if (*fsroot && !copy)
		return -ENOMEM;
	free(n->fsroot);
	n->fsroot = copy;
	return 0;
}

struct naming *naming_new(void)
{
	struct naming *n = calloc(1, sizeof(*n));

	if (n && naming_set_root(n, "/") < 0) {
		free(n);
		return NULL;
	}
	return n;
}

void naming_free(struct naming *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		rule_done(&n->rules[i]);
	free(n->rules);
	free(n->fsroot);
	free(n);
}
