/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "sim/node.h"

#define RETRY_S 1.0 /* what may not be evicted now may be so later: ttl-dynamic, min-residency */
#define START_S 1.0 /* start-up added to a cold call where the trace gives no cold time */

/* In the order in which they happen at the same time. */
enum timer_kind { FINISH, CLOSE, PREWARM, RETRY };

struct unit {
	struct lane *lane;  /* history only: its tally is not used but for the first arrival */
	uint32_t in_flight; /* running or waiting */
	uint32_t waiting;
	struct hearth_decision windows; /* of the current idle time */
	unsigned int window;            /* the next to pre-warm for */
	struct timer prewarm;
	uint32_t id;
};

struct call {
	struct arrival a;
	struct call *next;
};

struct node {
	struct pool pool;
	const struct trace_unit *info;
	struct unit **units; /* made at the first arrival */
	size_t nunits;
	struct call *first, **last; /* waiting */
	struct timer retry;         /* while calls wait */
};

struct node *node_new(const struct capacity_setting *setting, uint64_t seed)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	pool_init(&n->pool, setting, seed);
	n->last = &n->first;
	n->retry.kind = RETRY;
	return n;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	while (n->first) {
		struct call *c = n->first;

		n->first = c->next;
		free(c);
	}
	for (size_t i = 0; i < n->nunits; i++) {
		if (n->units[i])
			lane_free(n->units[i]->lane);
		free(n->units[i]);
	}
	free(n->units);
	pool_done(&n->pool);
	free(n);
}

struct pool *node_pool(struct node *n)
{
	return &n->pool;
}

int node_units(struct node *n, const struct trace_unit *info, size_t count)
{
	struct unit **grown;

	n->info = info;
	if (count <= n->nunits)
		return 0;
	grown = realloc(n->units, count * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + n->nunits, 0, (count - n->nunits) * sizeof(*grown));
	n->units = grown;
	n->nunits = count;
	return pool_units(&n->pool, count);
}

static struct unit *unit_get(struct node *n, uint32_t id)
{
	struct unit *u = n->units[id];

	if (u)
		return u;
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	u->lane = lane_new(n->pool.setting->policy);
	if (!u->lane) {
		free(u);
		return NULL;
	}
	u->id = id;
	u->prewarm.kind = PREWARM;
	n->units[id] = u;
	return u;
}

/* The idle instance of the unit that was used last. */
static struct instance *idle_instance(const struct node *n, uint32_t unit, double now_s)
{
	struct instance *best = NULL;

	for (struct instance *i = n->pool.units[unit].first; i; i = i->unit_next)
		if (i->idle_s <= now_s && i->timer.kind != FINISH &&
		    (!best || i->idle_s >= best->idle_s))
			best = i;
	return best;
}

static bool make_room(struct pool *p, double mem_mb, double now_s)
{
	double freed_mb;

	while (!pool_fits(p, mem_mb))
		if (!pool_evict(p, now_s, &freed_mb))
			return false;
	return true;
}

static int run_call(struct node *n, struct instance *i, const struct arrival *a, double now_s,
		    bool hit)
{
	const struct trace_unit *info = &n->info[a->unit];
	double busy_s = a->busy_s > 0 ? a->busy_s : info->warm_s;

	if (!hit)
		busy_s = info->cold_s > 0 ? info->cold_s : busy_s + START_S;
	pool_charge(&n->pool, i, now_s);
	i->idle_s = now_s + busy_s;
	i->timer.kind = FINISH;
	pool_serve(&n->pool, i, now_s, hit);
	return timers_set(&n->pool.timers, &i->timer, i->idle_s);
}

/* Serve a call now: 1, 0 if there is no room, -ENOMEM. */
static int try_call(struct node *n, const struct arrival *a, double now_s)
{
	const struct trace_unit *info = &n->info[a->unit];
	struct instance *i = idle_instance(n, a->unit, now_s);
	bool hit = i;
	int rc;

	if (!hit) {
		if (!make_room(&n->pool, info->mem_mb, now_s))
			return 0;
		i = pool_start(&n->pool, info, a->unit, now_s);
		if (!i)
			return -ENOMEM;
	}
	rc = run_call(n, i, a, now_s, hit);
	return rc ? rc : 1;
}

