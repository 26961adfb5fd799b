/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What crosses the border between the BPF programs and the agent: the layout
 * of every shared map value and ring record. Fixed-width types only, explicit
 * padding, size asserts. HEARTH_ABI changes with any layout here: pinned maps
 * of another ABI are rebuilt, never reinterpreted.
 *
 * Times are CLOCK_MONOTONIC nanoseconds. "Slot" is an index into `instances`
 * and `controls` (same index) or into `functions` and `fn_controls`.
 */
#ifndef HEARTH_EVENT_H
#define HEARTH_EVENT_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define HEARTH_ABI 1u

#define HEARTH_NO_SLOT       (~0u) /* of an event whose instance was gone before it had one */
#define HEARTH_BINS          512u  /* most bins an idle-time histogram can have */
#define HEARTH_MAX_INSTANCES 8192u /* default map sizes; the config may lower them */
#define HEARTH_MAX_FUNCTIONS 2048u
#define HEARTH_UA_PREFIXES   2u /* User-Agent prefixes of probes, per function */
#define HEARTH_UA_LEN        16u

/* Where an instance's invocations are seen (bits). */
enum hearth_source {
	HEARTH_SRC_REQUEST = 1, /* TCP server sockets */
	HEARTH_SRC_EXEC = 2,    /* a process executed per request */
	HEARTH_SRC_UNIX = 4,    /* AF_UNIX stream server sockets */
	HEARTH_SRC_IMAGE = 8, /* a process that enters: forked from an image, or a claimed spare */
};

/* struct hearth_control.flags */
enum hearth_control_flag {
	HEARTH_CTL_DIRECTION = 1, /* never parse HTTP: the first answer byte ends a request */
	HEARTH_CTL_EXEC_OPEN = 2, /* source = exec was named: count execs before the first listen */
};

/* struct hearth_control.armed: who must thaw. Compare-and-swap only. */
enum hearth_armed {
	HEARTH_DISARMED = 0,
	HEARTH_ARMED = 1, /* frozen or about to be: the next begin must wake it */
	HEARTH_WOKEN = 2, /* a begin, SYN or entering task claimed the wake */
};

/* Written by the kernel (the agent only resets a slot nobody uses). */
struct hearth_instance {
	__u32 gen;       /* odd while live; rmdir makes it even, so stale sockets no longer match */
	__s32 inflight;  /* invocations between begin and end */
	__s32 probes;    /* health checks between begin and end: hold, but are not learned */
	__s32 requests;  /* the part of inflight that came in on sockets */
	__s32 outsiders; /* live process trees that entered later (exec probes, shells) */
	__u32 fresh;     /* started while we watched: the next begin is a cold start */
	__u64 begins;
	__u64 ends;
	__u64 probe_begins;
	__u64 last_begin_ns;
	__u64 last_end_ns;
	__u64 last_loose_ns; /* last byte on a socket whose ends cannot be parsed */
	__u64 last_syn_ns;   /* last connection attempt: holds briefly */
	__u64 last_enter_ns; /* last task that entered from outside: holds briefly */
	__u64 stragglers;    /* processes that outlived their invocation */
	__u32 ready;         /* listened, or completed an invocation */
	__u32 entered;       /* processes that entered as (part of) the entry point */
	__u32 woken;         /* a connection attempt woke it: its begin is a lukewarm start */
	__u32 listens;       /* it serves: requests count, processes that enter do not */
};

struct hearth_function {
	__s32 busy; /* instances with inflight > 0 */
	__u32 peak; /* most at once since the agent last cleared it */
	__u64 invocations;
	__u64 busy_spans;   /* idle-to-busy edges */
	__u64 last_idle_ns; /* start of the current idle time; 0: none yet */
	__u64 last_busy_ns;
	__u64 cold_starts;
	__u64 lukewarm_starts;
	__u64 s1;       /* sum of bins = in-range idle times */
	__u64 s2;       /* sum of squared bins */
	__u64 oob;      /* idle times beyond the last bin */
	__u64 unbinned; /* idle times that fell into a change of geometry */
	__u32 bins[HEARTH_BINS];
};

