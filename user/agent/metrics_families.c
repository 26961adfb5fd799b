/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdbool.h>
#include <stdint.h>

#include "agent/metrics_families.h"
#include "agent/snapshot.h"
#include "lib/util.h"

/* clang-format off */
const struct metrics_family_info metrics_families[METRICS_FAMILIES] = {
	[FUNCTION_INVOCATIONS] = { "hearth_function_invocations_total", METRIC_COUNTER,
		"Invocations that began." },
	[FUNCTION_BUSY_SPANS] = { "hearth_function_busy_spans_total", METRIC_COUNTER,
		"Times it went from idle to busy." },
	[FUNCTION_COLD_STARTS] = { "hearth_function_cold_starts_total", METRIC_COUNTER,
		"First invocations of fresh instances." },
	[FUNCTION_LUKEWARM_STARTS] = { "hearth_function_lukewarm_starts_total", METRIC_COUNTER,
		"Invocations that found their instance frozen or reclaimed." },
	[FUNCTION_FREEZES] = { "hearth_function_freezes_total", METRIC_COUNTER,
		"Freezes since hearthd started." },
	[FUNCTION_WAKES] = { "hearth_function_wakes_total", METRIC_COUNTER,
		"Thaws by a request since hearthd started." },
	[FUNCTION_RECLAIMS] = { "hearth_function_reclaims_total", METRIC_COUNTER,
		"Instances whose memory was given back since hearthd started." },
	[FUNCTION_RETURNED] = { "hearth_function_returned_bytes_total", METRIC_COUNTER,
		"Memory given back by reclaims since hearthd started." },
	[FUNCTION_EVICTIONS] = { "hearth_function_evictions_total", METRIC_COUNTER,
		"Instances killed by hearthd since it started." },
	[FUNCTION_PREWARMS] = { "hearth_function_prewarms_total", METRIC_COUNTER,
		"Instances made ready ahead of an invocation since hearthd started: hit, asked for too early, or wasted." },
	[FUNCTION_FROZEN_SECONDS] = { "hearth_function_frozen_instance_seconds_total", METRIC_COUNTER,
		"Time its instances were frozen by hearthd, added up." },
	[FUNCTION_INFLIGHT] = { "hearth_function_inflight", METRIC_GAUGE,
		"Invocations in flight." },
	[FUNCTION_IDLE_AGE] = { "hearth_function_idle_age_seconds", METRIC_GAUGE,
		"Time since its last invocation ended; absent while one is in flight." },
	[FUNCTION_INSTANCES] = { "hearth_function_instances", METRIC_GAUGE,
		"Instances by tier." },
	[FUNCTION_MEMORY_BYTES] = { "hearth_function_memory_bytes", METRIC_GAUGE,
		"Memory of its instances by tier, where the memory controller tells." },
	[FUNCTION_IDLE_SECONDS] = { "hearth_function_idle_seconds", METRIC_HISTOGRAM,
		"Idle times it has shown; the sum is estimated from the middle of the bins." },
	[BUILD_INFO] = { "hearth_build_info", METRIC_GAUGE,
		"The version that runs; always 1." },
	[MANAGING] = { "hearth_managing", METRIC_GAUGE,
		"1 in mode manage, 0 while it only observes." },
	[START_TIME] = { "hearth_start_time_seconds", METRIC_GAUGE,
		"When hearthd started, Unix time." },
	[STATE_SAVED] = { "hearth_state_saved_time_seconds", METRIC_GAUGE,
		"When what is learned was last written, Unix time." },
	[CPU] = { "hearth_cpu_seconds_total", METRIC_COUNTER,
		"CPU time of hearthd." },
	[MEMORY] = { "hearth_memory_bytes", METRIC_GAUGE,
		"Resident memory of hearthd." },
	[FUNCTIONS] = { "hearth_functions", METRIC_GAUGE,
		"Functions known." },
	[FUNCTIONS_LEFT_OUT] = { "hearth_functions_left_out", METRIC_GAUGE,
		"Functions that have no samples of their own here, because the page is bounded." },
	[INSTANCES] = { "hearth_instances", METRIC_GAUGE,
		"Instances known." },
	[INSTANCES_FROZEN] = { "hearth_instances_frozen", METRIC_GAUGE,
		"Instances frozen by hearthd, reclaimed ones included." },
	[INSTANCES_RECLAIMED] = { "hearth_instances_reclaimed", METRIC_GAUGE,
		"Instances whose memory is given back." },
	[INFLIGHT] = { "hearth_inflight", METRIC_GAUGE,
		"Invocations in flight on this node." },
	[INVOCATIONS] = { "hearth_invocations_total", METRIC_COUNTER,
		"Invocations of all functions." },
	[COLD_STARTS] = { "hearth_cold_starts_total", METRIC_COUNTER,
		"Cold starts of all functions." },
	[LUKEWARM_STARTS] = { "hearth_lukewarm_starts_total", METRIC_COUNTER,
		"Lukewarm starts of all functions." },
	[FREEZES] = { "hearth_freezes_total", METRIC_COUNTER,
		"Freezes since hearthd started." },
	[WAKES] = { "hearth_wakes_total", METRIC_COUNTER,
		"Thaws by a request since hearthd started." },
	[FREEZE_FAILURES] = { "hearth_freeze_failures_total", METRIC_COUNTER,
		"Freezes that did not come about." },
	[FOREIGN_FREEZES] = { "hearth_foreign_freezes_total", METRIC_COUNTER,
		"Freezes and thaws by others." },
	[WAKE_SECONDS] = { "hearth_wake_seconds", METRIC_SUMMARY,
		"From the kernel's event to the thaw, of the latest wakes." },
	[WAKE_FIFO] = { "hearth_wake_realtime", METRIC_GAUGE,
		"1 if the wake thread has real-time priority." },
	[GUARD_ALIVE] = { "hearth_guard_alive", METRIC_GAUGE,
		"1 while the guard watches." },
	[GUARD_THAWS] = { "hearth_guard_thaws_total", METRIC_COUNTER,
		"Times the guard had to thaw." },
	[EVENTS_LOST] = { "hearth_events_lost_total", METRIC_COUNTER,
		"Records and entries that found no place, by reason." },
	[HOOK_ATTACHED] = { "hearth_hook_attached", METRIC_GAUGE,
		"1 if the kernel hook is in place." },
	[HOOK_RUNS] = { "hearth_hook_runs_total", METRIC_COUNTER,
		"Runs of a kernel hook, with bpf_stats." },
	[HOOK_SECONDS] = { "hearth_hook_run_seconds_total", METRIC_COUNTER,
		"Run time of a kernel hook, with bpf_stats." },
	[MAP_ENTRIES] = { "hearth_map_entries", METRIC_GAUGE,
		"Entries of a bounded table in the kernel." },
	[MAP_CAPACITY] = { "hearth_map_capacity", METRIC_GAUGE,
		"Most entries the table takes." },
	[IDLE_BYTES] = { "hearth_idle_memory_bytes", METRIC_GAUGE,
		"RAM that idle instances keep, zram and zswap included." },
	[BUDGET_BYTES] = { "hearth_idle_memory_budget_bytes", METRIC_GAUGE,
		"The budget for it; absent without one." },
	[RETURNED] = { "hearth_returned_bytes_total", METRIC_COUNTER,
		"Memory given back by reclaims since hearthd started." },
	[SWAPPED] = { "hearth_swapped_bytes", METRIC_GAUGE,
		"Memory of instances in swap, uncompressed." },
	[SWAP_BUDGET] = { "hearth_swap_budget_bytes", METRIC_GAUGE,
		"Swap that instances may fill." },
	[EVICTIONS] = { "hearth_evictions_total", METRIC_COUNTER,
		"Instances killed by hearthd since it started." },
	[PREWARMS] = { "hearth_prewarms_total", METRIC_COUNTER,
		"Instances made ready ahead of an invocation since hearthd started, by result." },
	[PRESSURE_EVENTS] = { "hearth_pressure_events_total", METRIC_COUNTER,
		"Times the kernel told of memory pressure." },
	[PRESSURE] = { "hearth_pressure_ratio", METRIC_GAUGE,
		"Share of the last 10 s in which some or all tasks waited for memory." },
	[IMAGE_MANAGER_UP] = { "hearth_image_manager_up", METRIC_GAUGE,
		"1 if the image manager answers." },
	[IMAGE_STATE] = { "hearth_image_state", METRIC_GAUGE,
		"1 for the state that the image is in." },
	[IMAGE_OWNER] = { "hearth_image_owner_uid", METRIC_GAUGE,
		"Who owns the image." },
	[IMAGE_USERS] = { "hearth_image_users", METRIC_GAUGE,
		"Functions that have used the image." },
	[IMAGE_RUNNING] = { "hearth_image_running", METRIC_GAUGE,
		"Instances that run, cold ones too." },
	[IMAGE_CHILDREN] = { "hearth_image_children", METRIC_GAUGE,
		"Instances forked from it that run." },
	[IMAGE_SPARES] = { "hearth_image_spares", METRIC_GAUGE,
		"Instances forked ahead of their use." },
	[IMAGE_RESIDENT] = { "hearth_image_resident_bytes", METRIC_GAUGE,
		"Memory that it holds." },
	[IMAGE_SWAPPED] = { "hearth_image_swapped_bytes", METRIC_GAUGE,
		"Memory of it in swap." },
	[IMAGE_SAVED] = { "hearth_image_saved_bytes", METRIC_GAUGE,
		"Memory that its living children share with it." },
	[IMAGE_HITS] = { "hearth_image_hits_total", METRIC_COUNTER,
		"Instances that came from it." },
	[IMAGE_COLD] = { "hearth_image_cold_total", METRIC_COUNTER,
		"Instances that had to start cold." },
	[IMAGE_SECONDS] = { "hearth_image_saved_seconds_total", METRIC_COUNTER,
		"Start time that its hits saved." },
};
/* clang-format on */