/* ---- the queue */

static int set_retry(struct node *n, double now_s)
{
	if (n->first)
		return timers_set(
		    &n->pool.timers, &n->retry,
		    fmin(now_s + RETRY_S, n->first->a.t_s + n->pool.setting->queue_s));
	timers_cancel(&n->pool.timers, &n->retry);
	return 0;
}

static int enqueue(struct node *n, struct unit *u, const struct arrival *a)
{
	struct call *c = malloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = (struct call){.a = *a};
	*n->last = c;
	n->last = &c->next;
	u->waiting++;
	n->pool.total.queued++;
	return n->first == c ? set_retry(n, a->t_s) : 0;
}

/* Take *link out of the queue. */
static int dequeue(struct node *n, struct call **link, double now_s, struct arrival *out)
{
	struct call *c = *link;

	*out = c->a;
	*link = c->next;
	if (!c->next)
		n->last = link;
	n->units[c->a.unit]->waiting--;
	free(c);
	return link == &n->first ? set_retry(n, now_s) : 0;
}

/* Calls that wait, in order, for as long as there is room for the first. */
static int serve_waiting(struct node *n, double now_s)
{
	struct arrival a;
	int rc;

	while (n->first) {
		rc = try_call(n, &n->first->a, now_s);
		if (rc <= 0)
			return rc;
		rc = dequeue(n, &n->first, now_s, &a);
		if (rc)
			return rc;
		n->pool.total.wait_s += now_s - a.t_s;
	}
	return 0;
}

/* A waiting call of the unit takes the instance that just became idle: 1, 0 or -ENOMEM. */
static int take_over(struct node *n, struct unit *u, struct instance *i, double now_s)
{
	struct call **link = &n->first;
	struct arrival a;
	int rc;

	if (!u->waiting)
		return 0;
	while ((*link)->a.unit != u->id)
		link = &(*link)->next;
	rc = dequeue(n, link, now_s, &a);
	if (!rc)
		rc = run_call(n, i, &a, now_s, true);
	n->pool.total.wait_s += now_s - a.t_s;
	return rc ? rc : 1;
}

/* ---- windows */

/* Keep an idle instance until close_s (absolute), or until the ranker's own time-out. */
static int keep(struct node *n, struct instance *i, double close_s)
{
	double ttl_s = hearth_ranker_ttl_s(n->pool.setting->ranker, &n->pool.rank);

	close_s = fmin(close_s, i->item.last_s + ttl_s);
	i->timer.kind = CLOSE;
	if (isfinite(close_s))
		return timers_set(&n->pool.timers, &i->timer, close_s);
	timers_cancel(&n->pool.timers, &i->timer);
	return 0;
}

static int next_window(struct node *n, struct unit *u)
{
	if (u->window >= u->windows.n)
		return 0;
	return timers_set(&n->pool.timers, &u->prewarm,
			  u->lane->end_s + u->windows.w[u->window].open_s);
}

/* An instance has nothing to do: keep it for the first window or unload it. */
static int rest(struct node *n, struct unit *u, struct instance *i, double now_s)
{
	struct hearth_decision d;
	bool stays;
	int rc = 0;

	hearth_policy_decide(n->pool.setting->policy, u->lane->state, &u->lane->hist.view, &d);
	stays = d.n && d.w[0].open_s <= 0;
	if (!u->in_flight) {
		u->lane->end_s = now_s;
		u->windows = d;
		u->window = stays;
		rc = next_window(n, u);
	}
	if (stays)
		return rc ? rc : keep(n, i, now_s + d.w[0].close_s);
	pool_remove(&n->pool, i, now_s);
	return rc;
}

