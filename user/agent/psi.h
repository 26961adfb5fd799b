/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pressure stall information: what share of time tasks waited for memory, read
 * or told by the kernel as it happens. A trigger lives as long as its file is
 * open; the kernel tells at most once per window.
 */
#ifndef HEARTH_PSI_H
#define HEARTH_PSI_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define PSI_MEMORY "/proc/pressure/memory"

struct psi_line {
	double avg10; /* share of time, 0..1 */
	double avg60;
	double avg300;
	uint64_t total_us;
};

struct psi_use {
	struct psi_line some; /* at least one task waited */
	struct psi_line full; /* all that were not idle did; 0 where the kernel has no such line */
};

int psi_parse(const char *text, struct psi_use *out);

/* -EOPNOTSUPP: this kernel keeps no such account. */
int psi_read(const char *path, struct psi_use *out);

typedef void (*psi_fn)(void *arg);

struct psi_options {
	uv_loop_t *loop;
	const char *path;   /* PSI_MEMORY, or a cgroup's memory.pressure */
	double share;       /* of the window that "some" has to reach, above 0 up to 1 */
	uint64_t window_ns; /* 500 ms to 10 s; see psi_window_ns */
	psi_fn fn;
	void *arg;
};

struct psi;

/*
 * 0; -EOPNOTSUPP: no pressure information here; -EPERM, -EACCES; -EINVAL: share
 * or window out of range. `why` then has one line for people.
 */
int psi_new(const struct psi_options *o, struct psi **out, char *why, size_t why_size);

/* Without CAP_SYS_RESOURCE the kernel takes whole pairs of seconds: rounded up then. */
uint64_t psi_window_ns(const struct psi *p);

/* The loop must turn once more. NULL is fine. */
void psi_free(struct psi *p);

#endif