#define VALUE(family, kind, type, member)                                                          \
	{                                                                                          \
		family, VALUE_##kind, offsetof(struct type, member)                                \
	}

const struct metrics_value metrics_function_values[] = {
    VALUE(FUNCTION_INVOCATIONS, U64, snapshot_function, most_invocations),
    VALUE(FUNCTION_BUSY_SPANS, U64, snapshot_function, busy_spans),
    VALUE(FUNCTION_COLD_STARTS, U64, snapshot_function, cold_starts),
    VALUE(FUNCTION_LUKEWARM_STARTS, U64, snapshot_function, lukewarm_starts),
    VALUE(FUNCTION_FREEZES, U64, snapshot_function, freezes),
    VALUE(FUNCTION_WAKES, U64, snapshot_function, wakes),
    VALUE(FUNCTION_RECLAIMS, U64, snapshot_function, reclaims),
    VALUE(FUNCTION_RETURNED, REAL, snapshot_function, returned_bytes),
    VALUE(FUNCTION_EVICTIONS, U64, snapshot_function, evictions),
    VALUE(FUNCTION_FROZEN_SECONDS, REAL, snapshot_function, frozen_s),
    VALUE(FUNCTION_INFLIGHT, UINT, snapshot_function, inflight),
    VALUE(FUNCTION_IDLE_AGE, REAL, snapshot_function, idle_s),
};
const size_t metrics_n_function_values = ARRAY_SIZE(metrics_function_values);

