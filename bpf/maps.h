/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map. They are weak so that each program file sees the same definition
 * and the static linker keeps one. All but the iterators' scratch are pinned:
 * the state of the node outlives the agent.
 */
#ifndef HEARTH_MAPS_H
#define HEARTH_MAPS_H

#include "kernel.h"

#define MAP __weak SEC(".maps")

#define EVENTS_HALF (512 * 1024) /* bytes in the ring that wake the agent before its tick */

/* cgroup id -> instance; nested cgroups have the entry of their instance. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * HEARTH_MAX_INSTANCES);
	__type(key, __u64);
	__type(value, struct hearth_ref);
} cgroups MAP;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HEARTH_MAX_INSTANCES);
	__type(key, __u32);
	__type(value, struct hearth_instance);
} instances MAP;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HEARTH_MAX_INSTANCES);
	__type(key, __u32);
	__type(value, struct hearth_control);
} controls MAP;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HEARTH_MAX_FUNCTIONS);
	__type(key, __u32);
	__type(value, struct hearth_function);
} functions MAP;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HEARTH_MAX_FUNCTIONS);
	__type(key, __u32);
	__type(value, struct hearth_fn_control);
} fn_controls MAP;

/* Written and read by agents only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HEARTH_MAX_FUNCTIONS);
	__type(key, __u32);
	__type(value, struct hearth_name);
} names MAP;

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct hearth_probe_net);
	__type(value, __u8);
} probe_nets MAP;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32); /* tgid */
	__type(value, struct hearth_mark);
} marks MAP;

/* Cgroups between their making and the agent's word on what they are. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HEARTH_MAX_INSTANCES);
	__type(key, __u64); /* cgroup id */
	__type(value, struct hearth_early);
} early MAP;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hearth_node);
} node MAP;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HEARTH_DROP_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} drops MAP;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} wakes MAP;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * EVENTS_HALF);
} events MAP;

enum conn_phase {
	CONN_IDLE = 0,
	CONN_REQUEST = 1, /* counted in inflight */
	CONN_PROBE = 2,   /* counted in probes */
};

enum framing {
	FRAMING_UNKNOWN = 0,
	FRAMING_DIRECTION, /* ends at the first answer byte */
	FRAMING_LENGTH,    /* ends at a known sequence number */
	FRAMING_CHUNKED,   /* ends with the last chunk */
	FRAMING_CLOSE,     /* ends with the connection */
};

enum conn_flag {
	CONN_PROBE_PEER = 1, /* every request of this connection is a probe */
	CONN_HTTP = 2,       /* the request in flight parsed as HTTP/1 */
	CONN_HEAD = 4,       /* ... with method HEAD: the answer has no body */
	CONN_TUNNEL = 8,     /* 101 Switching Protocols: no HTTP from here on */
	CONN_MORE = 16,      /* another request is queued behind the one in flight */
};

/*
 * A server socket. The first two fields are the identity; a listener has only
 * those, and BPF_F_CLONE hands them to every connection it accepts. in_* is
 * written by ingress alone, out_* by egress (ingress clears it before a begin);
 * phase is swapped atomically because both sides and the close race for it.
 * The map is pinned: HEARTH_ABI changes with this layout too.
 */
struct conn {
	__u32 slot;
	__u32 gen;
	__u32 phase;   /* enum conn_phase */
	__u32 flags;   /* enum conn_flag */
	__u32 in_nxt;  /* highest sequence number seen in */
	__u32 in_end;  /* end of the request body, if in_framing is FRAMING_LENGTH */
	__u32 out_nxt; /* highest sequence number seen out */
	__u32 out_end; /* end of the answer, if out_framing is FRAMING_LENGTH */
	__u64 in_tail; /* last 8 bytes seen in, if in_framing is FRAMING_CHUNKED */
	__u64 out_tail;
	__u16 in_framing;
	__u16 out_framing;
	__u32 seen; /* in_nxt and out_nxt are valid */
};
_Static_assert(sizeof(struct conn) == 56, "conn layout");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct conn);
} conns MAP;

#endif
