/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel of this host does otherwise than others, where only its version tells. */
#ifndef HEARTH_LIB_HOST_H
#define HEARTH_LIB_HOST_H

#include <stdbool.h>

/* Are tasks preempted inside tracing programs (7.0 and later)? See bpf/exec.bpf.c. */
bool host_preempts_programs(void);

#endif
