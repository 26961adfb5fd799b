/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table that `predictive` starts from, as a file: how long the apps of a
 * population wait for their next arrival. CSV, minute,probability; # begins a
 * comment. What is read holds what hearth_policy_set_prior asks for.
 */
#ifndef HEARTH_TRACE_PRIOR_H
#define HEARTH_TRACE_PRIOR_H

#include <stdio.h>

#include <hearth/policy.h>

struct prior {
	struct hearth_prior_cell cells[HEARTH_PRIOR_MINUTES];
	size_t n;
};

void prior_built_in(struct prior *out);

/* 0 or -errno. */
int prior_write(const struct prior *prior, size_t apps, FILE *f);
/* 0, or -errno with a message that names file and line. */
int prior_read(const char *path, struct prior *out, char *err, size_t err_size);

#endif