/* Written by the agent (only `armed` is swapped by both). */
struct hearth_control {
	__u32 armed;
	__u32 gen; /* generation this control belongs to */
	__u32 function;
	__u32 sources; /* enum hearth_source */
	__u32 flags;   /* enum hearth_control_flag */
	__u32 adopted; /* the process that was counted as entered by adoption, if it is one */
	__u64 cgid;
};

struct hearth_fn_control {
	__u64 bin_ns; /* 0: geometry is being changed, count as unbinned */
	__u32 nbins;
	__u32 probe_nets; /* > 0: look client addresses up in `probe_nets` */
	__u8 ua_len[8];   /* 0 ends the list */
	__u8 ua[HEARTH_UA_PREFIXES][HEARTH_UA_LEN];
};

/* Key of the LPM trie `probe_nets`; IPv4 as v4-mapped IPv6. */
struct hearth_probe_net {
	__u32 prefixlen; /* bits of function + address */
	__u32 function;
	__u8 addr[16];
};

/* Value of the hash cgroup id -> instance. Nested cgroups carry their instance's. */
struct hearth_ref {
	__u32 slot;
	__u32 gen;
};

/* Which function a function slot is: survives a restart with the pinned maps. */
struct hearth_name {
	char text[128];
};

/* Process mark: member of an invocation, or of a tree that came from outside. */
enum hearth_mark_kind {
	HEARTH_MARK_INVOCATION = 1,
	HEARTH_MARK_OUTSIDE = 2,
	HEARTH_MARK_IN_REQUEST = 3, /* executed inside a live request: part of it */
	HEARTH_MARK_EARLY =
	    4, /* entered before its cgroup was an instance: slot and gen are its id */
};

struct hearth_mark {
	__u32 slot;
	__u32 gen;
	__u32 kind;
	__u32 root;     /* tgid that began it; its exit is the end */
	__u64 start_ns; /* start_boottime of the marked process: pids are reused */
	__u64 seen;     /* last sweep that found the process alive */
};

/*
 * Value of the hash cgroup id -> processes that entered it before the agent said whether it is an
 * instance: the kernel counts at once, the agent takes the count when it has read the name.
 */
struct hearth_early {
	__u64 word; /* begins, ends and who has taken them: HEARTH_EARLY_* */
	__u64 first_ns;
	__u64 last_ns;
	__u32 cold; /* the first was started, not forked from an image */
	__u32 pad;
};
#define HEARTH_EARLY_BEGIN   1ULL         /* the lower 30 bits: begins */
#define HEARTH_EARLY_END     (1ULL << 30) /* the next 30: ends */
#define HEARTH_EARLY_MASK    (HEARTH_EARLY_END - 1)
#define HEARTH_EARLY_COUNTED (1ULL << 62) /* the instance has them: later ends are its own */
#define HEARTH_EARLY_TAKEN   (1ULL << 63)

/* Argument of the `take` program: what came early is invocations of this instance. */
struct hearth_take {
	__u64 cgid;
	__u32 slot;
	__u32 gen;
};

/* One for the whole node, in `node`. */
struct hearth_node {
	__u32 abi;
	__u32 attach_level; /* depth of the attach cgroup */
	__u64 attach_id;
	__u64 build; /* hash of the BPF object that the pinned links run */
	__u64 sweep; /* number of the current sweep over marks */
};

/* What iter/task_file says of each socket that an instance's tasks hold. */
enum hearth_socket_flag {
	HEARTH_SOCK_IN_SCOPE = 1,   /* made below the attach point: its packets reach the hooks */
	HEARTH_SOCK_ATTRIBUTED = 2, /* its requests count for an instance */
	HEARTH_SOCK_SERVER = 4,     /* listens, or was accepted */
};

struct hearth_socket {
	__u64 cgid; /* cgroup it was made in */
	__u32 tgid;
	__u32 fd;
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 state;
	__u16 local_port;  /* host order */
	__u16 remote_port; /* host order */
	__u32 flags;       /* enum hearth_socket_flag */
	__u32 backlog;     /* of a listener: connections nobody accepted yet */
	__u32 pad;
	__u8 remote[16]; /* IPv4 as v4-mapped */
};

/* What a scan found in flight in one instance. */
struct hearth_recount {
	__u32 requests;
	__u32 probes;
	__u32 execs;
	__u32 outsiders;
};

