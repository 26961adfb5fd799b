/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The agent's hold on the kernel side: load the programs, pin maps and links,
 * adopt those an earlier agent pinned, read and repair. Counting goes on
 * between two agents; only another layout is rebuilt. One agent per pin
 * directory (flock).
 */
#ifndef HEARTH_AGENT_KERNEL_H
#define HEARTH_AGENT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hearth/event.h"

struct kernel;

struct kernel_options {
	const char *pin_dir;
	int attach_fd;           /* cgroup to attach to: the common ancestor of all rules */
	const char *attach_path; /* its path below the cgroup2 mount */
	unsigned int max_instances;
	unsigned int max_functions;
	bool want_unix;
	bool stats; /* measure run time and count of each program */
};

/* The shared memory: the agent reads and arms without a system call. */
struct kernel_maps {
	struct hearth_instance *instances;
	struct hearth_control *controls;
	struct hearth_function *functions;
	struct hearth_fn_control *fn_controls;
	struct hearth_node *node;
	unsigned int n_instances;
	unsigned int n_functions;
};

/* -EBUSY: another agent holds pin_dir. Logs what it adopted, rebuilt or left out. */
int kernel_open(const struct kernel_options *o, struct kernel **out);

/* Unmaps and lets go; pinned maps and links stay and go on counting. NULL is fine. */
void kernel_close(struct kernel *k);

/* Remove everything pinned in pin_dir. -EBUSY if an agent runs on it. */
int kernel_uninstall(const char *pin_dir);

const struct kernel_maps *kernel_maps(const struct kernel *k);
bool kernel_adopted(const struct kernel *k);

/* Move the socket hooks to another cgroup (config reload, or theirs was removed). */
int kernel_reattach(struct kernel *k, int attach_fd, const char *attach_path);
bool kernel_attached(const struct kernel *k);

/* cgroup id -> instance */
int kernel_ref_get(struct kernel *k, uint64_t cgid, struct hearth_ref *out);
int kernel_ref_set(struct kernel *k, uint64_t cgid, const struct hearth_ref *ref);
void kernel_ref_del(struct kernel *k, uint64_t cgid);
typedef void (*kernel_ref_fn)(uint64_t cgid, const struct hearth_ref *ref, void *arg);
void kernel_ref_each(struct kernel *k, kernel_ref_fn fn, void *arg);

int kernel_name_get(struct kernel *k, uint32_t function, struct hearth_name *out);
int kernel_name_set(struct kernel *k, uint32_t function, const char *name);

int kernel_probe_net_set(struct kernel *k, uint32_t function, const uint8_t addr[16],
			 unsigned int prefix);
void kernel_probe_nets_clear(struct kernel *k, uint32_t function);

/* Visit every socket held by the process, attributing servers' ones on the way. */
typedef int (*kernel_socket_fn)(const struct hearth_socket *s, void *arg);
int kernel_sockets(struct kernel *k, pid_t pid, kernel_socket_fn fn, void *arg);

/*
 * Compare in-flight counters with the sockets and processes that really are in
 * one, and repair those that did not move meanwhile; forget marks of processes
 * that are gone. Returns the number of instances repaired, or -errno.
 */
int kernel_recount(struct kernel *k);

/*
 * Source image. What entered a cgroup before it was an instance is its invocations (take), or is
 * nothing to count (forget); a process that was there before the hooks were is one (adopt), if the
 * instance counts by image; and what the kernel counted in a cgroup that was gone too soon.
 */
int kernel_early_take(struct kernel *k, uint64_t cgid, const struct hearth_ref *ref);
void kernel_early_forget(struct kernel *k, uint64_t cgid);
/* Forget what is gone: its end came while no hook was there to see it. */
void kernel_early_sweep(struct kernel *k, bool (*is_gone)(uint64_t cgid, void *arg), void *arg);
int kernel_adopt_process(struct kernel *k, pid_t pid);
int kernel_count_missed(struct kernel *k, struct hearth_missed *missed);

typedef int (*kernel_event_fn)(const struct hearth_event *ev, void *arg);
void kernel_events_subscribe(struct kernel *k, kernel_event_fn fn, void *arg);
int kernel_events_fd(const struct kernel *k); /* readable: call consume */
int kernel_events_consume(struct kernel *k);
int kernel_wakes_map(const struct kernel *k); /* for the wake thread's own reader */

struct kernel_hook {
	const char *name;
	bool attached;
	const char *why_not;
	uint64_t run_count;
	uint64_t run_time_ns;
};
#define KERNEL_HOOKS 24
size_t kernel_hooks(struct kernel *k, struct kernel_hook out[KERNEL_HOOKS]);

void kernel_drops(struct kernel *k, uint64_t out[HEARTH_DROP_REASONS]);
const char *kernel_drop_name(enum hearth_drop reason);

struct kernel_fill {
	const char *name;
	uint64_t used;
	uint64_t max;
};
#define KERNEL_FILLS 4
size_t kernel_fill(struct kernel *k, struct kernel_fill out[KERNEL_FILLS]);

#endif
