/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "sim/image_host_internal.h"

/* An image lives as long as its last child, and may go from then on. */
static void on_removed(void *arg, struct instance *i, double now_s)
{
	struct image_host *h = arg;
	struct keeper *k = h->keepers[i->unit];

	if (i == k->live) {
		k->live = NULL;
		timers_cancel(&h->pool.timers, &k->page);
	}
	if (!i->forked || --k->image->children)
		return;
	k->image->live->idle_s = now_s;
	if (k->image->expired)
		pool_remove(&h->pool, k->image->live, now_s);
}

struct image_host *image_host_new(const struct capacity_setting *setting, uint64_t seed)
{
	struct image_host *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	pool_init(&h->pool, setting, seed);
	h->pool.removed = on_removed;
	h->pool.removed_arg = h;
	h->setting = setting;
	h->nimages = images_count(setting->images);
	return h;
}

void image_host_free(struct image_host *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++) {
		if (h->keepers[i])
			lane_free(h->keepers[i]->lane);
		free(h->keepers[i]);
	}
	free(h->keepers);
	pool_done(&h->pool);
	free(h);
}

struct pool *image_host_pool(struct image_host *h)
{
	return &h->pool;
}

const struct sim_tally *image_host_tally(const struct image_host *h, size_t unit)
{
	size_t id = h->nimages + unit;

	return id < h->n && h->pool.units[id].tally.arrivals ? &h->pool.units[id].tally : NULL;
}

int image_host_units(struct image_host *h, const struct trace_unit *info, size_t count)
{
	size_t n = h->nimages + count;
	struct keeper **grown;

	h->info = info;
	if (n <= h->n)
		return 0;
	grown = realloc(h->keepers, n * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + h->n, 0, (n - h->n) * sizeof(*grown));
	h->keepers = grown;
	h->n = n;
	return pool_units(&h->pool, n);
}

static struct keeper *keeper_get(struct image_host *h, uint32_t id)
{
	struct keeper *k = h->keepers[id];
	long image = -1;

	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->id = id;
	k->prewarm.kind = PREWARM;
	k->page.kind = PAGE;
	if (id >= h->nimages && h->setting->mode != IMAGE_OFF)
		image = images_of(h->setting->images, h->info[id - h->nimages].name);
	if (image >= 0)
		k->image = keeper_get(h, image);
	k->policy = k->image ? h->setting->forked_policy : h->setting->policy;
	if (id < h->nimages)
		k->policy = h->setting->image_policy;
	k->lane = lane_new(k->policy);
	if (!k->lane || (image >= 0 && !k->image)) {
		lane_free(k->lane);
		free(k);
		return NULL;
	}
	return h->keepers[id] = k;
}

static void meter(struct image_host *h, double now_s)
{
	if (h->begun)
		h->pool.total.starts.mb_s += h->pool.used_mb * (now_s - h->metered_s);
	h->begun = true;
	h->metered_s = now_s;
}

/* ---- windows */

static bool keeps(const struct image_host *h, const struct keeper *k)
{
	return k->id < h->nimages || h->setting->mode != IMAGE_ONLY;
}

static int next_window(struct image_host *h, struct keeper *k)
{
	if (k->window >= k->windows.n)
		return 0;
	return timers_set(&h->pool.timers, &k->prewarm,
			  k->lane->end_s + k->windows.w[k->window].open_s);
}

/* Keep an idle entry until close_s (absolute), or until the ranker's own time-out. */
static int keep_until(struct image_host *h, struct instance *i, double close_s)
{
	double ttl_s = hearth_ranker_ttl_s(h->setting->ranker, &h->pool.rank);

	close_s = fmin(close_s, i->item.last_s + ttl_s);
	i->timer.kind = CLOSE;
	if (isfinite(close_s))
		return timers_set(&h->pool.timers, &i->timer, close_s);
	timers_cancel(&h->pool.timers, &i->timer);
	return 0;
}

static void expire(struct image_host *h, struct instance *i, double now_s)
{
	struct keeper *k = h->keepers[i->unit];

	k->expired = true;
	if (!k->children)
		pool_remove(&h->pool, i, now_s);
}

/* Nothing is in flight for it, or for this instance of it: keep it or unload it. */
static int rest(struct image_host *h, struct keeper *k, struct instance *i, double now_s)
{
	struct hearth_decision d = {0};
	bool stays;
	int rc = 0;

	if (keeps(h, k))
		lane_decide(k->lane, k->policy, &d);
	stays = d.n && d.w[0].open_s <= 0;
	if (!k->in_flight) {
		k->lane->end_s = now_s;
		k->windows = d;
		k->window = stays;
		rc = next_window(h, k);
	}
	if (rc || !i)
		return rc;
	if (stays)
		return keep_until(h, i, now_s + d.w[0].close_s);
	expire(h, i, now_s);
	return 0;
}

