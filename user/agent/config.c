/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a configuration and what it answers: the settings of a function,
 * its sources, whether it makes sense. A load that fails leaves nothing behind.
 */
#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include <hearth/rank.h>

#include "agent/config.h"
#include "agent/config_keys.h"
#include "agent/naming.h"
#include "lib/util.h"

/* The texts that settings own. */
static const size_t texts[] = {
    offsetof(struct fn_settings, policy),
    offsetof(struct fn_settings, shadow),
    offsetof(struct fn_settings, probe_ua[0]),
    offsetof(struct fn_settings, probe_ua[1]),
    offsetof(struct fn_settings, hook[HOOK_PRE_FREEZE]),
    offsetof(struct fn_settings, hook[HOOK_POST_THAW]),
    offsetof(struct fn_settings, hook[HOOK_PREWARM]),
    offsetof(struct fn_settings, hook[HOOK_ON_EVICT]),
};

static char **text_of(const struct fn_settings *s, size_t i)
{
	return (char **)((char *)s + texts[i]);
}

void fn_settings_done(struct fn_settings *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(*text_of(s, i));
	free(s->probe_nets);
	memset(s, 0, sizeof(*s));
}

static int copy_settings(const struct fn_settings *from, struct fn_settings *to)
{
	bool ok = true;

	*to = *from;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *text = *text_of(from, i);

		*text_of(to, i) = text ? strdup(text) : NULL;
		ok = ok && !*text_of(to, i) == !text;
	}
	to->probe_nets = NULL;
	if (from->n_probe_nets) {
		size_t bytes = from->n_probe_nets * sizeof(*to->probe_nets);

		to->probe_nets = malloc(bytes);
		if (to->probe_nets)
			memcpy(to->probe_nets, from->probe_nets, bytes);
		ok = ok && to->probe_nets;
	}
	if (!ok)
		fn_settings_done(to);
	return ok ? 0 : -ENOMEM;
}

static int apply_section(const struct fn_section *section, struct fn_settings *s)
{
	char why[256];

	for (size_t i = 0; i < section->n_set; i++) {
		const struct config_key *key = section->set[i].key;
		int rc = config_key_parse(key, section->set[i].value, s, why, sizeof(why));

		if (rc < 0)
			return rc;
		s->source_named |= key->offset == offsetof(struct fn_settings, source);
	}
	return 0;
}

int config_settings(const struct config *c, const char *function, struct fn_settings *out)
{
	struct fn_settings s;
	int rc = copy_settings(&c->defaults, &s);

	for (size_t i = 0; rc == 0 && i < c->n_sections; i++) {
		if (fnmatch(c->sections[i].glob, function, FNM_NOESCAPE) != 0)
			continue;
		rc = apply_section(&c->sections[i], &s);
		if (rc < 0)
			fn_settings_done(&s);
	}
	if (rc == 0)
		*out = s;
	return rc;
}

enum source_choice config_source(const struct fn_settings *s, int rule_source)
{
	if (s->source_named || rule_source < 0)
		return s->source;
	return (enum source_choice)rule_source;
}

static bool section_wants_unix(const struct fn_section *section)
{
	for (size_t i = 0; i < section->n_set; i++) {
		if (section->set[i].key->offset == offsetof(struct fn_settings, source) &&
		    strcmp(section->set[i].value, "unix") == 0)
			return true;
	}
	return false;
}

/* Exchange what a key of [agent] says. False: both say the same. */
static bool exchange(const struct config_key *k, struct config *a, struct config *b)
{
	void *one = (char *)a + k->offset, *other = (char *)b + k->offset;
	bool text = k->type == &config_path || k->type == &config_string;
	size_t size = k->type == &config_flag ? sizeof(bool)
		      : text                  ? sizeof(char *)
					      : sizeof(unsigned int);
	char copy[sizeof(char *)];

	if (text ? !strcmp(*(char **)one, *(char **)other) : !memcmp(one, other, size))
		return false;
	memcpy(copy, one, size);
	memcpy(one, other, size);
	memcpy(other, copy, size);
	return true;
}

void config_keep_running(struct config *next, struct config *running, char *names, size_t size)
{
	size_t n, len = 0;
	const struct config_key *keys = config_keys(&n);

	*names = '\0';
	for (size_t i = 0; i < n; i++) {
		if (keys[i].restart && exchange(&keys[i], next, running) && len < size)
			len += (size_t)snprintf(names + len, size - len, "%s%s", len ? ", " : "",
						keys[i].key);
	}
}

bool config_wants_unix(const struct config *c)
{
	if (c->defaults.source == SOURCE_UNIX || naming_has_source(c->naming, SOURCE_UNIX))
		return true;
	for (size_t i = 0; i < c->n_sections; i++) {
		if (section_wants_unix(&c->sections[i]))
			return true;
	}
	return false;
}

const char *config_warning(const struct config *c)
{
	if (naming_count(c->naming) == 0)
		return "no [rule NAME] section: nothing is watched and nothing is managed";
	return NULL;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_sections; i++) {
		free(c->sections[i].glob);
		for (size_t j = 0; j < c->sections[i].n_set; j++)
			free(c->sections[i].set[j].value);
	}
	free(c->sections);
	fn_settings_done(&c->defaults);
	free(c->prior);
	hearth_ranker_free(c->memory.ranker);
	naming_free(c->naming);
	free(c->path);
	free(c->socket);
	free(c->socket_group);
	free(c->images_socket);
	free(c->state_dir);
	free(c->attach);
	free(c->pin_dir);
	free(c->run_dir);
	free(c);
}

static int set_defaults(struct config *c, char *err, size_t err_size)
{
	size_t n;
	const struct config_key *keys = config_keys(&n);
	char why[256] = "out of memory";

	for (size_t i = 0; i < n; i++) {
		int rc;

		if (strcmp(keys[i].section, "agent") != 0 &&
		    strcmp(keys[i].section, "memory") != 0 &&
		    strcmp(keys[i].section, "policy") != 0)
			continue;
		rc = config_key_parse(&keys[i], keys[i].fallback, config_key_base(c, &keys[i]), why,
				      sizeof(why));
		if (rc < 0) {
			snprintf(err, err_size, "default of [%s] %s: %s", keys[i].section,
				 keys[i].key, why);
			return rc;
		}
	}
	return 0;
}

/* run_dir is the folder of the socket unless it is named. */
static int set_run_dir(struct config *c)
{
	size_t len = (size_t)(strrchr(c->socket, '/') - c->socket);
	char *dir;

	if (*c->run_dir)
		return 0;
	dir = strndup(c->socket, MAX(len, (size_t)1));
	if (!dir)
		return -ENOMEM;
	free(c->run_dir);
	c->run_dir = dir;
	return 0;
}

static int load(struct config *c, const char *path, char *err, size_t err_size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	int rc;

	if (!f) {
		rc = -errno;
		snprintf(err, err_size, "%s: %s", path, strerror(-rc));
		return rc;
	}
	rc = set_defaults(c, err, err_size);
	if (rc == 0)
		rc = config_parse(c, f, err, err_size);
	return rc;
}

int config_load(const char *path, struct config **out, char *err, size_t err_size)
{
	struct config *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	snprintf(err, err_size, "%s: %s", path, strerror(ENOMEM));
	if (!c)
		return rc;
	c->path = strdup(path);
	c->naming = naming_new();
	if (c->path && c->naming)
		rc = load(c, path, err, err_size);
	if (rc == 0)
		rc = set_run_dir(c);
	if (rc < 0) {
		config_free(c);
		return rc;
	}
	*out = c;
	return 0;
}
