/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Between a running reclaim and its methods. A method asks reclaim_next before
 * each batch, tells the pace after it, and returns 0 when the answer is no.
 */
#ifndef HEARTH_RECLAIM_INTERNAL_H
#define HEARTH_RECLAIM_INTERNAL_H

#include "agent/reclaim.h"
#include "agent/reclaim_pace.h"

struct reclaim_job {
	int dirfd;
	const struct reclaim_options *options;
	struct pace pace;
	bool cancelled;
};

/*
 * May another batch begin now, and of how many bytes? Waits for the rate cap.
 * 1: yes; 0: no, that was all; -errno: the cgroup is gone.
 */
int reclaim_next(struct reclaim_job *job, uint64_t *bytes);

/* 0 or -errno; -EOPNOTSUPP before the first batch: try the next method. */
int reclaim_by_cgroup(struct reclaim_job *job);
int reclaim_by_madvise(struct reclaim_job *job);
int reclaim_by_squeeze(struct reclaim_job *job);

#endif
