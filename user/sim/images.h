/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Dependency images: which function uses which, and what they cost. An image is
 * a live process with the dependencies of its functions loaded, from which their
 * instances are forked. All functions are taken to be one owner's: images are
 * never shared between owners.
 */
#ifndef HEARTH_SIM_IMAGES_H
#define HEARTH_SIM_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGES_MAX 10000 /* sets at random */

struct image_costs {
	double alone_mb;   /* an instance that loaded its dependencies itself */
	double private_mb; /* one that was forked from an image */
	double image_mb;
	double paged_mb;     /* an image that is frozen and paged out, without what swap keeps */
	double cold_s;       /* to load the dependencies */
	double fork_s;       /* from a resident image */
	double paged_fork_s; /* from one that is paged out: it stays so */
	double page_after_s; /* an image is paged out so long after it was loaded */
	double seed;         /* of the sets at random */
};

extern const struct image_costs images_costs; /* as measured, see images.c */

/* Change what "KEY=VALUE,..." names: 0, or -EINVAL with what is accepted in err. */
int images_costs_parse(const char *text, struct image_costs *costs, char *err, size_t err_size);

/*
 * What a start is worth, in seconds of keeping what saves it: cold_cost_s are seconds of
 * an instance alone, that saves all of the loading; an image is kept paged out, and saves
 * the loading but not the fork; a forked instance saves the fork.
 */
double images_worth_s(const struct image_costs *c, double cold_cost_s, bool image);

struct images;

/* From a CSV file with the columns function,image: 0, or -errno with a message. */
int images_read(const char *path, struct images **out, char *err, size_t err_size);
/*
 * n sets, every function in one of them at random by its name and the seed: in
 * the k-th with a probability proportional to 1 / k. NULL: no memory.
 */
struct images *images_draw(size_t n, uint64_t seed);
void images_free(struct images *images);

size_t images_count(const struct images *images);
/* The number of a function's image, -1 if it has none. */
long images_of(const struct images *images, const char *function);

#endif