static int on_finish(struct node *n, struct instance *i, double now_s)
{
	struct unit *u = n->units[i->unit];
	int rc;

	u->in_flight--;
	i->timer.kind = CLOSE; /* idle from here on */
	rc = take_over(n, u, i, now_s);
	if (rc)
		return MIN(rc, 0);
	rc = rest(n, u, i, now_s);
	return rc ? rc : serve_waiting(n, now_s);
}

static int on_close(struct node *n, struct instance *i, double now_s)
{
	pool_remove(&n->pool, i, now_s);
	return serve_waiting(n, now_s);
}

/* A window opens on an idle unit: have one instance for it, if memory is free. */
static int on_prewarm(struct node *n, struct unit *u, double now_s)
{
	const struct trace_unit *info = &n->info[u->id];
	double close_s = u->lane->end_s + u->windows.w[u->window].close_s;
	struct instance *i = idle_instance(n, u->id, now_s);
	int rc;

	u->window++;
	rc = next_window(n, u);
	if (rc)
		return rc;
	if (!i) {
		if (!pool_fits(&n->pool, info->mem_mb))
			return 0;
		i = pool_start(&n->pool, info, u->id, now_s);
		if (!i)
			return -ENOMEM;
		n->pool.units[u->id].tally.prewarms++;
	}
	return keep(n, i, close_s);
}

static void drop(struct node *n, struct unit *u, double now_s)
{
	n->pool.total.dropped++;
	if (!--u->in_flight)
		u->lane->end_s = now_s;
}

/* The first of those that wait gives up, or they are tried again. */
static int on_retry(struct node *n, double now_s)
{
	struct arrival a;
	int rc = 0;

	if (now_s >= n->first->a.t_s + n->pool.setting->queue_s) {
		rc = dequeue(n, &n->first, now_s, &a);
		drop(n, n->units[a.unit], now_s);
	}
	if (!rc)
		rc = serve_waiting(n, now_s);
	return rc ? rc : set_retry(n, now_s);
}

/* Everything that is due by now_s. */
static int advance(struct node *n, double now_s)
{
	struct timer *t;
	int rc = 0;

	while (!rc && (t = timers_first(&n->pool.timers)) && t->due_s <= now_s) {
		double due_s = t->due_s;

		timers_cancel(&n->pool.timers, t);
		if (t->kind == FINISH)
			rc = on_finish(n, container_of(t, struct instance, timer), due_s);
		else if (t->kind == CLOSE)
			rc = on_close(n, container_of(t, struct instance, timer), due_s);
		else if (t->kind == PREWARM)
			rc = on_prewarm(n, container_of(t, struct unit, prewarm), due_s);
		else
			rc = on_retry(n, due_s);
	}
	return rc;
}

/* Calls wait behind others for memory and for their unit's instances, for nothing else. */
static bool may_pass(const struct node *n, const struct unit *u, double now_s)
{
	return !n->first || (!u->waiting && idle_instance(n, u->id, now_s));
}

int node_arrive(struct node *n, const struct arrival *a)
{
	struct unit *u = unit_get(n, a->unit);
	int rc;

	if (!u)
		return -ENOMEM;
	rc = advance(n, a->t_s);
	if (rc)
		return rc;
	lane_observe(u->lane, n->pool.setting->policy, a->t_s, u->in_flight);
	n->pool.total.arrivals++;
	n->pool.units[a->unit].tally.arrivals++;
	u->in_flight++;
	timers_cancel(&n->pool.timers, &u->prewarm);
	rc = serve_waiting(n, a->t_s); /* what could not be evicted then may be now */
	if (!rc && may_pass(n, u, a->t_s))
		rc = try_call(n, a, a->t_s);
	if (rc)
		return MIN(rc, 0);
	if (n->pool.setting->queue_s > 0)
		return enqueue(n, u, a);
	drop(n, u, a->t_s);
	return 0;
}

/* Calls that wait at the end of the trace are still served, or give up. */
int node_finish(struct node *n, double end_s)
{
	int rc = advance(n, end_s);

	while (!rc && n->first)
		rc = advance(n, timers_first(&n->pool.timers)->due_s);
	while (n->pool.first)
		pool_remove(&n->pool, n->pool.first, end_s);
	return rc;
}