const struct metrics_value metrics_status_values[] = {
    VALUE(START_TIME, REAL, snapshot_status, started_at_s),
    VALUE(STATE_SAVED, REAL, snapshot_status, state_saved_at_s),
    VALUE(CPU, REAL, snapshot_status, cpu_s),
    VALUE(MEMORY, REAL, snapshot_status, memory_bytes),
    VALUE(FUNCTIONS, U64, snapshot_status, totals.functions),
    VALUE(INSTANCES, U64, snapshot_status, totals.instances),
    VALUE(INSTANCES_FROZEN, U64, snapshot_status, totals.frozen),
    VALUE(INSTANCES_RECLAIMED, U64, snapshot_status, memory.reclaimed),
    VALUE(INFLIGHT, U64, snapshot_status, totals.inflight),
    VALUE(INVOCATIONS, U64, snapshot_status, totals.most_invocations),
    VALUE(COLD_STARTS, U64, snapshot_status, totals.cold_starts),
    VALUE(LUKEWARM_STARTS, U64, snapshot_status, totals.lukewarm_starts),
    VALUE(FREEZES, U64, snapshot_status, totals.freezes),
    VALUE(WAKES, U64, snapshot_status, totals.wakes),
    VALUE(FREEZE_FAILURES, U64, snapshot_status, totals.freeze_failures),
    VALUE(FOREIGN_FREEZES, U64, snapshot_status, totals.foreign_freezes),
    VALUE(WAKE_FIFO, BOOL, snapshot_status, wake.fifo),
    VALUE(GUARD_ALIVE, BOOL, snapshot_status, guard.alive),
    VALUE(GUARD_THAWS, U64, snapshot_status, guard.thaw_epoch),
    VALUE(IDLE_BYTES, REAL, snapshot_status, memory.idle_bytes),
    VALUE(BUDGET_BYTES, REAL, snapshot_status, memory.budget_bytes),
    VALUE(RETURNED, REAL, snapshot_status, memory.returned_bytes),
    VALUE(SWAPPED, REAL, snapshot_status, memory.swapped_bytes),
    VALUE(SWAP_BUDGET, REAL, snapshot_status, memory.swap_budget_bytes),
    VALUE(EVICTIONS, U64, snapshot_status, memory.evictions),
    VALUE(PRESSURE_EVENTS, U64, snapshot_status, memory.pressure_events),
};
const size_t metrics_n_status_values = ARRAY_SIZE(metrics_status_values);