static int end_call(struct image_host *h, struct keeper *f, struct instance *i, double now_s)
{
	struct keeper *image = f->image;
	int rc;

	f->in_flight--;
	rc = rest(h, f, i, now_s);
	if (rc || !image || --image->in_flight)
		return rc;
	return rest(h, image, image->live, now_s);
}

/* The idle instance that was used last; those that end now have ended before. */
static struct instance *idle_instance(const struct image_host *h, uint32_t id, double now_s)
{
	struct instance *best = NULL;

	for (struct instance *i = h->pool.units[id].first; i; i = i->unit_next)
		if (i->idle_s <= now_s && (!best || i->idle_s >= best->idle_s))
			best = i;
	return best;
}

/* A window opens on something idle: have it loaded, if memory is free. */
static int on_prewarm(struct image_host *h, struct keeper *k, double now_s)
{
	double close_s = k->lane->end_s + k->windows.w[k->window].close_s;
	bool image = k->id < h->nimages;
	struct instance *i = image ? k->live : idle_instance(h, k->id, now_s);
	enum start how;
	int rc;

	k->window++;
	rc = next_window(h, k);
	if (!rc && !i) {
		if (!image)
			rc = image_start_instance(h, k, now_s, false, &i, &how);
		else if (pool_fits(&h->pool, h->setting->costs.image_mb))
			rc = image_start_image(h, k, now_s);
		i = image ? k->live : i;
		h->pool.units[k->id].tally.prewarms += i != NULL;
	}
	if (rc < 0 || !i)
		return MIN(rc, 0);
	k->expired = false;
	return keep_until(h, i, close_s);
}

static void page_out(struct image_host *h, struct keeper *image)
{
	image->paged = true;
	h->pool.used_mb += h->setting->costs.paged_mb - image->live->item.mem_mb;
	image->live->item.mem_mb = h->setting->costs.paged_mb;
}

/* Everything that is due by now_s. */
static int advance(struct image_host *h, double now_s)
{
	struct timer *t;
	int rc = 0;

	while (!rc && (t = timers_first(&h->pool.timers)) && t->due_s <= now_s) {
		struct instance *i = container_of(t, struct instance, timer);
		double due_s = t->due_s;

		meter(h, due_s);
		timers_cancel(&h->pool.timers, t);
		if (t->kind == FINISH)
			rc = end_call(h, h->keepers[i->unit], i, due_s);
		else if (t->kind == CLOSE)
			expire(h, i, due_s);
		else if (t->kind == PAGE)
			page_out(h, container_of(t, struct keeper, page));
		else
			rc = on_prewarm(h, container_of(t, struct keeper, prewarm), due_s);
	}
	meter(h, now_s);
	return rc;
}

/* ---- calls */

static int run_call(struct image_host *h, struct instance *i, const struct arrival *a,
		    enum start how)
{
	double busy_s = a->busy_s > 0 ? a->busy_s : h->info[a->unit].warm_s;

	pool_charge(&h->pool, i, a->t_s);
	i->idle_s = a->t_s + image_start_s(&h->setting->costs, how) + busy_s;
	i->timer.kind = FINISH;
	if (how == FORK || how == PAGED_FORK) {
		pool_touch(&h->pool, i, a->t_s);
		h->pool.total.starts.forks++;
	} else {
		pool_serve(&h->pool, i, a->t_s, how == WARM);
	}
	h->count[how]++;
	return timers_set(&h->pool.timers, &i->timer, i->idle_s);
}

/* Calls of a function count for its image too. */
static void learn(struct image_host *h, struct keeper *k, double t_s)
{
	lane_observe(k->lane, k->policy, t_s, k->in_flight);
	k->in_flight++;
	timers_cancel(&h->pool.timers, &k->prewarm);
	if (!k->live)
		return;
	k->expired = false;
	timers_cancel(&h->pool.timers, &k->live->timer);
	pool_touch(&h->pool, k->live, t_s);
}

int image_host_arrive(struct image_host *h, const struct arrival *a)
{
	struct keeper *f = keeper_get(h, h->nimages + a->unit);
	enum start how = WARM;
	struct instance *i;
	int rc;

	if (!f)
		return -ENOMEM;
	rc = advance(h, a->t_s);
	if (rc)
		return rc;
	learn(h, f, a->t_s);
	if (f->image)
		learn(h, f->image, a->t_s);
	h->pool.total.arrivals++;
	h->pool.units[f->id].tally.arrivals++;
	i = idle_instance(h, f->id, a->t_s);
	rc = i ? 1 : image_start_instance(h, f, a->t_s, true, &i, &how);
	if (rc < 0)
		return rc;
	if (rc)
		return run_call(h, i, a, how);
	h->pool.total.dropped++;
	return end_call(h, f, NULL, a->t_s);
}

int image_host_finish(struct image_host *h, double end_s)
{
	int rc = advance(h, end_s);

	while (h->pool.first)
		pool_remove(&h->pool, h->pool.last, end_s);
	image_start_totals(h);
	return rc;
}
