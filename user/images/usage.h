/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who uses an image and what that saves: functions by name, seconds, and memory
 * that its instances share with it instead of each having a copy. Memory is
 * measured when somebody asks, by a worker, and not more often than pays.
 */
#ifndef HEARTH_IMAGES_USAGE_H
#define HEARTH_IMAGES_USAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;
struct manager;

#define USAGE_FUNCTIONS 512 /* remembered for an image; beyond, the one unused for longest goes */
#define USAGE_SHOWN     32  /* names in an answer: those used last */

struct usage_function;

struct usage {
	struct usage_function *functions; /* the one used last comes first */
	size_t n;
	uint64_t saved_ns;    /* by all starts from the image */
	uint64_t saved_bytes; /* as measured last */
};

void usage_done(struct usage *usage);

/* That function has asked for an instance. Without memory it is not counted. */
void usage_note(struct usage *usage, const char *function);

/* users, functions, hits, bytes_saved, seconds_saved: into an image's JSON. */
void usage_add_fields(const struct image *image, json_t *object);

/*
 * True: what is known of the images' memory is old, and a worker is finding out;
 * api_measured() is called when it has. False: what is known is good enough.
 */
bool usage_measure(struct manager *m);

#endif
