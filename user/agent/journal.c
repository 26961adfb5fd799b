/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Entries are filled on the way in, from what callers say and the clocks. */
#include <stdlib.h>
#include <string.h>

#include "agent/journal.h"
#include "lib/clock.h"

struct journal {
	struct ring *ring;
};

static const char *const action_names[JOURNAL_ACTIONS] = {
    [JOURNAL_FREEZE] = "freeze",   [JOURNAL_WOULD_FREEZE] = "would-freeze",
    [JOURNAL_THAW] = "thaw",       [JOURNAL_WAKE] = "wake",
    [JOURNAL_HOLD] = "hold",       [JOURNAL_FAILED] = "failed",
    [JOURNAL_PIN] = "pin",         [JOURNAL_UNPIN] = "unpin",
    [JOURNAL_POLICY] = "policy",   [JOURNAL_RECLAIM] = "reclaim",
    [JOURNAL_PREWARM] = "prewarm", [JOURNAL_SQUEEZE] = "squeeze",
    [JOURNAL_EVICT] = "evict",     [JOURNAL_HOOK] = "hook",
    [JOURNAL_FOREIGN] = "foreign", [JOURNAL_GUARD] = "guard",
    [JOURNAL_APPEAR] = "appear",   [JOURNAL_VANISH] = "vanish",
    [JOURNAL_CONFIG] = "config",
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
	j->ring = ring_new(size, sizeof(struct journal_entry));
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
	ring_free(j->ring);
	free(j);
}

struct ring *journal_ring(const struct journal *j)
{
	return j->ring;
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
	struct journal_entry e = {
	    .seq = ring_last(j->ring) + 1,
	    .mono_ns = at,
	    .wall_ns = unix_ns() - (now - at),
	    .cgid = note->cgid,
	    .idle_ns = note->idle_ns,
	    .took_ns = note->took_ns,
	    .error = note->error,
	    .action = note->action,
	    .actor = note->actor,
	    .uid = note->uid,
	    .pid = note->pid,
	};

	copy_head(e.function, sizeof(e.function), note->function);
	copy_end(e.cgroup, sizeof(e.cgroup), note->cgroup);
	copy_head(e.reason, sizeof(e.reason), note->reason);
	return ring_append(j->ring, &e);
}

bool journal_about(const void *entry, const char *function)
{
	return strcmp(((const struct journal_entry *)entry)->function, function) == 0;
}
