/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Can this host run hearthd? Each check looks at one thing and files one
 * finding: what was found and, unless it is fine, what to do. Checks only read.
 * The roots are parameters, so that tests show them other hosts.
 */
#ifndef HEARTH_DOCTOR_H
#define HEARTH_DOCTOR_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

struct finding {
	const char *name;
	enum verdict verdict;
	char text[320];
	char todo[320]; /* "" if there is nothing to do */
};

#define DOCTOR_FINDINGS 64

struct doctor {
	const char *procroot; /* "/proc" */
	const char *sysroot;  /* "/sys" */
	struct finding findings[DOCTOR_FINDINGS];
	size_t n;
};

/* File a finding; format and todo are printf-like, todo NULL for none. */
void doctor_add(struct doctor *d, const char *name, enum verdict verdict, const char *todo,
		const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A small file below one of the roots: as read_file_at(). */
ssize_t doctor_read(const char *root, const char *path, char *buf, size_t size);

void doctor_kernel(struct doctor *d);     /* version, BTF, lockdown, JIT, namespaces */
void doctor_hooks(struct doctor *d);      /* what the kernel offers the programs */
void doctor_cgroups(struct doctor *d);    /* mount, controllers, freeze, kill, reclaim */
void doctor_privileges(struct doctor *d); /* capabilities, bpffs, real-time */
void doctor_memory(struct doctor *d);     /* swap and who else watches it, pressure */
void doctor_agent(struct doctor *d, const json_t *status); /* a running hearthd's own view */

#endif
