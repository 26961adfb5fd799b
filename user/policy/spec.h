/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Specs, `name[:arg][,key=value...]`, against a parameter list: text to values
 * and values to canonical text. Reads and writes numbers without the locale.
 */
#ifndef HEARTH_POLICY_SPEC_H
#define HEARTH_POLICY_SPEC_H

#include <stddef.h>

#include "policy/def.h"

/*
 * Values of the text after the name (":arg,key=value..." or ""). 0 or -EINVAL
 * with a message that starts with `name`.
 */
int spec_parse(const char *name, const struct policy_param *params, const char *rest,
	       double cold_cost_s, double v[], char *err, size_t err_size);

/* Canonical text: keys at their default left out. `out` has SPEC_MAX bytes. */
void spec_write(const char *name, const struct policy_param *params, const double v[],
		double cold_cost_s, char *out);

/*
 * Index of the name that spec starts with, *rest what follows it. -EINVAL with
 * a message that names the nearest one and all of them; `kind` is what they are.
 */
int spec_lookup(const char *kind, const char *spec, const char *(*name_at)(size_t), size_t n,
		const char **rest, char *err, size_t err_size);

#endif
