/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The freeze and thaw protocol; see act.h for the contract and docs/protocol.md
 * for the argument. Order is everything here: read it with bpf/account.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/act.h"
#include "agent/delays.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/util.h"

struct slot {
	_Atomic int state; /* enum act_state */
	bool settled;      /* engine only: frozen, and our own inotify events are read */
	uint64_t cgid;
	int dirfd;
	int freeze_fd;
	struct act_holds holds;
};

/* Fds the wake thread may still be using: closed two rounds later. */
struct grave {
	struct grave *next;
	uint64_t round;
	int dirfd;
	int freeze_fd;
};

struct act {
	const struct kernel_maps *maps;
	struct guard_table *guard;
	struct slot *slots;
	_Atomic uint32_t n_slots; /* highest in use + 1 */
	_Atomic uint64_t round;
	struct grave *graves;
};

struct act *act_new(const struct kernel_maps *maps, struct guard_table *guard)
{
	struct act *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->maps = maps;
	a->guard = guard;
	a->slots = calloc(maps->n_instances, sizeof(*a->slots));
	if (!a->slots) {
		free(a);
		return NULL;
	}
	return a;
}

static void close_grave(struct grave *g)
{
	close(g->dirfd);
	close(g->freeze_fd);
	free(g);
}

void act_free(struct act *a)
{
	struct grave *g;
	uint32_t i;

	if (!a)
		return;
	while ((g = a->graves)) {
		a->graves = g->next;
		close_grave(g);
	}
	for (i = 0; i < atomic_load(&a->n_slots); i++) {
		if (atomic_load(&a->slots[i].state) == ACT_NONE)
			continue;
		close(a->slots[i].dirfd);
		close(a->slots[i].freeze_fd);
	}
	free(a->slots);
	free(a);
}

/* ---- slots */

