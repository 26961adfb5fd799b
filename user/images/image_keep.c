/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long an image is kept: the policy library's decision on the pooled arrivals
 * of all functions that use it. In a window it is there, outside it is not; a
 * window that opens later has it built ahead.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <utlist.h>

#include "images/image_internal.h"
#include "images/runtime.h"
#include "images/spare.h"
#include "lib/clock.h"

#define RATE_HALVES_S 3600.0 /* a use an hour ago counts half */
#define GIGABYTE      1e9

int keep_init(struct image *image, const char *policy)
{
	char why[256];
	uint32_t nbins;
	int err = hearth_policy_parse(policy, 1.0, &image->policy, why, sizeof(why));

	if (err)
		return err;
	hearth_policy_geometry(image->policy, &image->hist.view.bin_s, &nbins);
	image->hist.bins = calloc(nbins, sizeof(*image->hist.bins));
	image->hist.view.bins = image->hist.bins;
	image->hist.view.nbins = nbins;
	image->policy_state = calloc(1, hearth_policy_state_size(image->policy) + 1);
	return image->hist.bins && image->policy_state ? 0 : -ENOMEM;
}

void keep_done(struct image *image)
{
	hearth_policy_free(image->policy);
	free(image->policy_state);
	free(image->hist.bins);
}

static void fade(struct image *image, uint64_t now)
{
	image->rate *= exp2(-ns_to_s(now - image->rate_ns) / RATE_HALVES_S);
	image->rate_ns = now;
}

/* One that comes while others run closes no idle time: it is learned as a use alone. */
void keep_arrival(struct image *image)
{
	uint64_t now = now_ns();
	struct hearth_arrival arrival = {.t_s = ns_to_s(unix_ns()), .idle_s = -1, .iat_s = -1};

	fade(image, now);
	image->rate += M_LN2 / RATE_HALVES_S;
	if (image->busy > 1)
		return;
	if (image->arrival_ns) {
		arrival.idle_s = ns_to_s(now - image->idle_since_ns);
		arrival.iat_s = ns_to_s(now - image->arrival_ns);
		hearth_hist_add(&image->hist, arrival.idle_s);
	}
	image->arrival_ns = now;
	hearth_policy_observe(image->policy, image->policy_state, &arrival);
}

void keep_idle(struct image *image)
{
	image->idle_since_ns = now_ns();
	if (image->arrival_ns)
		hearth_policy_idle(image->policy, image->policy_state, ns_to_s(unix_ns()));
	hearth_policy_decide(image->policy, image->policy_state, &image->hist.view,
			     &image->decision);
}

static uint64_t edge_ns(const struct image *image, double s)
{
	uint64_t ns = s_to_ns(s);

	return ns > UINT64_MAX - image->idle_since_ns ? UINT64_MAX : image->idle_since_ns + ns;
}

bool keep_wanted(const struct image *image, uint64_t now, uint64_t *next_ns)
{
	*next_ns = UINT64_MAX;
	if (image->busy)
		return true;
	for (unsigned int i = 0; i < image->decision.n; i++) {
		uint64_t open = edge_ns(image, image->decision.w[i].open_s);
		uint64_t close = edge_ns(image, image->decision.w[i].close_s);

		if (now >= close)
			continue;
		*next_ns = now < open ? open : close;
		return now >= open;
	}
	return false;
}

double image_value(const struct image *image)
{
	uint64_t now = now_ns();
	double rate = image->rate * exp2(-ns_to_s(now - image->rate_ns) / RATE_HALVES_S);
	uint64_t start_ns =
	    image->settings->runtime->forks ? image->fork_took_ns : image->claim_took_ns;
	double saved_s = ns_to_s(image->build_took_ns) - ns_to_s(start_ns);
	double bytes = (double)(image->resident_bytes + image->swap_bytes);

	return bytes > 0 && saved_s > 0 ? rate * saved_s / (bytes / GIGABYTE) : 0;
}

void keep_forget(struct image *image)
{
	image->decision.n = 0;
}

static uint64_t total_bytes(const struct manager *m)
{
	uint64_t total = 0;
	struct image *image;

	DL_FOREACH (m->images, image) {
		total += image->resident_bytes + image->swap_bytes;
	}
	return total;
}

static struct image *least_value(const struct manager *m)
{
	struct image *least = NULL, *image;

	DL_FOREACH (m->images, image) {
		if (image->state >= IMAGE_RESIDENT && !image->ending && !image->children &&
		    (!least || image_value(image) < image_value(least)))
			least = image;
	}
	return least;
}

/* Spares before images: without them a start takes some milliseconds more. */
static struct image *least_with_spares(const struct manager *m)
{
	struct image *least = NULL, *image;

	DL_FOREACH (m->images, image) {
		if (image->settings->runtime->forks && spare_ready(image) && !image->ending &&
		    (!least || image_value(image) < image_value(least)))
			least = image;
	}
	return least;
}

/* One at a time: what an image frees is known when it has ended, and that asks again. */
void keep_budget(struct manager *m)
{
	struct image *least;

	if (!m->settings->budget_bytes || total_bytes(m) <= m->settings->budget_bytes)
		return;
	least = least_with_spares(m);
	if (least) {
		least->spares_after_ns = UINT64_MAX;
		spare_drop(least);
		return;
	}
	least = least_value(m);
	if (least)
		image_evict(least);
}
