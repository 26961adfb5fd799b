/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The inside of struct kernel, for the kernel*.c files alone. */
#ifndef HEARTH_KERNEL_INTERNAL_H
#define HEARTH_KERNEL_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent/kernel.h"
#include "hearth.skel.h"

struct hook {
	const char *name;
	struct bpf_program *prog;
	struct bpf_link *link;
	const char *why_not;
	bool on_cgroup; /* attached to a cgroup, not to a tracepoint */
	bool optional;
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

#endif
