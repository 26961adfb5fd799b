/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The write-ahead table of freezes, in memory shared by hearthd and its guard
 * (RUN_DIR/guard.table). Invariant: a cgroup is named here from before hearthd
 * writes 1 to its cgroup.freeze until after it wrote 0, so whoever finds
 * hearthd dead, stopped or hung can undo exactly hearthd's own freezes.
 *
 * What the caller must do, per instance, on its freeze side:
 *	guard_table_intend()		anything but 0: do not freeze
 *	... arm, re-check ...
 *	write 1, confirm `frozen 1`
 *	guard_table_confirm()		false: a thaw came between. Write 0,
 *					disarm, guard_table_clear(); thawed.
 * and to thaw: write 0, then guard_table_clear(). Never clear before the 0 is
 * written. When somebody else took the freeze over, clear without writing.
 *
 * Why confirm: hearthd may be stopped between intend and its write of 1. The
 * guard fires, thaws and leaves the entry claimed; hearthd continues, writes 1,
 * and confirm (a compare-and-swap) finds the claim. If hearthd is stopped again
 * before it could look, the claimed entry is still there and the guard, which
 * passes over the table at every poll while hearthd is stopped, thaws it again.
 * Only a confirmed entry is forgotten by a thaw while hearthd lives.
 *
 * A thaw ends by moving thaw_epoch. The agent compares guard_table_epoch()
 * with the value it last handled at least once per tick; on a change it must
 * treat every instance it believes frozen as unknown: write 0, disarm, clear,
 * then plan anew.
 */
#ifndef HEARTH_GUARD_TABLE_H
#define HEARTH_GUARD_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct guard_table;

/*
 * Make the table of a starting hearthd. What a predecessor's table still names
 * is thawed first, whatever its version or size; a damaged one is set aside and
 * what can be trusted in it thawed. Logs what it found. -EBUSY: a live hearthd
 * uses run_dir.
 */
int guard_table_create(const char *run_dir, uint32_t nslots, int cgroot_fd,
		       struct guard_table **out);

/* Map the existing table. -ENOENT, -EBADMSG (damaged), -EPROTO (other version). */
int guard_table_attach(const char *run_dir, struct guard_table **out);

/* Unmaps; the file stays for the guard and for --thaw. NULL is fine. */
void guard_table_close(struct guard_table *t);

/* Remove the table's files; for --uninstall, when nothing is left to thaw. */
void guard_table_remove(const char *run_dir);

/* 0, or -EBUSY: a thaw holds this slot, or it still names another cgroup. */
int guard_table_intend(struct guard_table *t, uint32_t slot, uint64_t cgid);
bool guard_table_confirm(struct guard_table *t, uint32_t slot, uint64_t cgid);
void guard_table_clear(struct guard_table *t, uint32_t slot);

/* False once a thaw claimed what was confirmed. */
bool guard_table_held(const struct guard_table *t, uint32_t slot, uint64_t cgid);

/* The wake thread's sign of life, every 200 ms; watched from the first one on. */
void guard_table_beat(struct guard_table *t);
uint64_t guard_table_epoch(const struct guard_table *t);

/* Entries that name a cgroup. */
uint32_t guard_table_count(const struct guard_table *t);

struct guard_thaw {
	uint32_t thawed;     /* were frozen by hearthd and are no longer */
	uint32_t gone;       /* cgroup removed meanwhile */
	uint32_t blocked;    /* our freeze is undone, but an ancestor is frozen by someone else */
	uint32_t pending;    /* 0 is written, tasks have not left the freezer yet */
	uint32_t failed;     /* 0 could not be written; the entry stays */
	uint32_t unreadable; /* entries that fail their own check; left alone */
	int error;           /* of the last failed one */
	uint64_t blocked_id; /* last blocked cgroup */
	uint64_t failed_id;
};

/*
 * Thaw all that the table names and nothing else; bump the epoch if anything
 * was named. agent_gone: the owner is dead, so no write of 1 can follow and
 * entries are forgotten; otherwise unconfirmed ones stay claimed. Any number of
 * processes may do this at once. Returns thawed; details, if wanted, in out.
 */
int guard_thaw_all(struct guard_table *t, int cgroot_fd, bool agent_gone, struct guard_thaw *out);

void guard_thaw_log(const char *what, const struct guard_thaw *r);

/*
 * Thaw what the table in run_dir names, whatever its state, and log it; no
 * table is fine. Part of guard_thaw_leftovers(). 0 or -errno.
 */
int guard_table_undo(const char *run_dir, int cgroot_fd);

/* ---- for guard.c */
#define GUARD_LOCK_NAME "guard.lock" /* in run_dir: one guard on duty per table */

/* Who is who. A process is named by pid and start time in one word. */
#define GUARD_PID_BITS 22             /* PID_MAX_LIMIT */
uint64_t guard_process_id(pid_t pid); /* 0: no such process, or a zombie */
static inline pid_t guard_process_pid(uint64_t id)
{
	return (pid_t)(id & ((1u << GUARD_PID_BITS) - 1));
}
uint64_t guard_table_agent(const struct guard_table *t);
uint64_t guard_table_guard(const struct guard_table *t);
uint64_t guard_table_heartbeat(const struct guard_table *t);
uint64_t guard_table_seen_ns(const struct guard_table *t); /* the guard's last poll */
void guard_table_watch(struct guard_table *t, uint64_t guard, uint64_t seen_ns);

#endif
