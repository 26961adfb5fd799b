/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How an instance starts: from its image, after loading that, or alone; the memory that it
 * takes is made free before, or it does not start.
 */
#include <errno.h>
#include <math.h>

#include "sim/image_host_internal.h"

#define RECURS 2 /* calls of a set before its image is made: one that is used once costs more */

static bool make_room(struct image_host *h, double mem_mb, double now_s)
{
	double freed_mb;

	while (!pool_fits(&h->pool, mem_mb))
		if (!pool_evict(&h->pool, now_s, &freed_mb))
			return false;
	return true;
}

/* For what is called: evict for it. Ahead of calls: only what is free. */
static bool has_room(struct image_host *h, double mem_mb, double now_s, bool called)
{
	return called ? make_room(h, mem_mb, now_s) : pool_fits(&h->pool, mem_mb);
}

double image_start_s(const struct image_costs *c, enum start how)
{
	const double s[STARTS] = {0, c->fork_s, c->paged_fork_s, c->cold_s, c->cold_s + c->fork_s};

	return s[how];
}

static double exec_s(const struct image_host *h, const struct keeper *k)
{
	return k->id < h->nimages ? 0 : h->info[k->id - h->nimages].warm_s;
}

/* An entry of the pool that saves a start of so many seconds at each call. */
static struct instance *load(struct image_host *h, struct keeper *k, double mem_mb, double saves_s,
			     double now_s)
{
	double warm_s = exec_s(h, k);
	struct trace_unit unit = {.mem_mb = mem_mb, .warm_s = warm_s, .cold_s = warm_s + saves_s};

	return pool_start(&h->pool, &unit, k->id, now_s);
}

int image_start_image(struct image_host *h, struct keeper *image, double now_s)
{
	const struct image_costs *c = &h->setting->costs;

	image->live = load(h, image, c->image_mb, c->cold_s - c->paged_fork_s, now_s);
	if (!image->live)
		return -ENOMEM;
	image->live->timer.kind = CLOSE;
	image->paged = image->expired = false;
	h->pool.total.starts.image_loads++;
	return timers_set(&h->pool.timers, &image->page, now_s + c->page_after_s);
}

/* An instance that is forked from its image: 1, 0 if there is no room, -ENOMEM. */
static int fork_instance(struct image_host *h, struct keeper *f, double now_s, bool called,
			 struct instance **out)
{
	const struct image_costs *c = &h->setting->costs;

	f->image->children++; /* from here on, not to be evicted for its own child */
	f->image->live->idle_s = INFINITY;
	if (!has_room(h, c->private_mb, now_s, called)) {
		if (!--f->image->children)
			f->image->live->idle_s = now_s;
		return 0;
	}
	*out = load(h, f, c->private_mb, f->image->paged ? c->paged_fork_s : c->fork_s, now_s);
	if (!*out)
		return -ENOMEM;
	(*out)->forked = true;
	return 1;
}

int image_start_instance(struct image_host *h, struct keeper *f, double now_s, bool called,
			 struct instance **out, enum start *how)
{
	const struct image_costs *c = &h->setting->costs;
	struct keeper *image = f->image;
	int rc;

	*how = COLD;
	if (image && !image->live && called && image->lane->tally.arrivals >= RECURS &&
	    make_room(h, c->image_mb + c->private_mb, now_s)) {
		*how = COLD_FORK;
		rc = image_start_image(h, image, now_s);
		if (rc)
			return rc;
		pool_touch(&h->pool, image->live, now_s);
	}
	if (image && image->live) {
		if (*how == COLD)
			*how = image->paged ? PAGED_FORK : FORK;
		return fork_instance(h, f, now_s, called, out);
	}
	if (!has_room(h, c->alone_mb, now_s, called))
		return 0;
	*out = load(h, f, c->alone_mb, c->cold_s, now_s);
	return *out ? 1 : -ENOMEM;
}

void image_start_totals(struct image_host *h)
{
	enum start order[STARTS];
	struct start_total *s = &h->pool.total.starts;
	uint64_t all = 0, below = 0;

	for (int k = 0; k < STARTS; k++) {
		int at = k;

		for (; at && image_start_s(&h->setting->costs, order[at - 1]) >
				 image_start_s(&h->setting->costs, k);
		     at--)
			order[at] = order[at - 1];
		order[at] = k;
		all += h->count[k];
		s->mean_s += h->count[k] * image_start_s(&h->setting->costs, k);
	}
	if (all)
		s->mean_s /= all;
	for (int k = 0; k < STARTS && all; k++) {
		below += h->count[order[k]];
		if (100 * below >= 99 * all) {
			s->p99_s = image_start_s(&h->setting->costs, order[k]);
			return;
		}
	}
}
