/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The layout of the guard table, shared by the two files that work on it and
 * nobody else. The first 40 bytes of the file and the form of an entry are the
 * same in every version, because each version must be able to undo what
 * another one froze.
 */
#ifndef HEARTH_GUARD_LAYOUT_H
#define HEARTH_GUARD_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guard_head {
	uint32_t magic;
	uint32_t version;
	uint32_t head_bytes; /* entries begin here */
	uint32_t nslots;
	uint64_t boot;  /* cgroup ids mean nothing after a reboot */
	uint64_t check; /* over all of the above */
	_Atomic uint64_t agent;
	/* from here on a new version may differ */
	_Atomic uint64_t guard;
	_Atomic uint64_t guard_seen_ns;
	_Atomic uint64_t thaw_epoch;
	_Atomic uint64_t heartbeat __attribute__((aligned(64)));
	uint64_t pad[7];
};
_Static_assert(offsetof(struct guard_head, agent) == 32 && sizeof(struct guard_head) == 128,
	       "table layout");

struct guard_table {
	struct guard_head *head;
	size_t bytes;
	_Atomic uint64_t *entries;
	uint32_t n;
};

/*
 * An entry is one word: a cgroup id, a seal over it (so that a damaged table
 * thaws nothing by chance) and two marks, changed by compare-and-swap only.
 */
#define ENTRY_CLAIMED    (UINT64_C(1) << 63) /* somebody is thawing it */
#define ENTRY_HELD       (UINT64_C(1) << 62) /* the write of 1 is done, no other follows */
#define ENTRY_SEAL_SHIFT 48
#define ENTRY_SEAL_MASK  UINT64_C(0x3fff)
#define ENTRY_ID_MASK    ((UINT64_C(1) << ENTRY_SEAL_SHIFT) - 1)

/* FNV-1a, for the seal and for the check of the head. */
static inline uint64_t guard_digest(const void *data, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (const unsigned char *p = data; len > 0; p++, len--)
		h = (h ^ *p) * UINT64_C(0x100000001b3);
	return h;
}

static inline uint64_t guard_seal(uint64_t cgid)
{
	return cgid | (guard_digest(&cgid, sizeof(cgid)) & ENTRY_SEAL_MASK) << ENTRY_SEAL_SHIFT;
}

/* Names a cgroup; an empty entry does not. */
static inline bool guard_sealed(uint64_t entry)
{
	return (entry & ENTRY_ID_MASK) &&
	       (entry & ~(ENTRY_CLAIMED | ENTRY_HELD)) == guard_seal(entry & ENTRY_ID_MASK);
}

#endif
