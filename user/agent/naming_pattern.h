/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inside the naming rules: one compiled glob or regular expression. It matches
 * whole paths only.
 */
#ifndef HEARTH_NAMING_PATTERN_H
#define HEARTH_NAMING_PATTERN_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/naming.h"

struct naming_pattern {
	regex_t regex;
	size_t function_group; /* 0: none */
	size_t instance_group;
	char *folder; /* literal folders in front, "" = the root */
};

/* 0; -EINVAL with what is wrong in err; -ENOMEM. See naming_add_glob and _regex. */
int naming_pattern_glob(const char *glob, struct naming_pattern *out, char *err, size_t err_size);
int naming_pattern_regex(const char *regex, struct naming_pattern *out, char *err, size_t err_size);
void naming_pattern_done(struct naming_pattern *p);

/* Fills function and instance; `rule` names the function if nothing captures it. */
bool naming_pattern_match(const struct naming_pattern *p, const char *path, const char *rule,
			  struct naming_result *out);

#endif