const struct metrics_value metrics_image_values[] = {
    VALUE(IMAGE_OWNER, REAL, snapshot_image, owner),
    VALUE(IMAGE_USERS, REAL, snapshot_image, users),
    VALUE(IMAGE_RUNNING, REAL, snapshot_image, running),
    VALUE(IMAGE_CHILDREN, REAL, snapshot_image, children),
    VALUE(IMAGE_SPARES, REAL, snapshot_image, spares),
    VALUE(IMAGE_RESIDENT, REAL, snapshot_image, resident_bytes),
    VALUE(IMAGE_SWAPPED, REAL, snapshot_image, swap_bytes),
    VALUE(IMAGE_SAVED, REAL, snapshot_image, bytes_saved),
    VALUE(IMAGE_HITS, REAL, snapshot_image, hits),
    VALUE(IMAGE_COLD, REAL, snapshot_image, cold),
    VALUE(IMAGE_SECONDS, REAL, snapshot_image, seconds_saved),
};
const size_t metrics_n_image_values = ARRAY_SIZE(metrics_image_values);

double metrics_value(const struct metrics_value *v, const void *snapshot)
{
	const void *at = (const char *)snapshot + v->offset;

	switch (v->kind) {
	case VALUE_BOOL:
		return *(const bool *)at;
	case VALUE_UINT:
		return *(const unsigned int *)at;
	case VALUE_U64:
		return (double)*(const uint64_t *)at;
	case VALUE_REAL:
		break;
	}
	return *(const double *)at;
}
