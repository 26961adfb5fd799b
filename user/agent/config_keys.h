/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inside the configuration: from the name of a key to its row in the table, and
 * from the text of a value to a field of struct config or struct fn_settings.
 */
#ifndef HEARTH_CONFIG_KEYS_H
#define HEARTH_CONFIG_KEYS_H

#include <stdio.h>

#include "agent/config.h"

/* How values of one kind are read. The table says which fields are of which kind. */
struct config_type {
	/*
	 * Store text in the field of `base` that the key names, freeing what was
	 * there. 0; -EINVAL with what is wrong in why; -ENOMEM. The field is
	 * unchanged on error.
	 */
	int (*parse)(const struct config_key *key, const char *text, void *base, char *why,
		     size_t why_size);
};

extern const struct config_type config_duration, config_choice, config_flag, config_number,
    config_share, config_path, config_endpoint, config_string, config_policy, config_policies,
    config_probes, config_prior, config_size, config_size_or_share, config_percent, config_pressure,
    config_set, config_ranker, config_command;

#define CONFIG_KEYS_MAX 64 /* in one section */

/* A [function GLOB] section: what it sets, as text that is known to parse. */
struct fn_section {
	char *glob;
	struct {
		const struct config_key *key;
		char *value;
	} set[CONFIG_KEYS_MAX];
	size_t n_set;
};

/* Read a file into a config that holds the defaults. 0, or -errno with a line in err. */
int config_parse(struct config *cfg, FILE *file, char *err, size_t err_size);

/* Key of a section as it may be written there; NULL if there is none. */
const struct config_key *config_key_find(const char *section, const char *key);

/* Section a key would be right in, or NULL. */
const char *config_key_home(const char *key);

/* The accepted key most like this one, or NULL if none is near. */
const struct config_key *config_key_nearest(const char *section, const char *key);

/* What the offset of an [agent], [memory] or [policy] key counts from. */
void *config_key_base(struct config *c, const struct config_key *key);

/* The keys a section accepts, separated by ", ". */
void config_key_names(const char *section, char *out, size_t size);

static inline int config_key_parse(const struct config_key *k, const char *text, void *base,
				   char *why, size_t why_size)
{
	return k->type->parse(k, text, base, why, why_size);
}

#endif
