/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "lib/progress.h"
#include "lib/util.h"

/* What is read between two of these stores is off by a step for one picture, no more. */
static void set(struct progress *p, double from, double to)
{
	atomic_store(&p->pieces, 0);
	atomic_store(&p->done, 0);
	atomic_store(&p->from, from);
	atomic_store(&p->to, to);
}

void progress_stage(struct progress *p, const char *stage)
{
	if (!p)
		return;
	set(p, 0, 0);
	atomic_store(&p->stage, stage);
}

void progress_step(struct progress *p, double to)
{
	if (p)
		set(p, atomic_load(&p->to), to);
}

void progress_pieces(struct progress *p, size_t n)
{
	if (p)
		atomic_store(&p->pieces, n);
}

void progress_piece(struct progress *p)
{
	if (p)
		atomic_fetch_add_explicit(&p->done, 1, memory_order_relaxed);
}

double progress_share(const struct progress *p)
{
	double from = atomic_load(&p->from), to = atomic_load(&p->to);
	size_t n = atomic_load(&p->pieces), done = MIN(atomic_load(&p->done), n);

	return n ? from + (to - from) * done / n : from;
}
