/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The inside of struct kernel, for the kernel*.c files alone. */
#ifndef HEARTH_KERNEL_INTERNAL_H
#define HEARTH_KERNEL_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <limits.h>

#include "agent/kernel.h"
#include "hearth.skel.h"

struct hook {
	const char *name;
	struct bpf_program *prog;
	struct bpf_link *link;
	const char *why_not;
	bool on_cgroup; /* attached to a cgroup, not to a tracepoint */
};

struct kernel {
	struct hearth_bpf *skel;
	struct kernel_maps maps;
	struct hook hooks[KERNEL_HOOKS];
	size_t n_hooks;
	char *pin_dir;
	int lock_fd;
	int stats_fd;
	struct hearth_recount *recounts;
	struct ring_buffer *events;
	kernel_event_fn on_event;
	void *on_event_arg;
	bool adopted;
};

/* kernel_attach.c. Before the load: what to load. After it: attach_path is that of attach_fd. */
int kernel_hooks_list(struct kernel *k, bool want_unix);
int kernel_attach(struct kernel *k, int attach_fd, const char *attach_path, bool cgroup_only);

/* kernel_pins.c. The k-functions need k->pin_dir, which kernel_pins_open sets. */
int kernel_pin_path(const struct kernel *k, const char *sub, const char *name, char out[PATH_MAX]);
int kernel_pins_open(struct kernel *k, const char *pin_dir);
/* Keep what is pinned if its layout is ours (k->adopted); else tell, and remove it. */
void kernel_pins_check(struct kernel *k, const struct kernel_options *o);
void kernel_pins_remove(const char *pin_dir);
/* Of the pinned links keep those that are wanted: an earlier run may have left others. */
void kernel_pins_keep_links(const struct kernel *k,
			    bool (*wanted)(const struct kernel *k, const char *name));

#endif
