/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The only place that touches the host: freeze and thaw of an instance, as the
 * state machine {thawed, freezing, frozen, thawing} that two threads drive. The
 * engine freezes; the wake thread (and the engine) thaws. States change by
 * compare-and-swap only, and whoever made the last change owns the next step.
 *
 * Invariant: a cgroup whose cgroup.freeze we wrote 1 to is named in the guard
 * table, and its control is armed, until 0 is written.
 */
#ifndef HEARTH_ACT_H
#define HEARTH_ACT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/guard_table.h"
#include "agent/kernel.h"

struct act;

enum act_state {
	ACT_NONE = 0, /* nobody's slot */
	ACT_THAWED,
	ACT_FREEZING,
	ACT_FROZEN,
	ACT_THAWING,
	ACT_FOREIGN, /* somebody else owns its freezer */
};

struct act *act_new(const struct kernel_maps *maps, struct guard_table *guard);
void act_free(struct act *a);

/* How long signs of work (SYN, entering task, unparsed bytes) hold a slot, in ns. */
struct act_holds {
	uint64_t syn_ns;
	uint64_t enter_ns;
	uint64_t idle_ns;
};

/* Take a cgroup under control; the directory fd is kept until act_retire. 0 or -errno. */
int act_register(struct act *a, uint32_t slot, uint64_t cgid, int dirfd);
void act_set_holds(struct act *a, uint32_t slot, const struct act_holds *holds);

/*
 * The cgroup is gone or no longer ours. Fds are closed by a later act_tidy,
 * when the wake thread has gone round and can no longer be using them.
 */
void act_retire(struct act *a, uint32_t slot);
void act_tidy(struct act *a);

enum act_state act_state(const struct act *a, uint32_t slot);
const char *act_state_name(enum act_state s);

/* Work in flight or announced: the reason a slot may not be frozen, or NULL. */
const char *act_holds_now(const struct act *a, uint32_t slot, uint64_t now);

/* Why a freeze did not happen. */
enum act_refusal {
	ACT_OK = 0,
	ACT_NOT_THAWED, /* another state; nothing done */
	ACT_CAME_FIRST, /* a request came first: rolled back */
	ACT_GUARD_BUSY, /* the guard has the slot */
	ACT_SLOW,       /* still not frozen at the deadline: rolled back */
	ACT_GONE,
	ACT_FAILED, /* see error */
};

struct act_freeze {
	enum act_refusal refusal;
	int error; /* negative errno of ACT_FAILED */
	uint64_t took_ns;
};

/* Freeze by the protocol; blocks until it is frozen or rolled back, deadline_ns at most. */
struct act_freeze act_freeze(struct act *a, uint32_t slot, uint64_t deadline_ns);
const char *act_refusal_text(enum act_refusal r);

/*
 * Thaw a slot that is frozen. 0; -EALREADY if it is not frozen by us; -EBUSY if
 * 0 was written but an ancestor frozen by someone else keeps it; other -errno:
 * the write failed, and the slot is armed again so that the wake thread retries.
 */
int act_thaw(struct act *a, uint32_t slot);

/*
 * Kill everything in a slot that is frozen, unless a request has come. 0: killed,
 * and the slot is thawed; -EALREADY: not frozen by us; -EBUSY: a request came
 * first, it was thawed instead; other -errno: not killed, thawed.
 */
int act_kill(struct act *a, uint32_t slot);

/*
 * The wake thread's look at a slot, level-triggered: thaw it if it is armed and
 * something waits. Says whether it must look again soon.
 */
struct act_wake {
	bool thawed;
	bool again; /* the freeze side is in the middle of it */
	int error;
};
struct act_wake act_wake(struct act *a, uint32_t slot, uint64_t now);

/* Called by the wake thread once per round: what retire and tidy wait for. */
void act_round(struct act *a);

/* Highest slot in use + 1. */
uint32_t act_slots(const struct act *a);

/*
 * One inotify event of the slot's cgroup.freeze; certain: about this slot, not
 * an overflow. Who, if not we, froze it (ACT_FOREIGN, hands off until they thaw)
 * or thawed it? Engine's thread only.
 */
enum act_writer { ACT_BY_US, ACT_BY_GUARD, ACT_BY_OTHERS };
enum act_writer act_foreign_write(struct act *a, uint32_t slot, bool certain);

/* After a freeze, with the inotify queue drained: further events are not ours. */
void act_settle(struct act *a, uint32_t slot);

/* Whatever we believe frozen is unknown (a guard thawed): write 0, disarm, clear. */
void act_resync(struct act *a, uint32_t slot);

#endif
