/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The images that were declared through the API, in a file that outlives the manager.
 * It is replaced atomically, by a worker; a damaged one is set aside, never believed.
 */
#ifndef HEARTH_IMAGES_SAVED_H
#define HEARTH_IMAGES_SAVED_H

#include <jansson.h>

#include "images/manager.h"

/* The images of the file. 0, or -errno if it can neither be read nor be set aside. */
int saved_begin(struct manager *m);
void saved_end(struct manager *m);

/* Write down what is declared now: api_saved() is told once that number is in the file. */
uint64_t saved_write(struct manager *m);

/* The configuration has one of that name: it counts, this one stays in the file. Takes request. */
void saved_hide(struct manager *m, const char *name, uid_t owner, json_t *request);
/* Those that the configuration hides no more are declared again. */
void saved_show(struct manager *m);

/* Is something not in the file yet? */
bool saved_pending(const struct manager *m);

#endif
