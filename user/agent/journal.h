/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The decision journal: a ring of what was done, would have been done or was
 * asked for, and why. Fixed-size slots, allocated once; an append is O(1),
 * never fails and drops the oldest. Main thread only; the wake thread reports
 * through wake_ring.h.
 */
#ifndef HEARTH_JOURNAL_H
#define HEARTH_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/ring.h"

enum journal_action {
	JOURNAL_FREEZE,
	JOURNAL_WOULD_FREEZE, /* observe mode */
	JOURNAL_THAW,
	JOURNAL_WAKE, /* thawed by the wake thread */
	JOURNAL_HOLD, /* due, but something keeps it from being frozen */
	JOURNAL_FAILED,
	JOURNAL_PIN,
	JOURNAL_UNPIN,
	JOURNAL_POLICY,
	JOURNAL_RECLAIM, /* memory was paged out */
	JOURNAL_PREWARM, /* and brought back ahead of a request */
	JOURNAL_SQUEEZE, /* chosen to step down for the node's memory */
	JOURNAL_EVICT,   /* killed */
	JOURNAL_HOOK,    /* a command of the function ended */
	JOURNAL_FOREIGN, /* someone else froze or thawed it */
	JOURNAL_GUARD,
	JOURNAL_APPEAR,
	JOURNAL_VANISH,
	JOURNAL_CONFIG,
	JOURNAL_ACTIONS
};

enum journal_actor { JOURNAL_BY_ENGINE, JOURNAL_BY_WAKE, JOURNAL_BY_GUARD, JOURNAL_BY_API };

#define JOURNAL_FUNCTION 128 /* as in struct naming_result */
#define JOURNAL_CGROUP   192 /* longer paths keep their end */
#define JOURNAL_REASON   160

struct journal_entry {
	uint64_t seq;     /* 1, 2, ...; never reused */
	uint64_t wall_ns; /* Unix time */
	uint64_t mono_ns;
	uint64_t cgid;    /* 0: not about one instance */
	uint64_t idle_ns; /* 0: does not apply */
	uint64_t took_ns; /* 0: does not apply */
	int error;        /* positive errno, 0 = it worked */
	enum journal_action action;
	enum journal_actor actor;
	uid_t uid; /* actor JOURNAL_BY_API only */
	pid_t pid;
	char function[JOURNAL_FUNCTION]; /* "": not about one function */
	char cgroup[JOURNAL_CGROUP];     /* "": not about one instance */
	char reason[JOURNAL_REASON];
};

/* What a caller says of a decision; strings are copied, NULL means "". */
struct journal_note {
	enum journal_action action;
	enum journal_actor actor;
	const char *function;
	const char *cgroup;
	uint64_t cgid;
	const char *reason;
	uint64_t idle_ns;
	uint64_t took_ns;
	int error;
	uid_t uid;
	pid_t pid;
	uint64_t at_ns; /* monotonic time it happened; 0 = now */
};

struct journal;

/* size: decisions kept, at least 1. NULL without memory. */
struct journal *journal_new(size_t size);
void journal_free(struct journal *j);

/* Copy the note into the ring. Returns its seq. */
uint64_t journal_append(struct journal *j, const struct journal_note *note);

/* The ring of struct journal_entry, to read and to subscribe to. */
struct ring *journal_ring(const struct journal *j);

/* For the ring: is the entry about the function? */
bool journal_about(const void *entry, const char *function);

const char *journal_action_name(enum journal_action action);
const char *journal_actor_name(enum journal_actor actor);

#endif
