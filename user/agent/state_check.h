/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files of the state module: the limits that writing and reading both hold. */
#ifndef HEARTH_STATE_CHECK_H
#define HEARTH_STATE_CHECK_H

#include <jansson.h>

#include "agent/state.h"
#include "hearth/event.h"

#define STATE_BINS HEARTH_BINS

/* NULL, or what is wrong with f. */
const char *state_check(const struct state_function *f);

/* s1 and s2 as the bins say; false if they do not fit. */
bool state_sums(const struct state_function *f, uint64_t *s1, uint64_t *s2);

bool state_measures_ok(const struct measures *m);

/* NULL: no memory. */
json_t *state_measures_json(const struct measures *m);

/* o may be NULL: nothing was measured. False: it is damaged. */
bool state_measures_read(const json_t *o, struct measures *m);

/* Move f to the end of s; f is empty afterwards. -ENOMEM leaves both alone. */
int state_push(struct state *s, struct state_function *f);

#endif