int act_register(struct act *a, uint32_t slot, uint64_t cgid, int dirfd)
{
	struct slot *s = &a->slots[slot];
	int fd = openat(dirfd, "cgroup.freeze", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENODEV ? -ENOENT : -errno;
	s->cgid = cgid;
	s->dirfd = dirfd;
	s->freeze_fd = fd;
	s->settled = false;
	a->maps->controls[slot].armed = HEARTH_DISARMED;
	atomic_store(&s->state, cgroup_read_freeze(dirfd) == 1 ? ACT_FOREIGN : ACT_THAWED);
	if (slot >= atomic_load(&a->n_slots))
		atomic_store(&a->n_slots, slot + 1);
	return 0;
}

void act_set_holds(struct act *a, uint32_t slot, const struct act_holds *holds)
{
	a->slots[slot].holds = *holds;
}

void act_retire(struct act *a, uint32_t slot)
{
	struct slot *s = &a->slots[slot];
	struct grave *g;
	int was;

	was = atomic_exchange(&s->state, ACT_NONE);
	if (was == ACT_NONE)
		return;
	__atomic_store_n(&a->maps->controls[slot].armed, HEARTH_DISARMED, __ATOMIC_SEQ_CST);
	if (was != ACT_FROZEN) /* else it could not be thawed: the guard's table names it still */
		guard_table_clear(a->guard, slot);
	g = malloc(sizeof(*g));
	if (!g)
		return; /* two fds leak; closing them now could hit the wake thread */
	*g = (struct grave){a->graves, atomic_load(&a->round), s->dirfd, s->freeze_fd};
	a->graves = g;
}

void act_tidy(struct act *a)
{
	struct grave **p = &a->graves, *g;

	while ((g = *p)) {
		if (atomic_load(&a->round) < g->round + 2) {
			p = &g->next;
			continue;
		}
		*p = g->next;
		close_grave(g);
	}
}

void act_round(struct act *a)
{
	atomic_fetch_add(&a->round, 1);
}

uint32_t act_slots(const struct act *a)
{
	return atomic_load(&a->n_slots);
}

enum act_state act_state(const struct act *a, uint32_t slot)
{
	return atomic_load(&a->slots[slot].state);
}

const char *act_state_name(enum act_state s)
{
	static const char *const NAMES[] = {
	    [ACT_NONE] = "gone",     [ACT_THAWED] = "warm",     [ACT_FREEZING] = "freezing",
	    [ACT_FROZEN] = "frozen", [ACT_THAWING] = "thawing", [ACT_FOREIGN] = "foreign",
	};

	return NAMES[s];
}

static bool move(struct slot *s, enum act_state from, enum act_state to)
{
	int expected = from;

	return atomic_compare_exchange_strong(&s->state, &expected, to);
}

/* ---- what waits */

static bool within(uint64_t since, uint64_t hold, uint64_t now)
{
	return since && now < since + hold;
}

const char *act_holds_now(const struct act *a, uint32_t slot, uint64_t now)
{
	const struct hearth_instance *i = &a->maps->instances[slot];
	const struct act_holds *h = &a->slots[slot].holds;
	uint64_t syn_ns;

	/* seq_cst: pairs with the atomic increment that comes before BPF reads `armed` */
	if (__atomic_load_n(&i->inflight, __ATOMIC_SEQ_CST) > 0)
		return "a request is in flight";
	if (__atomic_load_n(&i->probes, __ATOMIC_SEQ_CST) > 0)
		return "a health check is in flight";
	if (__atomic_load_n(&i->outsiders, __ATOMIC_SEQ_CST) > 0)
		return "a process that entered from outside is running";
	/* Once a request has come, a connection attempt before it foretells nothing. */
	syn_ns = __atomic_load_n(&i->last_syn_ns, __ATOMIC_SEQ_CST);
	if (syn_ns > i->last_begin_ns && within(syn_ns, h->syn_ns, now))
		return "a client is connecting";
	if (within(__atomic_load_n(&i->last_enter_ns, __ATOMIC_SEQ_CST), h->enter_ns, now))
		return "a process entered from outside";
	return NULL;
}

/* Datagrams and unparsed streams have no in-flight count: their last byte holds. */
static bool loose_now(const struct act *a, uint32_t slot, uint64_t now)
{
	return within(__atomic_load_n(&a->maps->instances[slot].last_loose_ns, __ATOMIC_SEQ_CST),
		      a->slots[slot].holds.idle_ns, now);
}

static uint32_t armed(const struct act *a, uint32_t slot)
{
	return __atomic_load_n(&a->maps->controls[slot].armed, __ATOMIC_SEQ_CST);
}

static void set_armed(struct act *a, uint32_t slot, uint32_t value)
{
	__atomic_store_n(&a->maps->controls[slot].armed, value, __ATOMIC_SEQ_CST);
}

/* ---- writes */

static int write_freeze(struct slot *s, bool freeze)
{
	if (pwrite(s->freeze_fd, freeze ? "1" : "0", 1, 0) == 1)
		return 0;
	return errno == ENODEV ? -ENOENT : -errno;
}

/*
 * Write 0 and let go, for a caller that owns the state it names: FREEZING (roll
 * back) or THAWING. A failed write leaves the slot frozen, armed and asked for,
 * so that the wake thread tries again.
 */
static int undo_freeze(struct act *a, uint32_t slot, enum act_state owned)
{
	struct slot *s = &a->slots[slot];
	int err;

	delay(DELAY_BEFORE_THAW_WRITE);
	err = write_freeze(s, false);
	if (err && err != -ENOENT) {
		set_armed(a, slot, HEARTH_WOKEN);
		move(s, owned, ACT_FROZEN);
		return err;
	}
	delay(DELAY_AFTER_THAW_WRITE);
	set_armed(a, slot, HEARTH_DISARMED);
	guard_table_clear(a->guard, slot);
	delay(DELAY_BEFORE_THAWED);
	move(s, owned, ACT_THAWED);
	return err;
}

/* ---- freeze */

/*
 * Tasks leave for the freezer in microseconds; one in uninterruptible sleep may
 * take as long as it likes. cgroup.events is read, not polled: its notification
 * is rate-limited. Gives up at once when a request claims the wake.
 */
static enum act_refusal await_frozen(struct act *a, uint32_t slot, uint64_t deadline)
{
	const struct timespec pause = {.tv_nsec = 200000};
	int frozen, tries;

	for (tries = 0;; tries++) {
		if (armed(a, slot) != HEARTH_ARMED)
			return ACT_CAME_FIRST;
		frozen = cgroup_read_frozen(a->slots[slot].dirfd);
		if (frozen == 1)
			return ACT_OK;
		if (frozen < 0)
			return ACT_GONE;
		if (now_ns() > deadline)
			return ACT_SLOW;
		if (tries > 3)
			nanosleep(&pause, NULL);
	}
}

static enum act_refusal freeze_armed(struct act *a, uint32_t slot, uint64_t deadline, int *error)
{
	struct slot *s = &a->slots[slot];
	enum act_refusal refusal;
	int err;

	delay(DELAY_AFTER_ARM);
	if (act_holds_now(a, slot, now_ns()) || loose_now(a, slot, now_ns()))
		return ACT_CAME_FIRST;
	delay(DELAY_BEFORE_FREEZE_WRITE);
	err = write_freeze(s, true);
	if (err) {
		*error = err;
		return err == -ENOENT ? ACT_GONE : ACT_FAILED;
	}
	delay(DELAY_AFTER_FREEZE_WRITE);
	refusal = await_frozen(a, slot, deadline);
	if (refusal)
		return refusal;
	if (!guard_table_confirm(a->guard, slot, s->cgid))
		return ACT_GUARD_BUSY;
	if (armed(a, slot) != HEARTH_ARMED || act_holds_now(a, slot, now_ns()) ||
	    loose_now(a, slot, now_ns()))
		return ACT_CAME_FIRST;
	delay(DELAY_BEFORE_FROZEN);
	return move(s, ACT_FREEZING, ACT_FROZEN) ? ACT_OK : ACT_CAME_FIRST;
}

struct act_freeze act_freeze(struct act *a, uint32_t slot, uint64_t deadline_ns)
{
	struct slot *s = &a->slots[slot];
	struct act_freeze out = {};
	uint64_t start = now_ns();

	if (!move(s, ACT_THAWED, ACT_FREEZING)) {
		out.refusal = ACT_NOT_THAWED;
		return out;
	}
	s->settled = false;
	if (guard_table_intend(a->guard, slot, s->cgid)) {
		move(s, ACT_FREEZING, ACT_THAWED);
		out.refusal = ACT_GUARD_BUSY;
		return out;
	}
	delay(DELAY_AFTER_INTENT);
	set_armed(a, slot, HEARTH_ARMED);
	out.refusal = freeze_armed(a, slot, start + deadline_ns, &out.error);
	if (out.refusal)
		undo_freeze(a, slot, ACT_FREEZING);
	out.took_ns = now_ns() - start;
	return out;
}

const char *act_refusal_text(enum act_refusal r)
{
	static const char *const TEXTS[] = {
	    [ACT_OK] = "frozen",
	    [ACT_NOT_THAWED] = "not warm",
	    [ACT_CAME_FIRST] = "work came first: rolled back",
	    [ACT_GUARD_BUSY] = "the guard is thawing it",
	    [ACT_SLOW] = "not frozen by the deadline: rolled back",
	    [ACT_GONE] = "it was removed",
	    [ACT_FAILED] = "cgroup.freeze could not be written",
	};

	return TEXTS[r];
}

/* ---- thaw */

int act_thaw(struct act *a, uint32_t slot)
{
	struct slot *s = &a->slots[slot];
	int err;

	if (!move(s, ACT_FROZEN, ACT_THAWING))
		return -EALREADY;
	err = undo_freeze(a, slot, ACT_THAWING);
	if (!err && cgroup_read_frozen(s->dirfd) == 1)
		return -EBUSY;
	return err;
}

int act_kill(struct act *a, uint32_t slot)
{
	struct slot *s = &a->slots[slot];
	int err;

	if (!move(s, ACT_FROZEN, ACT_THAWING))
		return -EALREADY;
	if (armed(a, slot) != HEARTH_ARMED || act_holds_now(a, slot, now_ns()) ||
	    loose_now(a, slot, now_ns()))
		err = -EBUSY;
	else
		err = cgroup_kill(s->dirfd);
	undo_freeze(a, slot, ACT_THAWING); /* the dead do not run, and nothing stays frozen */
	return err;
}

struct act_wake act_wake(struct act *a, uint32_t slot, uint64_t now)
{
	struct slot *s = &a->slots[slot];
	uint32_t arm = armed(a, slot);
	struct act_wake out = {};
	enum act_state state;

	if (arm == HEARTH_DISARMED || (arm == HEARTH_ARMED && !act_holds_now(a, slot, now)))
		return out;
	if (move(s, ACT_FROZEN, ACT_THAWING)) {
		out.error = undo_freeze(a, slot, ACT_THAWING);
		out.thawed = !out.error;
		return out; /* a failed write is retried by the next scan */
	}
	/*
	 * The freeze side is between its checks and will roll back; but it may be
	 * off the CPU with its 1 just written. Write 0 until it is through.
	 */
	state = act_state(a, slot);
	if (state == ACT_FREEZING)
		write_freeze(s, false);
	/* Thawing: the other thread is about to; it may have failed, or be off the CPU. */
	out.again = state == ACT_FREEZING || state == ACT_THAWING;
	return out;
}

/* ---- others at the freezer */

/* Give the slot up or take it back; the caller owns THAWING. */
static void disown(struct act *a, uint32_t slot, enum act_state next)
{
	set_armed(a, slot, HEARTH_DISARMED);
	guard_table_clear(a->guard, slot);
	move(&a->slots[slot], ACT_THAWING, next);
}

/*
 * Only the engine's thread writes 1, and this runs on it: a 1 on a thawed slot
 * is somebody else's. A 1 onto our own freeze (docker pause on a frozen cgroup)
 * shows by nothing but the event; it is theirs only if the slot is settled, for
 * then none of our writes can be what the event tells of: whoever of us writes
 * leaves ACT_FROZEN first.
 */
enum act_writer act_foreign_write(struct act *a, uint32_t slot, bool certain)
{
	struct slot *s = &a->slots[slot];
	int value = cgroup_read_freeze(s->dirfd);
	bool held;

	if (value == 1) {
		if (move(s, ACT_THAWED, ACT_FOREIGN))
			return ACT_BY_OTHERS;
		if (!certain || !s->settled || !move(s, ACT_FROZEN, ACT_THAWING))
			return ACT_BY_US;
		disown(a, slot, ACT_FOREIGN);
		return ACT_BY_OTHERS;
	}
	/* A 0 on a slot that was asked for is the wake thread's, and it will see to it. */
	if (value != 0 || armed(a, slot) == HEARTH_WOKEN)
		return ACT_BY_US;
	if (move(s, ACT_FOREIGN, ACT_THAWED))
		return ACT_BY_OTHERS;
	/* The guard claims an entry before it writes; read before the slot is ours to clear it. */
	held = guard_table_held(a->guard, slot, s->cgid);
	if (!move(s, ACT_FROZEN, ACT_THAWING))
		return ACT_BY_US;
	disown(a, slot, ACT_THAWED);
	return held ? ACT_BY_OTHERS : ACT_BY_GUARD;
}

void act_settle(struct act *a, uint32_t slot)
{
	a->slots[slot].settled = true;
}

void act_resync(struct act *a, uint32_t slot)
{
	if (move(&a->slots[slot], ACT_FROZEN, ACT_THAWING))
		undo_freeze(a, slot, ACT_THAWING);
}