/* Argument of the `repair` program: set inflight unless the slot moved meanwhile. */
struct hearth_repair {
	__u32 slot;
	__u32 gen;
	__u64 begins; /* as read before the scan */
	__u64 ends;
	__u64 probe_begins;
	__s32 seen_inflight; /* as read before the scan ... */
	__s32 seen_probes;
	__s32 seen_outsiders;
	__s32 inflight; /* ... and what the scan counted */
	__s32 requests;
	__s32 probes;
	__s32 outsiders;
	__u32 repaired; /* out: 1 if a counter was changed */
};

enum hearth_drop {
	HEARTH_DROP_WAKES_FULL,
	HEARTH_DROP_EVENTS_FULL,
	HEARTH_DROP_STORAGE, /* no socket storage: connection not counted */
	HEARTH_DROP_MARKS_FULL,
	HEARTH_DROP_CGROUPS_FULL,
	HEARTH_DROP_UNDERFLOW, /* an end without a begin: repaired to 0 */
	HEARTH_DROP_REASONS
};

enum hearth_event_type {
	HEARTH_EV_MKDIR = 1, /* cgid, value = parent id */
	HEARTH_EV_RMDIR,     /* cgid */
	HEARTH_EV_POPULATED, /* cgid, value = 0/1 */
	HEARTH_EV_FROZEN,    /* cgid, value = 0/1 */
	HEARTH_EV_BUSY,      /* function idle -> busy; value = idle time ns, 0 if first */
	HEARTH_EV_IDLE,      /* function busy -> idle; value = busy span ns */
	HEARTH_EV_ENTER,     /* a process entered the instance from outside: look at its sockets */
	HEARTH_EV_MISSED,    /* cgid: gone before it was an instance; a struct hearth_missed */
};

/* How an instance was found by a begin. Reclaimed instances are frozen and armed too. */
enum hearth_start { HEARTH_START_WARM, HEARTH_START_COLD, HEARTH_START_LUKEWARM };

struct hearth_event {
	__u64 ts_ns;
	__u64 cgid;
	__u64 value;
	__u32 slot;
	__u32 function;
	__u32 type;
	__u16 start; /* HEARTH_EV_BUSY: enum hearth_start of the begin */
	__u16 span;  /* HEARTH_EV_BUSY, _IDLE: low bits of busy_spans, so that a gap shows */
};

#define HEARTH_PATH 512u

/* The record of HEARTH_EV_MISSED, and the argument of the program that counts it. */
struct hearth_missed {
	struct hearth_event event; /* function: filled in by the agent */
	__u64 begins;
	__u64 first_ns;
	__u64 last_ns;
	__u32 cold;
	__u32 pad;
	char path[HEARTH_PATH]; /* of the cgroup, as the kernel names it; cut off if longer */
};

enum hearth_wake_cause {
	HEARTH_WAKE_BEGIN = 1,
	HEARTH_WAKE_SYN,
	HEARTH_WAKE_ENTER,
	HEARTH_WAKE_DATAGRAM,
};

/* Says which slot to look at and when the kernel asked; never acted on otherwise. */
struct hearth_wake {
	__u64 ts_ns;
	__u32 slot;
	__u32 cause;
};

#define HEARTH_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type " layout")
HEARTH_SIZE(hearth_instance, 112);
HEARTH_SIZE(hearth_function, 88 + 4 * HEARTH_BINS);
HEARTH_SIZE(hearth_control, 32);
HEARTH_SIZE(hearth_fn_control, 56);
HEARTH_SIZE(hearth_probe_net, 24);
HEARTH_SIZE(hearth_name, 128);
HEARTH_SIZE(hearth_mark, 32);
HEARTH_SIZE(hearth_early, 32);
HEARTH_SIZE(hearth_take, 16);
HEARTH_SIZE(hearth_node, 32);
HEARTH_SIZE(hearth_socket, 56);
HEARTH_SIZE(hearth_recount, 16);
HEARTH_SIZE(hearth_repair, 64);
HEARTH_SIZE(hearth_event, 40);
HEARTH_SIZE(hearth_missed, 72 + HEARTH_PATH);
HEARTH_SIZE(hearth_wake, 16);

#endif
