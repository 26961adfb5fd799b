/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Commands of a function around its freezes: run on the loop, without a shell,
 * in hearthd's own cgroup and in a session of their own, bounded in time and
 * number. Nothing here waits for one.
 *
 * Invariant: every job that hooks_run took is told of exactly once, on the loop
 * and never from within a call; of one id at most one command runs.
 */
#ifndef HEARTH_HOOKS_H
#define HEARTH_HOOKS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/config.h"

enum hook_end {
	HOOK_OK,        /* exit status 0 */
	HOOK_FAILED,    /* another exit status */
	HOOK_SIGNALLED, /* ended by a signal that was not ours */
	HOOK_TIMEOUT,
	HOOK_CANCELLED,
	HOOK_NOT_RUN, /* could not be started */
};

/* Whom a job is for: the id of a cgroup, or a function as such. */
#define HOOK_OF_FUNCTION(index) (UINT64_C(1) << 63 | (index))

/* All text is copied. */
struct hook_job {
	enum hook_kind kind;
	uint64_t id;
	uint64_t tag;        /* the caller's, given back: a generation */
	const char *command; /* as configured, not "" */
	uint64_t timeout_ns; /* from its start */
	const char *function;
	const char *instance; /* "": none (prewarm of a function) */
	const char *cgroup;   /* absolute path, "": none */
	uint64_t cgroup_id;   /* 0: none */
};

#define HOOK_TEXT 256

struct hook_result {
	enum hook_kind kind;
	uint64_t id;
	uint64_t tag;
	enum hook_end end;
	int status;           /* exit status, signal or negative errno, by end */
	uint64_t took_ns;     /* 0: it never ran */
	char text[HOOK_TEXT]; /* "pre_freeze: exit status 3 after 12 ms: LAST LINE", for the journal
			       */
};

typedef void (*hook_done_fn)(const struct hook_result *result, void *arg);

struct hooks_options {
	uv_loop_t *loop;
	unsigned int max_running; /* the others wait in line */
	hook_done_fn done;
	void *arg;
};

struct hooks;

int hooks_new(const struct hooks_options *o, struct hooks **out);

/*
 * Kills what runs; results that were not delivered are dropped. The loop must
 * turn until its handles are closed. NULL is fine.
 */
void hooks_free(struct hooks *h);

/*
 * 0: done will be called. -EBUSY: the id has a job that was not cancelled;
 * -EINVAL: the command is none; -ENOMEM.
 */
int hooks_run(struct hooks *h, const struct hook_job *job);

/*
 * Kill the id's command with all of its process group, or take it out of the line.
 * It is told of at once; the next job of the id starts when the command is dead.
 */
void hooks_cancel(struct hooks *h, uint64_t id);

/* A job of the id waits or runs and was not cancelled. */
bool hooks_busy(const struct hooks *h, uint64_t id);

const char *hook_name(enum hook_kind kind); /* as the key of the configuration */

#endif
