/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Entry seq lives in slot seq % size, so looking one up needs no search. The
 * ring is small enough that filtering by function is a plain scan.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/journal.h"
#include "lib/clock.h"

struct journal {
	struct journal_entry *ring;
	size_t size;
	uint64_t last; /* newest seq, 0 = none */
	journal_notify_fn notify;
	void *notify_arg;
};

static const char *const action_names[JOURNAL_ACTIONS] = {
    [JOURNAL_FREEZE] = "freeze", [JOURNAL_WOULD_FREEZE] = "would-freeze",
    [JOURNAL_THAW] = "thaw",     [JOURNAL_WAKE] = "wake",
    [JOURNAL_HOLD] = "hold",     [JOURNAL_FAILED] = "failed",
    [JOURNAL_PIN] = "pin",       [JOURNAL_UNPIN] = "unpin",
    [JOURNAL_POLICY] = "policy", [JOURNAL_FOREIGN] = "foreign",
    [JOURNAL_GUARD] = "guard",   [JOURNAL_APPEAR] = "appear",
    [JOURNAL_VANISH] = "vanish", [JOURNAL_CONFIG] = "config",
};

static const char *const actor_names[] = {
    [JOURNAL_BY_ENGINE] = "engine",
    [JOURNAL_BY_WAKE] = "wake",
    [JOURNAL_BY_GUARD] = "guard",
    [JOURNAL_BY_API] = "api",
};

const char *journal_action_name(enum journal_action action)
{
	return action_names[action];
}

const char *journal_actor_name(enum journal_actor actor)
{
	return actor_names[actor];
}

struct journal *journal_new(size_t size)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->size = size ? size : 1;
	j->ring = calloc(j->size, sizeof(*j->ring));
	if (!j->ring) {
		free(j);
		return NULL;
	}
	return j;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	free(j->ring);
	free(j);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* dst is size bytes; what does not fit is cut off at the end. */
static void copy_head(char *dst, size_t size, const char *src)
{
	size_t len = src ? strnlen(src, size - 1) : 0;

	if (len)
		memcpy(dst, src, len);
	dst[len] = '\0';
}

/* The same, but the end of src is what tells cgroups apart: keep that. */
static void copy_end(char *dst, size_t size, const char *src)
{
	size_t len = src ? strlen(src) : 0;

	if (len < size) {
		copy_head(dst, size, src);
		return;
	}
	memcpy(dst, "...", 3);
	memcpy(dst + 3, src + len - (size - 4), size - 3);
}

uint64_t journal_append(struct journal *j, const struct journal_note *note)
{
	uint64_t now = now_ns(), at = note->at_ns && note->at_ns < now ? note->at_ns : now;
	struct journal_entry *e = &j->ring[(j->last + 1) % j->size];

	e->seq = j->last + 1;
	e->mono_ns = at;
	e->wall_ns = wall_ns() - (now - at);
	e->cgid = note->cgid;
	e->idle_ns = note->idle_ns;
	e->took_ns = note->took_ns;
	e->error = note->error;
	e->action = note->action;
	e->actor = note->actor;
	e->uid = note->uid;
	e->pid = note->pid;
	copy_head(e->function, sizeof(e->function), note->function);
	copy_end(e->cgroup, sizeof(e->cgroup), note->cgroup);
	copy_head(e->reason, sizeof(e->reason), note->reason);
	j->last = e->seq;
	if (j->notify)
		j->notify(j->notify_arg);
	return j->last;
}

uint64_t journal_last(const struct journal *j)
{
	return j->last;
}

uint64_t journal_oldest(const struct journal *j)
{
	if (j->last <= j->size)
		return j->last ? 1 : 0;
	return j->last - j->size + 1;
}

size_t journal_size(const struct journal *j)
{
	return j->size;
}

const struct journal_entry *journal_get(const struct journal *j, uint64_t seq)
{
	if (seq == 0 || seq > j->last || seq < journal_oldest(j))
		return NULL;
	return &j->ring[seq % j->size];
}

static bool about(const struct journal_entry *e, const char *function)
{
	return !function || strcmp(e->function, function) == 0;
}

const struct journal_entry *journal_next(const struct journal *j, uint64_t seq,
					 const char *function)
{
	uint64_t oldest = journal_oldest(j);

	if (seq >= j->last)
		return NULL;
	for (seq = seq + 1 < oldest ? oldest : seq + 1; seq <= j->last; seq++) {
		const struct journal_entry *e = journal_get(j, seq);

		if (about(e, function))
			return e;
	}
	return NULL;
}

uint64_t journal_tail(const struct journal *j, const char *function, size_t limit)
{
	uint64_t oldest = journal_oldest(j), seq = j->last;

	for (; limit > 0 && seq >= oldest && seq > 0; seq--)
		if (about(journal_get(j, seq), function))
			limit--;
	return seq;
}

void journal_subscribe(struct journal *j, journal_notify_fn fn, void *arg)
{
	j->notify = fn;
	j->notify_arg = arg;
}
