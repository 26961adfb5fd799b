/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard table's entries and their thaw. Nothing here allocates or logs: it
 * runs when the machine is in trouble. A thawer claims an entry before it
 * writes 0 and forgets it only when no write of 1 can follow any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "agent/guard_layout.h"
#include "agent/guard_table.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/memory_high.h"
#include "lib/util.h"

/* Tasks leave the freezer in well under a millisecond unless the CPUs are starved. */
#define SETTLE_NS     (250 * NSEC_PER_MSEC)
#define SETTLE_NAP_NS (1 * NSEC_PER_MSEC)

int guard_table_intend(struct guard_table *t, uint32_t slot, uint64_t cgid)
{
	uint64_t none = 0;

	if (slot >= t->n || cgid == 0 || cgid > ENTRY_ID_MASK)
		return -EINVAL;
	return atomic_compare_exchange_strong(&t->entries[slot], &none, guard_seal(cgid)) ? 0
											  : -EBUSY;
}

bool guard_table_confirm(struct guard_table *t, uint32_t slot, uint64_t cgid)
{
	uint64_t intent = guard_seal(cgid);

	return slot < t->n &&
	       atomic_compare_exchange_strong(&t->entries[slot], &intent, intent | ENTRY_HELD);
}

bool guard_table_held(const struct guard_table *t, uint32_t slot, uint64_t cgid)
{
	return slot < t->n && atomic_load(&t->entries[slot]) == (guard_seal(cgid) | ENTRY_HELD);
}

void guard_table_clear(struct guard_table *t, uint32_t slot)
{
	if (slot < t->n)
		atomic_store(&t->entries[slot], 0);
}

uint32_t guard_table_count(const struct guard_table *t)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < t->n; i++)
		count += guard_sealed(atomic_load(&t->entries[i]));
	return count;
}

void guard_table_beat(struct guard_table *t)
{
	atomic_fetch_add(&t->head->heartbeat, 1);
}

uint64_t guard_table_heartbeat(const struct guard_table *t)
{
	return atomic_load(&t->head->heartbeat);
}

uint64_t guard_table_epoch(const struct guard_table *t)
{
	return atomic_load(&t->head->thaw_epoch);
}

uint64_t guard_table_agent(const struct guard_table *t)
{
	return atomic_load(&t->head->agent);
}

uint64_t guard_table_guard(const struct guard_table *t)
{
	return atomic_load(&t->head->guard);
}

uint64_t guard_table_seen_ns(const struct guard_table *t)
{
	return atomic_load(&t->head->guard_seen_ns);
}

void guard_table_watch(struct guard_table *t, uint64_t guard, uint64_t seen_ns)
{
	atomic_store(&t->head->guard_seen_ns, seen_ns);
	atomic_store(&t->head->guard, guard);
}

/* ---- thaw */

/* The entry as claimed, or 0: it names nothing. */
static uint64_t claim(_Atomic uint64_t *entry, struct guard_thaw *r)
{
	uint64_t e = atomic_load(entry);

	if (e && !guard_sealed(e)) {
		r->unreadable++;
		return 0;
	}
	while (e && !(e & ENTRY_CLAIMED))
		if (atomic_compare_exchange_weak(entry, &e, e | ENTRY_CLAIMED))
			return e | ENTRY_CLAIMED;
	return e;
}

static void forget(_Atomic uint64_t *entry, uint64_t claimed)
{
	atomic_compare_exchange_strong(entry, &claimed, 0);
}

/* Climbs until a folder has no cgroup.freeze: the root, or what lies above the mount. */
static bool ancestor_frozen(int fd)
{
	_cleanup_close_ int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int frozen;

	while (up >= 0) {
		int next;

		frozen = cgroup_read_freeze(up);
		if (frozen != 0)
			return frozen == 1;
		next = openat(up, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(up);
		up = next;
	}
	return false;
}

enum outcome { THAW_DONE, THAW_GONE, THAW_BLOCKED, THAW_PENDING, THAW_FAILED };

static enum outcome thaw_cgroup(int cgroot_fd, uint64_t cgid, struct guard_thaw *r)
{
	_cleanup_close_ int fd = cgroup_open_by_id(cgroot_fd, cgid);
	int rc = fd < 0 ? fd : cgroup_read_freeze(fd);

	if (fd >= 0)
		memory_high_recover(fd); /* hearthd may have died while it squeezed */
	if (rc == 1) {
		rc = cgroup_freeze_write(fd, false);
		r->thawed += rc == 0;
	}
	if (rc == 0)
		rc = cgroup_read_frozen(fd);
	if (rc == 0)
		return THAW_DONE;
	if (rc == 1)
		return ancestor_frozen(fd) ? THAW_BLOCKED : THAW_PENDING;
	if (rc == -ENOENT)
		return THAW_GONE;
	r->error = rc;
	return THAW_FAILED;
}

/* True if the entry named a cgroup. */
static bool thaw_entry(_Atomic uint64_t *entry, int cgroot_fd, bool agent_gone,
		       struct guard_thaw *r)
{
	uint64_t e = claim(entry, r), cgid = e & ENTRY_ID_MASK;
	enum outcome outcome;

	if (!e)
		return false;
	outcome = thaw_cgroup(cgroot_fd, cgid, r);
	r->gone += outcome == THAW_GONE;
	r->pending += outcome == THAW_PENDING;
	if (outcome == THAW_BLOCKED) {
		r->blocked++;
		r->blocked_id = cgid;
	}
	if (outcome == THAW_FAILED) {
		r->failed++;
		r->failed_id = cgid;
	}
	/* An unconfirmed entry of a live hearthd may still be frozen: that stays claimed. */
	if (outcome == THAW_GONE || (outcome <= THAW_BLOCKED && (agent_gone || (e & ENTRY_HELD))))
		forget(entry, e);
	return true;
}

int guard_thaw_all(struct guard_table *t, int cgroot_fd, bool agent_gone, struct guard_thaw *out)
{
	const struct timespec nap = {.tv_nsec = SETTLE_NAP_NS};
	uint64_t deadline = now_ns() + SETTLE_NS;
	struct guard_thaw r = {0};
	bool named = false;

	for (;;) {
		r.blocked = r.pending = r.failed = r.unreadable = 0;
		for (uint32_t i = 0; i < t->n; i++)
			named |= thaw_entry(&t->entries[i], cgroot_fd, agent_gone, &r);
		if (!r.pending || now_ns() >= deadline)
			break;
		nanosleep(&nap, NULL);
	}
	if (named)
		atomic_fetch_add(&t->head->thaw_epoch, 1);
	if (out)
		*out = r;
	return (int)r.thawed;
}
