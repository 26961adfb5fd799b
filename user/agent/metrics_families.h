/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The families of metrics: name, type and help in one table, in the order of the
 * page, and which of them are plain fields of the snapshot. docs/api.md lists
 * what stands here; a test compares the two.
 */
#ifndef HEARTH_METRICS_FAMILIES_H
#define HEARTH_METRICS_FAMILIES_H

#include <stddef.h>

enum metrics_family {
	FUNCTION_INVOCATIONS,
	FUNCTION_BUSY_SPANS,
	FUNCTION_COLD_STARTS,
	FUNCTION_LUKEWARM_STARTS,
	FUNCTION_FREEZES,
	FUNCTION_WAKES,
	FUNCTION_RECLAIMS,
	FUNCTION_RETURNED,
	FUNCTION_EVICTIONS,
	FUNCTION_PREWARMS,
	FUNCTION_FROZEN_SECONDS,
	FUNCTION_INFLIGHT,
	FUNCTION_IDLE_AGE,
	FUNCTION_INSTANCES,
	FUNCTION_MEMORY_BYTES,
	FUNCTION_IDLE_SECONDS,
	BUILD_INFO,
	MANAGING,
	START_TIME,
	STATE_SAVED,
	CPU,
	MEMORY,
	FUNCTIONS,
	FUNCTIONS_LEFT_OUT,
	INSTANCES,
	INSTANCES_FROZEN,
	INSTANCES_RECLAIMED,
	INFLIGHT,
	INVOCATIONS,
	COLD_STARTS,
	LUKEWARM_STARTS,
	FREEZES,
	WAKES,
	FREEZE_FAILURES,
	FOREIGN_FREEZES,
	WAKE_SECONDS,
	WAKE_FIFO,
	GUARD_ALIVE,
	GUARD_THAWS,
	EVENTS_LOST,
	HOOK_ATTACHED,
	HOOK_RUNS,
	HOOK_SECONDS,
	MAP_ENTRIES,
	MAP_CAPACITY,
	IDLE_BYTES,
	BUDGET_BYTES,
	RETURNED,
	SWAPPED,
	SWAP_BUDGET,
	EVICTIONS,
	PREWARMS,
	PRESSURE_EVENTS,
	PRESSURE,
	IMAGE_MANAGER_UP,
	IMAGE_STATE,
	IMAGE_OWNER,
	IMAGE_USERS,
	IMAGE_RUNNING,
	IMAGE_CHILDREN,
	IMAGE_SPARES,
	IMAGE_RESIDENT,
	IMAGE_SWAPPED,
	IMAGE_SAVED,
	IMAGE_HITS,
	IMAGE_COLD,
	IMAGE_SECONDS,
	METRICS_FAMILIES
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_SUMMARY, METRIC_HISTOGRAM };

struct metrics_family_info {
	const char *name;
	enum metric_type type;
	const char *help;
};
extern const struct metrics_family_info metrics_families[METRICS_FAMILIES];

/* A family with one sample: a field of the snapshot struct that its table is about. */
enum metrics_value_kind { VALUE_BOOL, VALUE_UINT, VALUE_U64, VALUE_REAL };
struct metrics_value {
	enum metrics_family family;
	enum metrics_value_kind kind;
	size_t offset;
};
extern const struct metrics_value metrics_function_values[];
extern const size_t metrics_n_function_values;
extern const struct metrics_value metrics_status_values[];
extern const size_t metrics_n_status_values;
extern const struct metrics_value metrics_image_values[];
extern const size_t metrics_n_image_values;

double metrics_value(const struct metrics_value *v, const void *snapshot);

#endif
