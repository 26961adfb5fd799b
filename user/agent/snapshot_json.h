/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Snapshot structs and journal entries as JSON, field for field as docs/api.md
 * says. Numbers that are not finite become null; bytes that are no UTF-8
 * become '?'. New references; NULL only without memory.
 */
#ifndef HEARTH_SNAPSHOT_JSON_H
#define HEARTH_SNAPSHOT_JSON_H

#include <jansson.h>

#include "agent/journal.h"
#include "agent/snapshot.h"
#include "agent/spans.h"

json_t *snapshot_instance_json(const struct snapshot_instance *i);

/* with_histogram: also the bins. */
json_t *snapshot_function_json(const struct snapshot_function *f, bool with_histogram);

/* What its policies would have cost; null if no shadow runs beside its own. */
json_t *snapshot_shadow_json(const struct snapshot_function *f);

json_t *snapshot_status_json(const struct snapshot_status *s);

json_t *snapshot_entry_json(const struct journal_entry *e);

/* In place of some that nobody told of: seq, function and lost. */
json_t *snapshot_span_json(const struct span *s);

/* A string from outside, made fit for JSON. */
json_t *snapshot_text_json(const char *text);

#endif
